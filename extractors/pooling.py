"""Tokens to one vector a sample: which pooling a name means, and the pooling itself (in float32, on the device)."""

from typing import TYPE_CHECKING

from .errors import ExtractionError

if TYPE_CHECKING:
    import torch

POOLS = ("mean", "avg", "last", "cls", "none", "auto")
"""Accepted names; `avg` is `mean`, and `none` is what the reference calls the class token of vision models."""


def resolve(pool: str, modality: str, *, has_class_token: bool = False, model: str = "the model") -> str:
    """The canonical pooling (mean, last, cls) that a name stands for; ExtractionError where it does not apply.

    `auto` is cls for vision models with a class token and mean for all others.
    """
    if pool not in POOLS:
        raise ExtractionError(f"Unknown pooling {pool!r}; choose one of {', '.join(POOLS)}.")
    if modality == "language":
        if pool in ("none", "cls"):
            raise ExtractionError(
                f"--pool {pool} does not apply to {model}: a causal language model has no class token. "
                "Use mean or last."
            )
        return {"avg": "mean", "auto": "mean"}.get(pool, pool)
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


def pool_tokens(states: "torch.Tensor", mask: "torch.Tensor", pool: str) -> "torch.Tensor":
    """One float32 vector a sample from states (batch, tokens, d) and a mask (batch, tokens) of valid tokens.

    `mean` averages the valid tokens, `last` takes the last valid one; padding may stand on either side.
    """
    import torch

    if pool == "last":
        positions = torch.arange(mask.shape[1], device=mask.device)
        last = (mask * (positions + 1)).argmax(dim=1)
        return states[torch.arange(states.shape[0], device=states.device), last].float()
    weights = mask.unsqueeze(-1).float()
    # where, not a product: a padded position may hold an infinity
    valid = torch.where(weights > 0, states.float(), 0.0)
    return valid.sum(dim=1) / weights.sum(dim=1)
