"""Language models as they come from transformers: what kind they are, where their layers are, how states are read."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ExtractionError, first_line
from .environment import compile_blocks, file_sha256, identity, pick_device, pick_dtype, quantization_config

STATE_SPACE = (
    *("mamba", "mamba2", "falcon_mamba", "rwkv", "xlstm", "recurrent_gemma", "jamba"),
    *("zamba", "zamba2", "bamba", "falcon_h1", "granitemoehybrid", "nemotron_h", "lfm2"),
    *("lfm2_moe", "qwen3_next", "olmo_hybrid", "bailing_hybrid", "minimax"),
)
_RECURRENT = re.compile("mamba|rwkv|lstm|recurrent|deltanet|lightningattention|shortconv|statespace", re.IGNORECASE)


@dataclass
class LoadedModel:
    """A model with its tokenizer, placed and in evaluation mode.

    `base` gives the hidden states: the base model of a causal one, or an encoder. `blocks` are its layers where hooks
    on them were found to give the states of `output_hidden_states`; None asks for those themselves.
    """

    name: str
    model: Any
    base: Any
    tokenizer: Any
    causal: bool
    revision: str | None
    random_init: int | None
    dtype: Any
    params_total: int
    params_backbone: int
    quantization: str | None = None
    device_map: str | None = None
    compiled: bool = False
    blocks: Any = None
    max_positions: int | None = None
    """How many tokens the table of learned positions holds; None where there is no such table."""
    first_position: int = 0

    def spec(self) -> dict[str, Any]:
        """What identifies the weights and how they compute."""
        return identity(
            self.name,
            self.revision,
            self.random_init,
            self.dtype,
            quantization=self.quantization,
            device_map=self.device_map,
            compiled=self.compiled,
        )

    @property
    def device(self) -> Any:
        """Where token ids go: to the embeddings, which come first also in a model spread over devices."""
        embeddings = self.base.get_input_embeddings()
        spread = getattr(embeddings, "_hf_hook", None)  # accelerate's; offloaded weights are nowhere themselves
        place = getattr(spread, "execution_device", None)
        return embeddings.weight.device if place is None else place

    @property
    def padding_side(self) -> str:
        return "left" if self.causal else "right"

    def inputs(self, tokens: Any, mask: Any) -> dict[str, Any]:
        """Arguments of a forward pass, with positions counted over valid tokens wherever they can be given.

        Without them, left padding shifts the learned positions of GPT-2 and others.
        """
        arguments = {"input_ids": tokens, "attention_mask": mask}
        if "position_ids" in inspect.signature(self.base.forward).parameters:
            first = self.first_position
            positions = (mask.cumsum(dim=1) - 1).clamp(min=0) + first
            # RoBERTa and its kin count from behind the padding's own position
            arguments["position_ids"] = positions if not first else positions.masked_fill(mask == 0, first - 1)
        return arguments

    def hidden_states(self, tokens: Any, mask: Any, pool: Callable[[Any], Any]) -> tuple[list[Any], Any]:
        """`pool` of every hidden state, and the last one whole; pooled as they come, as all of them are too many."""
        inputs = self.inputs(tokens, mask)
        if self.blocks is None:
            output = self.base(**inputs, **self._no_cache(), output_hidden_states=True)
            return [pool(state) for state in output.hidden_states], output.last_hidden_state
        found: dict[int, Any] = {}

        def before(index):
            def keep(module, args, kwargs):
                found[index] = pool(args[0] if args else kwargs["hidden_states"])

            return keep

        handles = [block.register_forward_pre_hook(before(i), with_kwargs=True) for i, block in enumerate(self.blocks)]
        try:
            last = self.base(**inputs, **self._no_cache()).last_hidden_state
        finally:
            for handle in handles:
                handle.remove()
        return [*(found[i] for i in range(len(self.blocks))), pool(last)], last

    def _no_cache(self) -> dict[str, bool]:
        return {"use_cache": False} if self.causal else {}

    def find_blocks(self) -> None:
        """Settle how states are read: by hooks where they give those of `output_hidden_states`, to the bit."""
        import torch

        length = min(4, self.max_positions or 4)
        tokens = torch.arange(3, 3 + length, device=self.device)[None]
        mask = torch.ones_like(tokens)
        with torch.inference_mode():
            plain, _ = self.hidden_states(tokens, mask, lambda state: state.cpu())
            for blocks in _lists_of_blocks(self.base, len(plain) - 1):
                self.blocks = blocks
                try:
                    hooked, _ = self.hidden_states(tokens, mask, lambda state: state.cpu())
                except (KeyError, TypeError, IndexError):  # a block that is not called, or not with states
                    continue
                if len(hooked) == len(plain) and all(map(torch.equal, hooked, plain)):
                    return
        self.blocks = None


def _lists_of_blocks(base: Any, count: int) -> list[Any]:
    """Lists of `count` modules of a kind, outermost first: where the layers of a transformer are."""
    import torch

    lists = [m for m in base.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == count]
    return [m for m in lists if len({id(block) for block in m}) == count]


def _learned_positions(base: Any) -> tuple[int | None, int]:
    """How many tokens the table of learned positions holds, and the first one's (RoBERTa's is behind its pad)."""
    import torch

    for name, module in base.named_modules():
        label = name.rsplit(".", 1)[-1]
        if isinstance(module, torch.nn.Embedding) and label in ("position_embeddings", "wpe", "embed_positions"):
            if hasattr(module, "offset"):  # OPT and BART add theirs themselves
                return module.num_embeddings - int(module.offset), 0  # type: ignore[arg-type]
            first = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - first, first
    return None, 0


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

    place, kind = pick_device(device), pick_dtype(dtype, device)
    options: dict[str, Any] = {"dtype": kind}
    if quantize is not None:
        options["quantization_config"] = quantization_config(quantize, kind, place)
    if device_map is not None or quantize is not None:
        options["device_map"] = device_map or {"": str(place)}
    try:
        config = AutoConfig.from_pretrained(name, force_download=force_download)
        _refuse_state_space(name, config.model_type in STATE_SPACE, config.model_type)
        causal = _is_causal(name, config)
        tokenizer = AutoTokenizer.from_pretrained(name, force_download=force_download)
        factory = AutoModelForCausalLM if causal else AutoModel
        if random_init is None:
            model = factory.from_pretrained(name, force_download=force_download, **options)
        else:
            torch.manual_seed(random_init)
            model = factory.from_config(config, dtype=kind)
    except ExtractionError:
        raise
    except Exception as error:  # transformers and the hub client raise many kinds
        raise ExtractionError(
            f"Language model {name!r} could not be loaded: {first_line(error)} Check the name, the network or the "
            "cache; a local folder needs config.json, weights and a tokenizer."
        ) from error
    recurrent = next((type(m).__name__ for m in model.modules() if _RECURRENT.search(type(m).__name__)), None)
    _refuse_state_space(name, recurrent is not None, f"{config.model_type} ({recurrent})")
    if "device_map" not in options:
        model = model.to(place)
    model, total = model.eval(), _count(model)
    base = model.base_model if causal else model.get_encoder() if hasattr(model, "decoder") else model
    base = getattr(base, "language_model", base)  # of a model that also sees
    folder = Path(name)
    loaded = LoadedModel(
        name=name,
        model=model if causal else base,  # a decoder that is not used need not stay in memory
        base=base,
        tokenizer=tokenizer,
        causal=causal,
        revision=file_sha256(folder) if folder.is_dir() else getattr(config, "_commit_hash", None),
        random_init=random_init,
        dtype=kind,
        params_total=total,
        params_backbone=_count(base),
        quantization=quantize,
        device_map=device_map,
        compiled=compiled,
    )
    loaded.max_positions, loaded.first_position = _learned_positions(base)
    loaded.find_blocks()
    if compiled:
        compile_blocks(loaded.blocks or [])
    return loaded


def _count(model: Any) -> int:
    return sum(p.numel() for p in model.parameters())


def _is_causal(name: str, config: Any) -> bool:
    """Whether a model predicts the next token; else it is an encoder, or has one. ExtractionError for neither."""
    from transformers.models.auto import modeling_auto as auto

    encoder = config.model_type in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES or config.is_encoder_decoder
    if config.model_type in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and not (
        encoder and not getattr(config, "is_decoder", False)
    ):
        return True
    if encoder or config.model_type in auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
        return False
    raise ExtractionError(
        f"{name} is a {config.model_type} model, which is neither a causal language model nor an encoder of text. A "
        "vision model is extracted with --modality vision."
    )


def _refuse_state_space(name: str, found: bool, kind: str) -> None:
    if found:
        raise ExtractionError(
            f"{name} is a {kind} model: its hidden states are inputs of its blocks, and a recurrent state beside them "
            "holds what other models keep in a layer's features. They would not mean the same and are not extracted."
        )
