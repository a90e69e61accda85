"""Tokens to one vector a sample: which pooling a name means, the pooling (float32, on the device), its hooks."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..errors import ExtractionError

if TYPE_CHECKING:
    import torch

TOKENS = "tokens"
"""Pooling that keeps every token: a row for each, those of a sample one after another."""
POOLS = ("mean", "avg", "last", "cls", "none", "auto", "thirds", "own", TOKENS)
"""Accepted names; `avg` is `mean`, and `none` is what the reference calls the class token of vision models."""


@contextmanager
def forward_hooks(modules: Iterable[Any], keep: Callable[[Any, Any, Any], None]) -> Iterator[None]:
    """Call `keep(module, inputs, output)` after each module runs; the hooks are gone afterwards, also on errors."""
    handles = [module.register_forward_hook(keep) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _check(pool: str) -> None:
    if pool not in POOLS:
        raise ExtractionError(f"Unknown pooling {pool!r}; choose one of {', '.join(POOLS)}.")


def _refuse_thirds(pool: str, model: str) -> None:
    if pool == "thirds":
        raise ExtractionError(f"--pool thirds is for sounds, and {model} is no audio model. Use mean.")


def _refuse_own(pool: str, model: str) -> None:
    if pool == "own":
        raise ExtractionError(f"--pool own is for sentence-transformers models of text, and {model} is none. Use auto.")


def resolve_text(pool: str, model: str, *, causal: bool, has_class_token: bool = False) -> str:
    """The canonical pooling (mean, last, cls, tokens) for a language model; ExtractionError where it does not apply.

    `auto` is mean. Causal models have mean and last, encoders mean and, where texts begin with a class token, cls.
    """
    _check(pool)
    canonical = {"avg": "mean", "auto": "mean"}.get(pool, pool)
    _refuse_thirds(canonical, model)
    if causal and canonical in ("none", "cls"):
        raise ExtractionError(
            f"--pool {pool} does not apply to {model}: a causal language model has no class token. Use mean or last."
        )
    if not causal and canonical in ("none", "last"):
        raise ExtractionError(
            f"--pool {pool} does not apply to {model}: the last token of an encoder is a mark like any other. Use mean "
            "or cls."
        )
    if canonical == "cls" and not has_class_token:
        raise ExtractionError(
            f"--pool cls takes the class token, and texts for {model} do not begin with one (or special tokens are "
            "off). Use mean."
        )
    return canonical


def resolve_image(pool: str, model: str, *, has_class_token: bool) -> str:
    """The canonical pooling (mean, cls, tokens) for a vision model; ExtractionError where it does not apply.

    `auto` is cls for models with a class token and mean for all others.
    """
    _check(pool)
    _refuse_thirds(pool, model)
    _refuse_own(pool, model)
    if pool == "last":
        raise ExtractionError(
            f"--pool last does not apply to {model}: the last patch of a picture is no summary. Use cls or mean."
        )
    if pool == "auto":
        return "cls" if has_class_token else "mean"
    canonical = {"avg": "mean", "none": "cls"}.get(pool, pool)
    if canonical == "cls" and not has_class_token:
        raise ExtractionError(
            f"--pool {pool} takes the class token, and {model} has none: its first token is a patch or a register. "
            "Use --pool mean, or auto."
        )
    return canonical


def resolve_audio(pool: str, model: str, family: Any) -> str:
    """The canonical pooling (mean, thirds, cls) for an audio model; ExtractionError where it does not apply.

    `auto` is cls for models with a class token and mean for all others.
    """
    _check(pool)
    _refuse_own(pool, model)
    canonical = {"avg": "mean", "none": "cls", "auto": "cls" if family.has_class_token else "mean"}.get(pool, pool)
    if canonical == "last":
        raise ExtractionError(
            f"--pool last does not apply to {model}: the last frame is no summary. Use mean or thirds."
        )
    if canonical == "cls" and not family.has_class_token:
        raise ExtractionError(f"--pool {pool} takes the class token, and {model} has none. Use mean or thirds.")
    if canonical == "thirds" and not family.has_time:
        raise ExtractionError(f"--pool thirds needs states in the order of time, which {model} has not. Use mean.")
    return canonical


def pool_tokens(states: "torch.Tensor", mask: "torch.Tensor", pool: str) -> "torch.Tensor":
    """One float32 vector a sample from states (batch, tokens, d) and a mask (batch, tokens) of valid tokens.

    The pooling `tokens` gives one for each valid token, those of the first sample first.
    `mean` averages the valid tokens, `last` and `cls` take the last and first valid one; padding may be on either side.
    """
    import torch

    if pool == TOKENS:
        return states[mask.bool()].float()
    if pool in ("last", "cls"):
        positions = torch.arange(mask.shape[1], device=mask.device)
        order = positions + 1 if pool == "last" else mask.shape[1] - positions
        chosen = (mask * order).argmax(dim=1)
        return states[torch.arange(states.shape[0], device=states.device), chosen].float()
    weights = mask.unsqueeze(-1).float()
    # where, not a product: a padded position may hold an infinity
    valid = torch.where(weights > 0, states.float(), 0.0)
    return valid.sum(dim=1) / weights.sum(dim=1)


def pool_image(output: Any, pool: str, prefix: int) -> Any:
    """Tokens (batch, tokens, d) or a feature map (batch, d, h, w) to (batch, d) in float32.

    The mean is over patches: `prefix` tokens (class token, registers) come before them. `tokens` gives the patches
    themselves, (batch * patches, d), row by row of the map.
    """
    if pool == TOKENS:
        patches = output.flatten(2).transpose(1, 2) if output.ndim == 4 else output[:, prefix:]
        return patches.flatten(0, 1).float().clone()  # a copy: later layers may change the output in place
    if output.ndim == 4:
        return output.float().mean(dim=(2, 3))
    return output[:, 0].float() if pool == "cls" else output[:, prefix:].float().mean(dim=1)
