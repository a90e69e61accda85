"""Tensors that torch has saved: the reference's dictionaries, lists and dictionaries of layers; no code is run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prh_jax.arrays import NotRealError, real_numbers

from ..errors import ExtractionError, first_line
from .axes import SAMPLES_FIRST
from .found import IDS, Found, choose, ids_of, library, not_numbers

_REFERENCE = {"num_params": "params_total", "loss": "loss", "bpb": "bpb_reference"}
"""Values that the reference saves with its features, and their names in a store."""


def read_torch(source: Path, keys: Sequence[str] | None) -> Found:
    """A tensor of all layers, a list with one a layer, or a dictionary of layers by name; or any of them as `feats`."""
    torch = library("torch", source, "extract")
    try:
        content = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds: cut off, no archive, objects that would run code
        raise ExtractionError(
            f"{source} cannot be read: {first_line(error)} Only tensors and plain values are loaded, as all else "
            "in a .pt file could run code."
        ) from error
    reference = isinstance(content, dict) and "feats" in content
    features = content["feats"] if reference else content
    axes = SAMPLES_FIRST if reference and isinstance(features, torch.Tensor) else None
    ids = content.get(IDS) if isinstance(content, dict) else None
    values = _by_name(features)
    if not values:
        raise ExtractionError(f"{source} holds no tensors: features are a tensor, or a list or dictionary of them.")
    if keys is not None and not isinstance(features, dict):
        raise ExtractionError(f"{source} holds tensors without names: leave --key (keys=) out.")
    arrays = {name: _array(torch, source, name, values[name]) for name in choose(source, list(values), keys)}
    return Found(arrays, None if ids is None else ids_of(source, ids), _results(source, content, reference), axes)


def _by_name(features: Any, above: str = "") -> dict[str, Any]:
    """Values by name, those of dictionaries in dictionaries by their paths."""
    if isinstance(features, dict):
        found: dict[str, Any] = {}
        for name, value in features.items():
            if above or name != IDS:
                found |= _by_name(value, f"{above}{name}/") if isinstance(value, dict) else {f"{above}{name}": value}
        return found
    if isinstance(features, list | tuple):
        return {f"layer_{i}": value for i, value in enumerate(features)}
    return {"": features}


def _array(torch: Any, source: Path, name: str, value: Any) -> np.ndarray:
    if not isinstance(value, torch.Tensor):
        raise ExtractionError(not_numbers(source, name, f"a {type(value).__name__}, no tensor"))
    called = f" in {name!r}" if name else ""
    what = f"{source} holds{called} a tensor of shape {tuple(value.shape)} on {value.device}"
    if value.ndim == 0:
        raise ExtractionError(f"{what}, a single number; features are (n, d) or (n, layers, d).")
    try:
        return np.asarray(real_numbers(value))
    except NotRealError as error:
        raise ExtractionError(
            f"{what}, which is {error}. Features are real numbers of (n, d) or (n, layers, d)."
        ) from error


def _results(source: Path, content: Any, reference: bool) -> dict[str, Any]:
    if not reference:
        return {}
    return {new: _number(source, old, content[old]) for old, new in _REFERENCE.items() if old in content}


def _number(source: Path, name: str, value: Any) -> float | int:
    """One number of a dictionary."""
    import torch

    if isinstance(value, torch.Tensor) and value.numel() == 1 and not value.is_meta:
        value = value.detach().item()
    if isinstance(value, bool) or not isinstance(value, int | float):
        what = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else repr(value)
        raise ExtractionError(f"{source} has {what[:60]} as {name!r}, which is one number. Leave it out, or save one.")
    return value
