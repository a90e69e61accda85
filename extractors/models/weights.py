"""Whether a checkpoint has the weights of the layers that are read: what it lacks would be drawn at random."""

from collections.abc import Mapping
from typing import Any

from ..errors import ExtractionError

_NOT_READ = {"pooler"}
"""Modules that hidden states do not pass."""


_STORED_BEFORE = (
    *("position_ids", "inv_freq", "masked_bias", "attn.bias", "attention.bias", "attn.causal_mask"),
    *("num_batches_tracked", "relative_position_index", "token_type_ids"),
)
"""Ends of names of masks and positions, which older versions stored with the weights."""


def drawn_weights(model: Any, part: Any, info: Mapping[str, Any]) -> list[str]:
    """Weights of a part of a model that transformers drew at random, as the checkpoint lacks them.

    Parameters
    ----------
    model, part
        The model as it was loaded, and the module of it that is asked about; None has no weights.
    info
        Report of the loading by `from_pretrained(..., output_loading_info=True)`; empty where weights are
        random by request.
    """
    if part is None:
        return []
    used = {id(weight) for weight in (*part.parameters(), *part.buffers())}
    names = {key: id(weight) for key, weight in (*model.named_parameters(), *model.named_buffers())}
    drawn = {*info.get("missing_keys", ()), *(key[0] for key in info.get("mismatched_keys", ()))}
    return sorted(key for key in drawn if names.get(key) in used and not _NOT_READ & set(key.split(".")))


def unread_weights(model: Any, part: Any, info: Mapping[str, Any]) -> list[str]:
    """Weights of the checkpoint that belong within a part of the model, which has no place for them.

    They are biases, layers or adapters that the network was trained with. Heads outside of the part do not count, nor
    what older versions stored of masks and positions.
    """
    names = {name: id(module) for name, module in model.named_modules() if name}
    inside = {id(module) for module in part.modules()} - {id(part)}
    found = []
    for key in info.get("unexpected_keys", ()):
        own = key.removeprefix(f"{getattr(model, 'base_model_prefix', '')}.") if key.split(".")[0] not in names else key
        above = own.rpartition(".")[0]
        while above and above not in names:
            above = above.rpartition(".")[0]
        if names.get(above) in inside and not key.endswith(_STORED_BEFORE) and not _NOT_READ & set(key.split(".")):
            found.append(key)
    return sorted(found)


def check_weights(name: str, model: Any, part: Any, info: Mapping[str, Any]) -> None:
    """ExtractionError where weights of the part that is read were drawn at random, or have no place in it."""
    lacking = drawn_weights(model, part, info)
    if lacking:
        others = sorted(info.get("unexpected_keys", ()))
        hint = f" It has others, such as {others[0]!r}: were they saved from a wrapped model?" if others else ""
        raise ExtractionError(
            f"The checkpoint of {name} lacks {len(lacking)} weights of the layers that are read, such as "
            f"{lacking[0]!r}, and transformers would draw them at random.{hint} Save all weights of the model, or take "
            "random ones on purpose: --random-init SEED."
        )
    unread = unread_weights(model, part, info)
    if unread:
        raise ExtractionError(
            f"The checkpoint of {name} has {len(unread)} weights within the layers that are read for which the model "
            f"has no place, such as {unread[0]!r}: its config.json is of another model, or they belong to an adapter. "
            "Give the configuration that it was trained with, or merge the adapter."
        )
