"""Why two layers agree, sample by sample: both neighbour lists of every sample, and how many they share."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ..engine.preprocess import Preprocess
from ..engine.programs import sketch_layer
from ..errors import MismatchError
from ..metrics.registry import is_known, make_metric
from ..numerics.whole import check_whole
from ..results.alignment import Alignment
from ..results.gallery import Gallery, Picture
from ..results.provenance import MetricRecord, find_stores
from ..sketches.neighbors import NeighborSketcher
from ..stores.location import place
from ..stores.pairing import pair_samples
from ..stores.reader import open_stores
from ..stores.samples import mask_of_runs
from ..stores.source import ModelSource


def neighbor_gallery(
    result: Alignment,
    model_x: str,
    model_y: str,
    *,
    metric: str | None = None,
    depths: tuple[int, int] | None = None,
    k: int = 10,
    stores_x: Any = None,
    stores_y: Any = None,
    captions: Sequence[str] | None = None,
    pictures: Sequence[Picture] | Callable[[int], Picture] | None = None,
) -> Gallery:
    """Find each sample's neighbours in a layer pair of two models, from the features that were scored.

    Parameters
    ----------
    result
        A result that has both models.
    model_x, model_y
        A model of either side, by label.
    metric
        The metric whose best layer pair is shown; the result's first if None. A metric of neighbour lists gives its own
        lists (its k). For others the lists are the k nearest by cosine. For a model with itself it is the best of two
        different layers.
    depths
        Another layer pair, by position in the models.
    k
        Number of neighbours, if the metric has none.
    stores_x, stores_y
        The feature stores of the result, if they have moved.
    captions, pictures
        Captions and pictures of the samples, in the result's order; pictures also as a function of the row.

    Returns
    -------
    Gallery
        Both neighbour lists of every sample.

    Raises
    ------
    ValueError
        If a model, metric or depth does not exist.
    StoreError
        If features are missing, or are not those that were scored.
    """
    check_whole(1, k=k)
    metric = metric or result.metrics[0]
    shape = result.layers(metric, model_x, model_y).shape
    if depths is None:
        best = result.best(metric, with_self=False).sel(model_x=model_x, model_y=model_y)
        depths = int(best["depth_x"]), int(best["depth_y"])
        if best["self_pair"] and shape == (1, 1):
            raise ValueError(
                f"{model_x!r} has one layer, which shares all neighbours with itself: name two different models."
            )
        if depths[0] < 0:
            raise ValueError(
                f"{model_x!r} and {model_y!r} have no score (NaN) by {metric}; name a layer pair (depths=)."
            )
    if not all(0 <= depth < count for depth, count in zip(depths, shape, strict=True)):
        raise ValueError(f"The models have {shape[0]} and {shape[1]} layers; there is no layer pair {depths}.")
    provenance = result.provenance
    n = provenance.n
    for name, texts in (("captions", captions), ("pictures", pictures)):
        if texts is not None and not callable(texts) and len(texts) != n:
            raise ValueError(f"There are {n} samples, but {len(texts)} {name}.")
    stores = _stores(result, {"x": model_x, "y": model_y}, {"x": stores_x, "y": stores_y})
    preprocess = Preprocess(**provenance.preprocess)
    groups = tuple(provenance.groups or ()) if provenance.exclude_own_group else None
    sketcher = _neighbors_of(provenance.metrics[metric], k)
    sketcher = dataclasses.replace(sketcher, groups=groups)
    lists = {}
    for (side, store), depth in zip(stores.items(), depths, strict=True):
        threshold = preprocess.thresholds(store)[depth]
        sketch = sketch_layer(store.read_layer(depth), threshold, sketcher=sketcher, preprocess=preprocess)
        lists[side] = np.asarray(sketch.neighbors)
        if (lists[side] < 0).any():
            raise ValueError(f"Layer {store.layers[depth].name!r} of {store.path} is degenerate: it has no neighbours.")
    shared = (lists["x"][:, :, None] == lists["y"][:, None, :]).any(axis=2).sum(axis=1)
    variables = {f"neighbors_{side}": (("sample", "rank"), found) for side, found in lists.items()}
    ids = np.array(stores["x"].ids, dtype=object)
    dataset = xr.Dataset(variables | {"shared": ("sample", shared)}, coords={"id": ("sample", ids)})
    names = {side: store.layers[depth].name for (side, store), depth in zip(stores.items(), depths, strict=True)}
    place = {"model_x": model_x, "model_y": model_y, "depths": depths, "layer_x": names["x"], "layer_y": names["y"]}
    if pictures is not None and not callable(pictures):
        pictures = pictures.__getitem__
    return Gallery(dataset, place, captions, pictures)


def _neighbors_of(record: MetricRecord, k: int) -> NeighborSketcher:
    """The neighbour lists that a metric compares; those by cosine where it compares something else, or is not known."""
    if is_known(record.name):
        sketcher = make_metric(record.name, **record.settings).sketcher
        if isinstance(sketcher, NeighborSketcher):
            return sketcher
    return NeighborSketcher(record.settings.get("k", k))


def _stores(result: Alignment, models: dict[str, str], given: dict[str, Any]) -> dict[str, ModelSource]:
    """The store of a model on either side, with the samples that were scored, checked to be the one scored."""
    provenance = result.provenance
    recorded: dict[str, Any] = {side: provenance.stores(side) for side in "xy"}
    if provenance.pair == "exact":  # what other models' stores hold, and whether they are there, is no matter
        for side, model in models.items():
            labels = [entry.label for entry in provenance.models(side)]
            recorded[side] = recorded[side] and [recorded[side][labels.index(model)]]
    if provenance.stores_y is None and not all(path and place(path).exists() for path in recorded["y"] or ()):
        given = given | {"y": given["y"] or given["x"]}  # a study of x with itself: stores that moved, moved once
    xs, ys = (open_stores(given[side] or find_stores("this result", recorded[side], side)) for side in "xy")
    chosen = mask_of_runs(**provenance.samples) if provenance.samples else None
    if provenance.pair == "inner" or provenance.normalize_ids or provenance.partners or chosen is not None:
        pair: Any = provenance.partners or provenance.pair
        paired = pair_samples(xs, ys, pair, normalize_ids=provenance.normalize_ids, samples=chosen)
        xs, ys = paired.xs, paired.ys
    found = {}
    for side, stores in (("x", xs), ("y", ys)):
        contents = next(entry.contents for entry in provenance.models(side) if entry.label == models[side])
        fitting = [s for s in stores if s.ids_sha256 == provenance.ids_sha256 and s.checksum() == contents]
        if not fitting:
            raise MismatchError(
                f"Of the stores of side {side} at hand ({len(stores)}, such as {stores[0].path}), none holds the "
                f"features that were scored for {models[side]!r}. Say where they are (stores_{side}=), or align again."
            )
        found[side] = fitting[0]
    return found
