"""Language models as they come from transformers: what kind they are, where their layers are, how states are read."""

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ExtractionError, first_line
from .environment import compile_blocks, file_sha256, identity, pick_device, pick_dtype, quantization_config
from .ways import States, Way, agree, find_way, memory_errors, ordinary_texts, pad, padding_id, tolerance_of, ways

STATE_SPACE = (
    *("mamba", "mamba2", "falcon_mamba", "rwkv", "xlstm", "recurrent_gemma", "jamba"),
    *("zamba", "zamba2", "bamba", "falcon_h1", "granitemoehybrid", "nemotron_h", "lfm2"),
    *("lfm2_moe", "qwen3_next", "olmo_hybrid", "bailing_hybrid", "minimax"),
)
_RECURRENT = re.compile("mamba|rwkv|lstm|recurrent|deltanet|deltaattention|lightningattention|shortconv|statespace", re.IGNORECASE)


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
    family: str
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
    way: Way = Way("padded")
    """How texts share a batch."""
    no_cache: bool = True
    """Whether a causal model is told to keep nothing for a next token; the states of some depend on it."""
    head_alone: bool = True
    """Whether the output layer and its scales make the logits of the last state; else the whole model makes them."""

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
    def embeddings(self) -> Any:
        """The table of token embeddings; ExtractionError where there is none."""
        import torch

        try:
            found = self.base.get_input_embeddings()
        except (AttributeError, NotImplementedError):
            found = None
        if getattr(found, "weight", None) is None:
            found = next((m for m in self.base.modules() if isinstance(m, torch.nn.Embedding)), None)
        if found is None:
            raise self.unreadable("it has no table of token embeddings")
        return found

    @property
    def padding_id(self) -> int:
        return padding_id(self.tokenizer, len(self.embeddings.weight))

    @property
    def device(self) -> Any:
        """Where token ids go: to the embeddings, which come first also in a model spread over devices."""
        embeddings = self.embeddings
        spread = getattr(embeddings, "_hf_hook", None)  # accelerate's; offloaded weights are nowhere themselves
        place = getattr(spread, "execution_device", None)
        return embeddings.weight.device if place is None else place

    def inputs(self, tokens: Any, mask: Any) -> dict[str, Any]:
        """Arguments of a forward pass: without padding the library's own, with it positions where `way` says so."""
        arguments = {"input_ids": tokens}
        if takes(self.base, "attention_mask"):
            arguments["attention_mask"] = mask
        if self.way.positions and not bool(mask.all()):
            first = self.first_position
            positions = (mask.cumsum(dim=1) - 1).clamp(min=0) + first
            # RoBERTa and its kin count from behind the padding's own position
            arguments["position_ids"] = positions if not first else positions.masked_fill(mask == 0, first - 1)
        return arguments

    def hidden_states(self, tokens: Any, mask: Any, pool: Callable[[Any], Any]) -> tuple[list[Any], Any]:
        """`pool` of every hidden state, and the last one whole; pooled as they come, as all of them are too many."""
        inputs = self.inputs(tokens, mask)
        if self.blocks is None:
            output = self.base(**inputs, **self._options(), output_hidden_states=True)
            return [pool(state) for state in output.hidden_states], output.last_hidden_state
        found: dict[int, Any] = {}

        def before(index):
            def keep(module, args, kwargs):
                found[index] = pool(args[0] if args else kwargs["hidden_states"])

            return keep

        handles = [block.register_forward_pre_hook(before(i), with_kwargs=True) for i, block in enumerate(self.blocks)]
        try:
            last = self.base(**inputs, **self._options()).last_hidden_state
        finally:
            for handle in handles:
                handle.remove()
        return [*(found[i] for i in range(len(self.blocks))), pool(last)], last

    def _options(self) -> dict[str, bool]:
        return {"use_cache": False} if self.causal and self.no_cache else {}

    def logits(self, last: Any, tokens: Any, mask: Any) -> Any:
        """Logits (texts, tokens - 1, words) of what follows each token, from the last state or by the whole model."""
        import torch

        if not self.head_alone:
            return self.model(**self.inputs(tokens, mask), **self._options()).logits[:, :-1]
        head, config = self.model.get_output_embeddings(), self.model.config.get_text_config()
        logits = head(last[:, :-1].to(head.weight.device))
        cap, scale = (getattr(config, name, None) for name in ("final_logit_softcapping", "logit_scale"))
        scaling = getattr(config, "logits_scaling", None)
        logits = torch.tanh(logits / cap) * cap if cap else logits
        logits = logits * scale if scale else logits
        return logits / scaling if scaling else logits

    def settle(self, parts: Sequence[Any]) -> None:
        """Find how states are read and how texts share a batch; ExtractionError where none gives the library's states.

        The states of a text are those of the library's plain call of the model (or of its encoder) with this text
        alone. `parts` may give them, and the first that does is `base`. Hooks are used where they give them to the bit.
        """
        import torch

        texts = [text[: self.max_positions] for text in self._texts()]
        with torch.inference_mode():
            try:
                library = [self._plain(self.model if self.causal else parts[-1], text) for text in texts[:2]]
            except (ExtractionError, *memory_errors()):
                raise
            except Exception as error:  # a model that is no model of text alone raises anything
                raise self.unreadable(f"its own call with a text alone ends with {type(error).__name__}: {first_line(error)}") from error
            alone, logits = [states for states, _ in library], library[0][1]
            self._settle_way(parts, texts, alone)
            self._settle_blocks(texts, alone)
            if self.causal:
                self._settle_head(texts[0], logits)

    def _settle_way(self, parts: Sequence[Any], texts: list[list[int]], alone: list[States]) -> None:
        tolerance, strict = tolerance_of(self.dtype, self.quantization is not None)
        for self.base in parts:
            takes_positions = "position_ids" in inspect.signature(self.base.forward).parameters
            for self.no_cache in (True, False) if self.causal else (True,):
                candidates = ways(self.causal, takes_positions)
                way = find_way(candidates, self._read, texts, alone, tolerance, strict=strict)
                if way is not None:
                    self.way = way
                    return
        raise self.unreadable(
            "a text has other states at each call, or others than the whole model gives it, with nothing else in its batch"
        )

    def _settle_blocks(self, texts: list[list[int]], alone: list[States]) -> None:
        import torch

        way = self.way
        for self.blocks in _lists_of_blocks(self.base, len(alone[0]) - 1):
            try:
                hooked = [self._read(Way("alone"), [text])[0] for text in texts[:2]]
            except (ExtractionError, KeyError, TypeError, IndexError, AttributeError):  # not called with states
                continue
            if all(len(a) == len(b) and all(map(torch.equal, a, b)) for a, b in zip(hooked, alone, strict=True)):
                break
        else:
            self.blocks = None
        self.way = way

    def _settle_head(self, text: list[int], expected: Any) -> None:
        import torch

        tokens = torch.as_tensor([text], device=self.device)
        mask = torch.ones_like(tokens)
        _, last = self.hidden_states(tokens, mask, lambda state: None)
        tolerance, strict = tolerance_of(self.dtype, self.quantization is not None)
        try:
            found = self.logits(last, tokens, mask).cpu()
            self.head_alone = agree([found], [expected[:, :-1]], lambda _: tolerance(len(self.blocks or ())), strict)
        except (AttributeError, RuntimeError):  # no output layer, or one that takes other states
            self.head_alone = False

    def _plain(self, model: Any, text: list[int]) -> tuple[States, Any]:
        """The hidden states of a text, and its logits, by the library's own call."""
        import torch

        tokens = torch.as_tensor([text], device=self.device)
        arguments = {"input_ids": tokens}
        if takes(model, "attention_mask"):
            arguments["attention_mask"] = torch.ones_like(tokens)
        output = model(**arguments, output_hidden_states=True)
        states = getattr(output, "hidden_states", None)
        if states is None or len(states) < 2:
            raise self.unreadable("it gives no hidden states")
        for layer, state in enumerate(states):
            if not isinstance(state, torch.Tensor):
                raise self.unreadable(f"its hidden state {layer} is a {type(state).__name__} of several")
            if state.ndim != 3 or state.shape[:2] != tokens.shape:
                raise self.unreadable(
                    f"hidden state {layer} of {len(text)} tokens has the shape {tuple(state.shape)}, where (1, {len(text)}, "
                    "width) is due"
                )
            if not torch.isfinite(state).all():
                raise self.unreadable(f"hidden state {layer} has values that are not finite")
        logits = getattr(output, "logits", None)
        return [state.cpu() for state in states], None if logits is None else logits.cpu()

    def _texts(self) -> tuple[list[int], list[int], list[int]]:
        """Token ids to try the model with: none that means padding, the end of a text, a picture or the like."""
        config = getattr(self.model, "config", None)
        named = set() if config is None else _special_ids(config.to_dict())
        special = {self.padding_id, *self.tokenizer.all_special_ids, *named}
        size = min(len(self.tokenizer), len(self.embeddings.weight))
        return ordinary_texts(size, special)

    def _read(self, way: Way, texts: list[list[int]]) -> list[States]:
        """The states of each text of a batch, padding left out."""
        import torch

        self.way = way
        ids, valid = pad(texts, self.padding_id, side=way.side)
        tokens, mask = torch.as_tensor(ids, device=self.device), torch.as_tensor(valid, device=self.device)
        states, _ = self.hidden_states(tokens, mask, lambda state: state.cpu())
        return [[state[i : i + 1, row.astype(bool)] for state in states] for i, row in enumerate(valid)]

    def unreadable(self, why: str) -> ExtractionError:
        return unreadable(self.name, self.family, why)


def takes(model: Any, argument: str) -> bool:
    """Whether a model's forward pass has an argument of that name, or any name."""
    parameters = inspect.signature(model.forward).parameters
    return argument in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def unreadable(name: str, family: str, why: str) -> ExtractionError:
    """The error for a model of a family that is not read."""
    return ExtractionError(
        f"{name} is a {family} model, which cannot be read: {why}. extractors.extract_module reads any torch module by the "
        "names of its layers; or choose a model of another family."
    )


def _special_ids(settings: dict[str, Any]) -> set[int]:
    """Ids that a configuration gives a meaning: of padding, of a picture's place and the like."""
    found: set[int] = set()
    for name, value in settings.items():
        if isinstance(value, dict):
            found |= _special_ids(value)
        elif re.search("token_(id|ids|index)$", str(name)):
            found |= {v for v in (value if isinstance(value, list | tuple) else [value]) if isinstance(v, int)}
    return found


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
    parts = _parts(name, model, causal)
    folder = Path(name)
    loaded = LoadedModel(
        name=name,
        model=model if causal else parts[-1],  # a decoder that is not used need not stay in memory
        base=parts[0],
        tokenizer=tokenizer,
        causal=causal,
        family=config.model_type,
        revision=file_sha256(folder) if folder.is_dir() else getattr(config, "_commit_hash", None),
        random_init=random_init,
        dtype=kind,
        params_total=total,
        params_backbone=0,
        quantization=quantize,
        device_map=device_map,
        compiled=compiled,
    )
    loaded.max_positions, loaded.first_position = _learned_positions(parts[0])
    loaded.max_positions = _sparse_from(config, loaded.max_positions)
    loaded.settle(parts)
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
