"""Stores of repeated measurements: the same samples, several times, as rows of one store."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import NotRealError, real_numbers
from ..errors import MismatchError, StoreError
from .reader import FeatureStore, open_store
from .source import ModelSource
from .writer import write_features


def write_repeats(
    path: str | Path,
    features: Mapping[str, Any] | Sequence[Any],
    *,
    spec: Mapping[str, Any],
    ids: Sequence[str],
    dtype: str = "float32",
    overwrite: bool = False,
) -> FeatureStore:
    """Write features of repeated measurements to one store.

    Row `r * n + i` of a layer is repeat r of sample i, and its id is "sample#r".

    Parameters
    ----------
    path
        Path of the store.
    features
        Arrays (repeats, n, d), one for each layer or region, or a mapping of names to them. An array may be a list of
        arrays (n, d), one for each repeat.
    spec
        Origin of the features, as in `write_features`. The number of repeats is added.
    ids
        An id for each of the n samples.
    dtype, overwrite
        As in `write_features`.

    Returns
    -------
    FeatureStore
        The store, opened.

    Raises
    ------
    StoreError
        If a layer is no array (repeats, n, d) of at least 2 repeats, the layers have different numbers of repeats, or
        `write_features` refuses the features.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import prh_jax
    >>> v1 = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)  # 3 repeats of 4 samples
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = prh_jax.write_repeats(f"{folder}/brain.zarr", {"V1": v1}, spec={"model": "brain"}, ids="abcd")
    ...     print(store.ids[:2], prh_jax.read_repeats(store, "V1").shape)
    ['a#0', 'b#0'] (3, 4, 5)
    """
    named = features if isinstance(features, Mapping) else {f"layer_{i}": f for i, f in enumerate(features)}
    layers, samples = {}, [str(sample) for sample in ids]
    for name, given in named.items():
        try:
            parts = [real_numbers(part) for part in given] if isinstance(given, list | tuple) else real_numbers(given)
            layer = np.asarray(parts)
        except NotRealError as error:
            raise TypeError(f"Layer {name!r} must hold real numbers; it holds {error}.") from error
        except ValueError:
            raise StoreError(f"The repeats of layer {name!r} have different shapes.") from None
        if layer.ndim != 3 or layer.shape[0] < 2 or layer.shape[1] != len(samples):
            raise StoreError(
                f"Layer {name!r} must be an array (repeats, n, d) with at least 2 repeats of {len(samples)} samples, "
                f"as there are ids; its shape is {layer.shape}."
            )
        layers[str(name)] = layer
    counts = sorted({len(layer) for layer in layers.values()})
    if len(counts) != 1:
        raise StoreError(f"All layers need the same number of repeats, got {counts or 'no layer'}.")
    flat = {name: layer.reshape(-1, layer.shape[2]) for name, layer in layers.items()}
    rows = [f"{sample}#{repeat}" for repeat in range(counts[0]) for sample in samples]
    return write_features(path, flat, spec={**spec, "repeats": counts[0]}, ids=rows, dtype=dtype, overwrite=overwrite)


def read_repeats(store: str | Path | ModelSource, layer: int | str = -1) -> np.ndarray:
    """Read one layer of a store of repeats, as `noise_ceiling`, `crossnobis` and their like take it.

    Parameters
    ----------
    store
        A store that `write_repeats` made, or its path.
    layer
        Name or number of the layer, by default the last.

    Returns
    -------
    Array
        Features (repeats, n, d) as stored.

    Raises
    ------
    ValueError
        If the rows of the store are not repeats, or it has no such layer.
    """
    found, repeats, samples = _opened(store)
    names = [known.name for known in found.layers]
    place = names.index(layer) if layer in names else layer
    if not isinstance(place, int) or not -len(names) <= place < len(names):
        raise ValueError(f"{found.path} has no layer {layer!r}; its layers are {', '.join(names)}.")
    flat = found.read_layer(place % len(names))
    return flat.reshape(repeats, len(samples), -1)


def mean_repeats(store: str | Path | ModelSource, path: str | Path, *, overwrite: bool = False) -> FeatureStore:
    """Write the mean over repeats of each sample to a store of its own, as `align` takes it.

    Parameters
    ----------
    store
        A store that `write_repeats` made, or its path.
    path
        Path of the store of means.
    overwrite
        Replace a store of other features.

    Returns
    -------
    FeatureStore
        The store, opened: an id for each sample, and the number of repeats in its spec as "mean_of_repeats".

    Raises
    ------
    ValueError
        If the rows of the store are not repeats.
    StoreError
        If the path holds other features.
    """
    found, repeats, samples = _opened(store)
    means = {
        layer.name: read_repeats(found, layer.name).astype(np.float64).mean(axis=0).astype(np.float32)
        for layer in found.layers
    }
    spec = {key: value for key, value in found.spec.items() if key != "repeats"}
    return write_features(path, means, spec={**spec, "mean_of_repeats": repeats}, ids=samples, overwrite=overwrite)


def _opened(store: str | Path | ModelSource) -> tuple[ModelSource, int, list[str]]:
    """The store, its number of repeats, and the ids of its samples; ValueError unless its rows are repeats."""
    found = store if isinstance(store, ModelSource) else open_store(store)
    repeats = found.spec.get("repeats")
    if isinstance(repeats, int) and repeats > 1 and len(found.ids) % repeats == 0:
        samples = [row.rpartition("#")[0] for row in found.ids[: len(found.ids) // repeats]]
        if list(found.ids) == [f"{sample}#{r}" for r in range(repeats) for sample in samples]:
            return found, repeats, samples
    raise ValueError(
        f"The rows of {found.path} are not repeats: its spec has no key 'repeats', or its ids are not as "
        "`write_repeats` makes them."
    )


def check_repeats(stores: Sequence[ModelSource]) -> None:
    """MismatchError where some stores hold repeats of samples, and others the samples once."""
    told = [store for store in stores if "repeats" in store.spec]
    if told and len(told) < len(stores):
        other = next(store for store in stores if "repeats" not in store.spec)
        raise MismatchError(
            f"{told[0].path} holds {told[0].spec['repeats']} repeats of each sample, and {other.path} has each sample "
            "once. Score the means over repeats (`mean_repeats`), or say by pair= which sample each repeat is of."
        )
