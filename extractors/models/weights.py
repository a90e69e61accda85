"""Whether a checkpoint has the weights of the layers that are read: what it lacks would be drawn at random."""

from collections.abc import Mapping
from typing import Any

from ..errors import ExtractionError

_NOT_READ = ("pooler",)
"""Modules that hidden states do not pass."""


def drawn_weights(model: Any, part: Any, info: Mapping[str, Any]) -> list[str]:
    """Weights of a part of a model that transformers drew at random, as the checkpoint lacks them.

    Parameters
    ----------
    model, part
        The model as it was loaded, and the module of it that is asked about; None has no weights.
    info
        What `from_pretrained(..., output_loading_info=True)` tells of the loading; empty where weights are random by
        request.
    """
    if part is None:
        return []
    used = {id(weight) for weight in (*part.parameters(), *part.buffers())}
    names = {key: id(weight) for key, weight in (*model.named_parameters(), *model.named_buffers())}
    drawn = {*info.get("missing_keys", ()), *(key[0] for key in info.get("mismatched_keys", ()))}
    return sorted(
        key for key in drawn if names.get(key) in used and not any(part in _NOT_READ for part in key.split("."))
    )


def check_weights(name: str, model: Any, part: Any, info: Mapping[str, Any]) -> None:
    """ExtractionError where weights of the part that is read were drawn at random (see `drawn_weights`)."""
    lacking = drawn_weights(model, part, info)
    if lacking:
        others = sorted(info.get("unexpected_keys", ()))
        hint = f" It has others, such as {others[0]!r}: were they saved from a wrapped model?" if others else ""
        raise ExtractionError(
            f"The checkpoint of {name} lacks {len(lacking)} weights of the layers that are read, such as "
            f"{lacking[0]!r}, and transformers would draw them at random.{hint} Save all weights of the model, or take "
            "random ones on purpose: --random-init SEED."
        )
