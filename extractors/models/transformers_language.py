"""Language models as they come from transformers: what kind they are, where their layers are, how states are read."""

import re
from pathlib import Path
from typing import Any

from ..errors import ExtractionError, first_line
from ..hub import explain
from .environment import (
    compile_blocks,
    pick_device,
    pick_dtype,
    quantization_config,
    revision_of,
    weights_of,
    with_revision,
)
from .loaded import LoadedModel, unreadable
from .settling import settle
from .weights import check_weights, drawn_weights

STATE_SPACE = (
    *("mamba", "mamba2", "falcon_mamba", "rwkv", "xlstm", "recurrent_gemma", "jamba"),
    *("zamba", "zamba2", "bamba", "falcon_h1", "granitemoehybrid", "nemotron_h", "lfm2"),
    *("lfm2_moe", "qwen3_next", "olmo_hybrid", "bailing_hybrid", "minimax"),
)
ENCODERS = ("MASKED_LM", "SEQ_TO_SEQ_CAUSAL_LM", "TEXT_ENCODING", "TOKEN_CLASSIFICATION", "QUESTION_ANSWERING")
"""Lists of transformers with families that encode texts; the last two have causal families too."""
_RECURRENT = re.compile(
    "mamba|rwkv|lstm|recurrent|deltanet|deltaattention|lightningattention|shortconv|statespace", re.IGNORECASE
)


def learned_positions(base: Any) -> tuple[int | None, int]:
    """How many tokens the table of learned positions holds, and the first one's (RoBERTa's is behind its pad)."""
    for name, module in base.named_modules():
        label = name.rsplit(".", 1)[-1]
        table = getattr(module, "weight", None)
        if table is not None and label in ("position_embeddings", "wpe", "embed_positions"):
            if hasattr(module, "offset"):  # OPT and BART add theirs themselves
                return len(table) - int(module.offset), 0  # type: ignore[arg-type]
            padding: Any = getattr(module, "padding_idx", None)
            first = 0 if padding is None else padding + 1
            return len(table) - first, first
    return None, 0


def _sparse_from(config: Any, limit: int | None) -> int | None:
    """The tokens that BigBird reads with full attention, which a short text makes it use for good."""
    if getattr(config, "attention_type", None) != "block_sparse":
        return limit
    full = (5 + 2 * config.num_random_blocks) * config.block_size
    return full if limit is None else min(full, limit)


def load_model(
    name: str,
    *,
    random_init: int | None,
    dtype: str,
    device: str,
    quantize: str | None = None,
    device_map: str | None = None,
    compiled: bool = False,
    force_download: bool = False,
) -> LoadedModel:
    """A model and its tokenizer from the hub or a folder, as its configuration says what it is."""
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer

    if (Path(name) / "adapter_config.json").is_file():
        raise ExtractionError(
            f"{name} holds an adapter, and the model is read without it: merge it into the weights first (peft's "
            "merge_and_unload, then save_pretrained), and give that folder."
        )
    place, kind = pick_device(device), pick_dtype(dtype, device)
    options: dict[str, Any] = {"dtype": kind}
    if quantize is not None:
        options["quantization_config"] = quantization_config(quantize, kind, place)
    if device_map is not None or quantize is not None:
        options["device_map"] = device_map or {"": str(place)}
    source, revision = with_revision(name)
    try:
        # said, not left out: transformers would ask on the terminal whether to run a model's own code
        fetched: dict[str, Any] = {"force_download": force_download, "trust_remote_code": False}
        fetched["revision"] = revision or "main"
        config = AutoConfig.from_pretrained(source, **fetched)
        _refuse_state_space(name, config.model_type in STATE_SPACE, config.model_type)
        causal = _is_causal(name, config)
        tokenizer = AutoTokenizer.from_pretrained(source, **fetched)
        factory = AutoModelForCausalLM if causal else AutoModel
        info: dict[str, Any] = {}
        if random_init is None:
            both: Any = factory.from_pretrained(source, output_loading_info=True, **fetched, **options)
            model, info = both
        else:
            torch.manual_seed(random_init)
            model = factory.from_config(config, dtype=kind)
    except ExtractionError:
        raise
    except Exception as error:  # transformers and the hub client raise many kinds
        if "custom code" in str(error):
            raise ExtractionError(
                f"{name} comes with code of its own, which is not run. Load it yourself, if you trust it, and give it "
                "to extractors.extract_module; or take a model whose code transformers has."
            ) from error
        told = explain(error, source, revision) or (
            f"{first_line(error)} Check the name, the network or the cache; a local folder needs config.json, weights "
            "and a tokenizer."
        )
        raise ExtractionError(f"Language model {name!r} could not be loaded: {told}") from error
    recurrent = next((type(m).__name__ for m in model.modules() if _RECURRENT.search(type(m).__name__)), None)
    _refuse_state_space(name, recurrent is not None, f"{config.model_type} ({recurrent})")
    if "device_map" not in options:
        model = model.to(place)
    model, total = model.eval(), _count(model)
    parts = _parts(name, model, causal)
    loaded = LoadedModel(
        name=name,
        model=model if causal else parts[-1],  # a decoder that is not used need not stay in memory
        base=parts[0],
        tokenizer=tokenizer,
        causal=causal,
        family=config.model_type,
        revision=revision_of(source, revision),
        weights=weights_of(source, revision) if random_init is None else {},
        random_init=random_init,
        dtype=kind,
        params_total=total,
        params_backbone=0,
        quantization=quantize,
        device_map=device_map,
        compiled=compiled,
        scored=causal and not drawn_weights(model, model.get_output_embeddings(), info),
    )
    loaded.max_positions, loaded.first_position = learned_positions(parts[0])
    said = getattr(config, "max_position_embeddings", None)
    if loaded.max_positions is not None and isinstance(said, int):  # MRA's table has two that its texts never reach
        loaded.max_positions = min(loaded.max_positions, said)
    loaded.max_positions = _sparse_from(config, loaded.max_positions)
    check_weights(name, model, parts[0], info)
    settle(loaded, parts)
    loaded.params_backbone = _count(loaded.base)
    if compiled:
        compile_blocks(loaded.blocks or [])
    return loaded


def _parts(name: str, model: Any, causal: bool) -> list[Any]:
    """Modules that give the hidden states of a text, the smallest first: without what sees, without what predicts."""
    try:
        base = model.base_model if causal else model.get_encoder() if model.config.is_encoder_decoder else model
    except Exception as error:  # a model of other things than text
        raise unreadable(name, model.config.model_type, f"it has no encoder of text ({first_line(error)})") from error
    base = getattr(model, "model", base) if base is model and causal else base  # Llama 4 has it under another name
    inner = getattr(base, "language_model", None)
    return [base] if inner is None else [inner, base]


def _count(model: Any) -> int:
    return sum(p.numel() for p in model.parameters())


def _is_causal(name: str, config: Any) -> bool:
    """Whether a model predicts the next token; else it is an encoder, or has one. ExtractionError for neither."""
    from transformers.models.auto import modeling_auto as auto

    family = config.model_type
    encoder = family in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES or config.is_encoder_decoder
    if family in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and not (encoder and not getattr(config, "is_decoder", False)):
        return True
    if encoder or any(family in getattr(auto, f"MODEL_FOR_{kind}_MAPPING_NAMES") for kind in ENCODERS):
        return False
    raise ExtractionError(
        f"{name} is a {family} model, which is neither a causal language model nor an encoder of text. A "
        "vision model is extracted with --modality vision, one that also reads texts with --modality vision-language."
    )


def _refuse_state_space(name: str, found: bool, kind: str) -> None:
    if found:
        raise ExtractionError(
            f"{name} is a {kind} model: its hidden states are inputs of its blocks, and a recurrent state next to them "
            "holds what other models keep in a layer's features. They would not mean the same and are not extracted."
        )
