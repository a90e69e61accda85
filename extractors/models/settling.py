"""How a language model is read: settled at loading, by comparing with the library's own states and logits."""

import inspect
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from ..errors import ExtractionError, first_line
from .loaded import LoadedModel, takes
from .ways import States, Way, agree, find_way, memory_errors, ordinary_texts, pad, tolerance_of, ways


def settle(loaded: LoadedModel, parts: Sequence[Any]) -> None:
    """Find how states are read and how texts share a batch; ExtractionError where none gives the library's states.

    The states of a text are those of the library's plain call of the model (or of its encoder) with this text
    alone. `parts` may give them, and the first that does is `base`. Hooks are used where they give them to the bit.
    """
    import torch

    long, short, other = (text[: loaded.max_positions] for text in _texts(loaded))
    texts, whole = (long, short, other), loaded.model if loaded.causal else parts[-1]
    with torch.inference_mode():
        try:
            library = [_plain(loaded, whole, text) for text in (long, short)]
        except (ExtractionError, *memory_errors()):
            raise
        except Exception as error:  # a model that is no model of text alone raises anything
            why = f"its own call with a text alone ends with {type(error).__name__}: {first_line(error).rstrip('.')}"
            if loaded.dtype != torch.float32:
                why += " (some families compute in --dtype float32 only)"
            raise loaded.unreadable(why) from error
        alone, logits = [states for states, _ in library], library[0][1]
        if not _find_way(loaded, parts, texts, alone):
            again, _ = _plain(loaded, whole, long)
            same = agree(again, alone[0], *tolerance_of(loaded.dtype, loaded.quantization is not None))
            raise loaded.unreadable(
                "the states of a text alone are not those that the whole model gives"
                if same
                else "a text has other states at each call, as the model draws random numbers"
            )
        _find_blocks(loaded, texts, alone)
        if loaded.scored:
            if logits is None:
                raise loaded.unreadable("it gives no logits")
            _find_head(loaded, long, logits)


Texts = tuple[list[int], list[int], list[int]]
"""A long, a short, and another long text."""


def _find_way(loaded: LoadedModel, parts: Sequence[Any], texts: Texts, alone: list[States]) -> bool:
    """Whether some part of the model gives the states; sets which, with what options, and how texts share a batch."""
    tolerance, strict = tolerance_of(loaded.dtype, loaded.quantization is not None)
    for part in parts:
        loaded.base = part
        takes_positions = "position_ids" in inspect.signature(loaded.base.forward).parameters
        for no_cache in (True, False) if loaded.causal else (True,):
            loaded.no_cache = no_cache
            candidates = ways(loaded.causal, takes_positions)
            way = find_way(candidates, partial(_read, loaded), texts, alone, tolerance, strict=strict)
            if way is not None:
                loaded.way = way
                return True
    return False


def _find_blocks(loaded: LoadedModel, texts: Texts, alone: list[States]) -> None:
    import torch

    way = loaded.way
    for blocks in _lists_of_blocks(loaded.base, len(alone[0]) - 1):
        loaded.blocks = blocks
        try:
            hooked = [_read(loaded, Way("alone"), [text])[0] for text in texts[:2]]
        except (ExtractionError, KeyError, TypeError, IndexError, AttributeError):  # not called with states
            continue
        if all(len(a) == len(b) and all(map(torch.equal, a, b)) for a, b in zip(hooked, alone, strict=True)):
            break
    else:
        loaded.blocks = None
    loaded.way = way


def _find_head(loaded: LoadedModel, text: list[int], expected: Any) -> None:
    import torch

    tokens = torch.as_tensor([text], device=loaded.device)
    mask = torch.ones_like(tokens)
    _, last = loaded.hidden_states(tokens, mask, lambda state: None)
    tolerance, strict = tolerance_of(loaded.dtype, loaded.quantization is not None)
    try:
        found = loaded.logits(last, tokens, mask).cpu()
        loaded.head_alone = agree([found], [expected[:, :-1]], lambda _: tolerance(len(loaded.blocks or ())), strict)
    except (AttributeError, RuntimeError):  # no output layer, or one that takes other states
        loaded.head_alone = False


def _plain(loaded: LoadedModel, model: Any, text: list[int]) -> tuple[States, Any]:
    """The hidden states of a text, and its logits, by the library's own call."""
    import torch

    tokens = torch.as_tensor([text], device=loaded.device)
    arguments = {"input_ids": tokens}
    if takes(model, "attention_mask"):
        arguments["attention_mask"] = torch.ones_like(tokens)
    output = model(**arguments, output_hidden_states=True)
    states = getattr(output, "hidden_states", None)
    if states is None or len(states) < 2:
        raise loaded.unreadable("it gives no hidden states")
    for layer, state in enumerate(states):
        if not isinstance(state, torch.Tensor):
            raise loaded.unreadable(f"its hidden state {layer} is a {type(state).__name__} of several")
        if state.ndim != 3 or state.shape[:2] != tokens.shape:
            raise loaded.unreadable(
                f"hidden state {layer} of {len(text)} tokens has the shape {tuple(state.shape)}, where "
                f"(1, {len(text)}, width) is due"
            )
        if not torch.isfinite(state).all():
            raise loaded.unreadable(f"hidden state {layer} has values that are not finite")
    logits = getattr(output, "logits", None)
    return [state.cpu() for state in states], None if logits is None else logits.cpu()


def _texts(loaded: LoadedModel) -> tuple[list[int], list[int], list[int]]:
    """Token ids to try the model with: none that means padding, the end of a text, a picture or the like."""
    config = getattr(loaded.model, "config", None)
    named = set() if config is None else special_ids(config.to_dict())
    special = {loaded.padding_id, *loaded.tokenizer.all_special_ids, *named}
    size = min(len(loaded.tokenizer), len(loaded.embeddings.weight))
    return ordinary_texts(size, special)


def _read(loaded: LoadedModel, way: Way, texts: list[list[int]]) -> list[States]:
    """The states of each text of a batch, padding left out."""
    import torch

    loaded.way = way
    ids, valid = pad(texts, loaded.padding_id, side=way.side)
    tokens, mask = torch.as_tensor(ids, device=loaded.device), torch.as_tensor(valid, device=loaded.device)
    states, _ = loaded.hidden_states(tokens, mask, lambda state: state.cpu())
    return [[state[i : i + 1, row.astype(bool)] for state in states] for i, row in enumerate(valid)]


def special_ids(settings: dict[str, Any]) -> set[int]:
    """Ids that a configuration gives a meaning: of padding, of a picture's place and the like."""
    found: set[int] = set()
    for name, value in settings.items():
        if isinstance(value, dict):
            found |= special_ids(value)
        elif re.search("token_(id|ids|index)$", str(name)):
            found |= {v for v in (value if isinstance(value, list | tuple) else [value]) if isinstance(v, int)}
    return found


def _lists_of_blocks(base: Any, count: int) -> list[Any]:
    """Lists of `count` modules of a kind, outermost first: where the layers of a transformer are."""
    import torch

    lists = [m for m in base.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == count]
    return [m for m in lists if len({id(block) for block in m}) == count]
