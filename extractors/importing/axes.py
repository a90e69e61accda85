"""Which axis of an array of all layers is which: said, known from the kind of file, or found from the number of ids."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import ExtractionError
from .found import Found, as_array

SAMPLES_FIRST, LAYERS_FIRST = "samples,layers,features", "layers,samples,features"
AXES = (SAMPLES_FIRST, LAYERS_FIRST)
"""The orders of the axes of an array that holds all layers."""


def layers_of(
    source: Path, found: Found, ids: Sequence[str] | None, axes: str | None
) -> tuple[dict[str, np.ndarray], str | None]:
    """Layers (n, d) by name, and the order of axes that an array of all layers was read in."""
    if axes is not None and axes not in AXES:
        raise ExtractionError(
            f"The axes of an array of all layers (--layout, axes=) are {' or '.join(AXES)}, got {axes!r}."
        )
    arrays = {name: as_array(source, name, value) for name, value in found.arrays.items()}
    if not arrays:
        raise ExtractionError(f"{source} holds no arrays of features.")
    whole = next(iter(arrays.values()))
    if len(arrays) > 1 or whole.ndim != 3:
        _check_layers(source, arrays)
        if axes is not None:
            raise ExtractionError(
                f"{source} holds an array (n, d) for each layer: leave --layout or --axes (axes=) out."
            )
        return {name or "layer_0": layer for name, layer in arrays.items()}, None
    if 0 in whole.shape:
        raise ExtractionError(f"{source} holds an array of shape {whole.shape}, which has no features.")
    axes = axes or found.axes or _axes_by_count(source, whole.shape, ids)
    layers = whole if axes == LAYERS_FIRST else whole.swapaxes(0, 1)
    return {f"layer_{i}": layer for i, layer in enumerate(layers)}, axes


def _check_layers(source: Path, arrays: dict[str, np.ndarray]) -> None:
    """ExtractionError unless all arrays are (n, d), of as many samples each."""
    odd = next((name for name, array in arrays.items() if array.ndim != 2), None)
    if odd is not None and len(arrays) > 1:
        raise ExtractionError(
            f"{source} holds {odd!r} of shape {arrays[odd].shape} and {len(arrays) - 1} other arrays; each array is "
            "a layer (n, d), or the one array has all layers. Choose the arrays of features with --key (keys=)."
        )
    if odd is not None:
        raise ExtractionError(
            f"{source} holds an array of shape {arrays[odd].shape}; features are (n, d) a layer, or (n, layers, d) or "
            "(layers, n, d) for all layers."
        )
    first, *_ = arrays
    other = next((name for name, array in arrays.items() if len(array) != len(arrays[first])), None)
    if other is not None:
        raise ExtractionError(
            f"{source} holds {first!r} of {len(arrays[first])} rows and {other!r} of {len(arrays[other])}; all layers "
            "have a row for each sample. Choose the arrays of features with --key (keys=)."
        )


def _axes_by_count(source: Path, shape: tuple[int, ...], ids: Sequence[str] | None) -> str:
    """The order of axes that follows from the number of ids; ExtractionError if none does."""
    fits = [] if ids is None else [order for order, n in zip(AXES, shape, strict=False) if n == len(ids)]
    if len(fits) == 1:
        return fits[0]
    count = "without ids" if ids is None else f"with {len(ids)} ids"
    raise ExtractionError(
        f"{source} holds an array of shape {shape}, {count}, which does not tell whether it is {shape[0]} samples of "
        f"{shape[1]} layers or {shape[0]} layers of {shape[1]} samples. Say --layout {SAMPLES_FIRST} or --layout "
        f"{LAYERS_FIRST} (--axes, axes=), or give an id for each sample (--ids FILE)."
        if ids is None or fits
        else f"{source} holds an array of shape {shape}, but {len(ids)} ids were given. Give one for each sample."
    )
