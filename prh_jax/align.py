"""The whole flow in one function: feature stores in, labelled scores of all layer pairs out."""

import dataclasses
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from ._version import __version__
from .feature_store import FeatureStore, StoreError, check_same_samples, open_store
from .metric import Metric
from .metrics import METRICS, parse_metric
from .pairwise import TILE, score_matrix, sketch_layer, stack
from .preprocess import Preprocess
from .result_store import Alignment

Stores = Sequence[str | Path | FeatureStore] | str | Path | FeatureStore


def align(
    stores_x: Stores,
    stores_y: Stores | None = None,
    metrics: Sequence[str | Metric] | str | Metric | None = None,
    *,
    preprocess: Preprocess | None = None,
    tile: int = TILE,
    progress: bool | None = None,
) -> Alignment:
    """Score every layer of every model of x with every layer of every model of y (or of x itself).

    stores_x, stores_y  feature stores or their paths, one or a list; all complete and of the same samples in order
    metrics             names ("cka", "cka:kernel=rbf,sigma=2") or Metric objects; all of METRICS if None
    preprocess          what is done to features first; the reference's clipping and unit rows if None
    tile                layers on each side that are scored in one call; no effect on the scores
    progress            progress bars on standard error; None shows them on a terminal

    The result keeps the whole layer-by-layer matrix of each metric. StoreError where stores are unfinished, damaged,
    or of other samples; ValueError for an unknown metric or setting, or one that does not fit n.
    """
    chosen = make_metrics(metrics)
    preprocess = preprocess or Preprocess()
    xs = open_stores(stores_x)
    ys = xs if stores_y is None else open_stores(stores_y)
    for store in (*xs, *ys):
        check_same_samples(str(xs[0].path), xs[0].ids, str(store.path), store.ids)
    _check_settings(chosen, xs, ys)
    quiet = None if progress is None else not progress
    thresholds = {str(s.path): preprocess.thresholds(s) for s in _bar(_unique(xs, ys), "clipping", quiet)}
    scores: dict[str, np.ndarray] = {}
    for sketcher in dict.fromkeys(metric.sketch for metric in chosen.values()):
        sketches = {}
        for side, stores in (("x", xs), ("y", ys)):
            if side == "y" and stores_y is None:
                continue
            made = (
                sketch_layer(x, threshold, sketcher=sketcher, preprocess=preprocess)
                for x, threshold in _bar(list(_jobs(stores, thresholds)), f"{type(sketcher).__name__} of {side}", quiet)
            )
            sketches[side] = stack(made)
        for key, metric in chosen.items():
            if metric.sketch != sketcher:
                continue
            a, b = sketches["x"], sketches.get("y")
            total = sum(len(s.layers) for s in xs) * sum(len(s.layers) for s in ys)
            with tqdm(total=total, desc=key, unit=" pairs", disable=quiet) as bar:
                scores[key] = score_matrix(metric, a, b, tile=tile, progress=bar.update)
    return _labelled(scores, chosen, xs, ys, preprocess)


def make_metrics(metrics: Any = None) -> dict[str, Metric]:
    """Metrics by the key of their scores: the name, with the settings where a name occurs twice; all if None."""
    if metrics is None:
        metrics = list(METRICS)
    elif isinstance(metrics, str | Metric):
        metrics = [metrics]
    made = [parse_metric(m) if isinstance(m, str) else m for m in metrics]
    if not made:
        raise ValueError(f"No metric was asked for; the metrics are {', '.join(METRICS)}.")
    names = [metric.name for metric in made]
    return {metric.name if names.count(metric.name) == 1 else str(metric): metric for metric in made}


def open_stores(stores: Stores) -> list[FeatureStore]:
    """Feature stores opened and checked to be complete; StoreError names the first that is not."""
    if isinstance(stores, str | Path | FeatureStore):
        stores = [stores]
    opened = [s if isinstance(s, FeatureStore) else open_store(s) for s in stores]
    if not opened:
        raise StoreError("No feature stores were given on one side.")
    return [store.require_complete() for store in opened]


def _unique(xs: list[FeatureStore], ys: list[FeatureStore]) -> list[FeatureStore]:
    return list({str(store.path): store for store in (*xs, *ys)}.values())


def _check_settings(metrics: dict[str, Metric], xs: list[FeatureStore], ys: list[FeatureStore]) -> None:
    """Let each metric judge n, its settings and every width by its shapes alone, before any work is done."""
    n = xs[0].n
    if n < 4:
        raise StoreError(f"{xs[0].path} has {n} samples; at least 4 are needed to score an alignment.")
    owners = {layer.dim: f"{s.path}, layer {layer.name!r}" for s in _unique(xs, ys) for layer in s.layers}
    for key, metric in metrics.items():
        for width, owner in owners.items():
            try:
                jax.eval_shape(metric.sketch, jax.ShapeDtypeStruct((n, width), np.float32))
            except ValueError as error:
                raise ValueError(f"{key} cannot score {owner}: {error}") from None


def _jobs(stores: list[FeatureStore], thresholds: dict[str, np.ndarray]) -> Iterator["_Job"]:
    for store in stores:
        for layer in range(len(store.layers)):
            yield _Job(store, layer, thresholds[str(store.path)][layer])


@dataclasses.dataclass(frozen=True)
class _Job:
    """A layer to be read; iterating gives its features and its clipping threshold."""

    store: FeatureStore
    layer: int
    threshold: np.float32

    def __iter__(self):
        x = self.store.read_layer(self.layer)
        if (x == x[:1]).all():
            raise StoreError(
                f"{self.store.path}, layer {self.store.layers[self.layer].name!r} is constant: all {len(x)} samples "
                "have the same features, so it cannot be aligned with anything. Extract the model again, or "
                "leave it out."
            )
        yield x
        yield self.threshold


def _bar(items: list, label: str, quiet: bool | None):
    return tqdm(items, desc=label, disable=quiet, leave=False)


def _labels(stores: list[FeatureStore]) -> list[str]:
    """The models' names, random weights marked, with pooling or path where one occurs twice."""
    seeds = [store.spec.get("random_init") for store in stores]
    marks = ["" if seed is None else f" [random init {seed}]" for seed in seeds]
    names = [store.model + mark for store, mark in zip(stores, marks, strict=True)]
    pooled = [f"{name} ({store.spec.get('pool')})" for name, store in zip(names, stores, strict=True)]
    for labels in (names, pooled):
        if len(set(labels)) == len(labels):
            return labels
    return [str(store.path) for store in stores]


def _labelled(scores, metrics: dict[str, Metric], xs, ys, preprocess: Preprocess) -> Alignment:
    coords = {}
    for side, stores in (("x", xs), ("y", ys)):
        dim, labels = f"layer_{side}", _labels(stores)
        table = [
            (label, layer.name, i) for s, label in zip(stores, labels, strict=True) for i, layer in enumerate(s.layers)
        ]
        for name, values in zip(("model", "layer_name", "depth"), zip(*table, strict=True), strict=True):
            coords[f"{name}_{side}"] = (dim, np.array(values, dtype=object if name != "depth" else np.int64))
    dataset = xr.Dataset({key: (("layer_x", "layer_y"), scores[key]) for key in metrics}, coords=coords)
    return Alignment(dataset, protocol(metrics, xs, ys, preprocess))


def protocol(
    metrics: dict[str, Metric], xs: list[FeatureStore], ys: list[FeatureStore], preprocess: Preprocess
) -> dict[str, Any]:
    """What a result records of its origin: two results with equal protocols hold equal scores."""
    return {
        "n": xs[0].n,
        "ids_sha256": xs[0].ids_sha256,
        "preprocess": dataclasses.asdict(preprocess),
        "metrics": {
            key: {"name": m.name, "settings": m.settings, "larger_is_closer": m.larger_is_closer, "source": m.source}
            for key, m in metrics.items()
        },
        "models_x": _models(xs),
        "models_y": _models(ys),
        "precision": "float32, products at HIGHEST",
        "device": jax.devices()[0].device_kind,
        "versions": {name: version(name) for name in ("jax", "jaxlib", "numpy", "zarr")} | {"prh-jax": __version__},
    }


def _models(stores: list[FeatureStore]) -> list[dict[str, Any]]:
    return [
        {
            "label": label,
            "spec": store.spec,
            "spec_sha256": store.spec_sha256,
            "result": store.result,
            "dtype": str(store.dtype),
            "layers": [[layer.name, layer.dim] for layer in store.layers],
        }
        for store, label in zip(stores, _labels(stores), strict=True)
    ]
