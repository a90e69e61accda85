"""The whole flow in one function: feature stores in, labelled scores of all layer pairs out."""

import dataclasses
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from ._version import __version__
from .calibration import Null
from .checks import StoreError, check_same_samples
from .engine import (
    default_memory,
    fit_tile,
    make_sketches,
    name_layers,
    parse_bytes,
    say,
    score_study,
    shape_of,
)
from .feature_store import FeatureStore, open_store
from .metric import Metric
from .metrics import METRICS, SUPPORTED_METRICS, parse_metric
from .null_study import calibrate_study
from .orders import group_codes
from .pairing import pair_inner
from .pairwise import layer_mesh, sketch_bytes, study_sketcher
from .preprocess import Preprocess
from .result_store import Alignment, is_running, load_alignment, same_study
from .score_grid import ScoreGrid
from .sketch_bank import SketchBank

Precision = Literal["float32", "bfloat16"]
PRECISIONS: dict[Precision, str] = {
    "float32": "float32, products at HIGHEST",
    "bfloat16": "Gram matrices of features rounded to bfloat16, summed in float32",
}

Stores = Sequence[str | Path | FeatureStore] | str | Path | FeatureStore


def align(
    stores_x: Stores,
    stores_y: Stores | None = None,
    metrics: Sequence[str | Metric] | str | Metric | None = None,
    *,
    preprocess: Preprocess | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
    pair: Literal["exact", "inner"] = "exact",
    null: int | Null | None = None,
    overwrite_null: bool = False,
    groups: Sequence[Any] | None = None,
    exclude_own_group: bool = False,
    memory: int | str | None = None,
    sketch_cache: str | Path | None = None,
    devices: Sequence[Any] | None = None,
    precision: Precision = "float32",
    progress: bool | None = None,
) -> Alignment:
    """Score every layer of every model of x with every layer of every model of y (or of x itself).

    stores_x, stores_y  feature stores or their paths, one or a list; all complete and of the same samples in order
    metrics             names ("cka", "cka:kernel=rbf,sigma=2") or Metric objects; the eight of the reference if None
    preprocess          what is done to features first; the reference's clipping and unit rows if None
    output              where the result is written, tile by tile; an interrupted run goes on there, and a finished
                        one is read, when asked for the same again. In memory alone if None
    overwrite           replace a result of other features or settings at `output`
    pair                "exact": all stores hold the same samples in the same order, or StoreError; "inner": they are
                        cut down to the samples that all of them hold
    overwrite_null      replace a calibration of other settings that the result at `output` has
    null                also what chance gives: a number of orders, or a `Null` with its settings
    groups              a label for each sample (its slide, image, language ...): the orders of the null stay within
    exclude_own_group   no sample is a neighbour of one of its own group (metrics of nearest neighbours; needs groups)
    memory              bytes for features, sketches and temporaries ("8GiB"), beyond what the process held before;
                        half of the machine's memory, or three quarters of the accelerator's, if None
    sketch_cache        folder that keeps sketches, for further studies of the same features
    devices             local devices to use; all if None. The scores do not depend on their number
    precision           "float32", or "bfloat16": features are rounded to 8 bits for Gram matrices, whose sums stay
                        float32; meant for accelerators
    progress            progress bars on standard error; None shows them on a terminal

    The result keeps the whole layer-by-layer matrix of each metric. StoreError where stores are unfinished, damaged,
    or of other samples; ValueError for an unknown metric or setting, or one that does not fit n.
    """
    chosen = make_metrics(metrics)
    preprocess = preprocess or Preprocess()
    if precision not in PRECISIONS:
        raise ValueError(f"precision is one of {', '.join(PRECISIONS)}, got {precision!r}.")
    budget = parse_bytes(memory) if memory is not None else default_memory()
    xs = open_stores(stores_x)
    ys = xs if stores_y is None else open_stores(stores_y)
    if pair not in ("exact", "inner"):
        raise ValueError(f"pair is 'exact' or 'inner', got {pair!r}.")
    if pair == "inner":
        xs, ys = pair_inner(xs, ys)
    for store in (*xs, *ys):
        check_same_samples(str(xs[0].path), xs[0].ids, str(store.path), store.ids)
    quiet = None if progress is None else not progress
    n, width = xs[0].n, max(layer.dim for store in (*xs, *ys) for layer in store.layers)
    codes = check_groups(groups, n, exclude_own_group)
    _check_settings(chosen, xs, ys, codes if exclude_own_group else None)
    origin = protocol(chosen, xs, ys, preprocess, precision, codes, exclude_own_group, same=stores_y is None) | {
        "pair": pair
    }
    path = Path(output) if output is not None else None
    null = Null(int(null)) if isinstance(null, int | np.integer) else null

    sketcher_of = {
        key: study_sketcher(metric, preprocess, n, codes if exclude_own_group else None, width=width)
        for key, metric in chosen.items()
    }
    shapes = {sketcher: shape_of(sketcher, n, width) for sketcher in dict.fromkeys(sketcher_of.values())}
    refs = name_layers(_unique(xs, ys), preprocess, precision)
    held = sum(map(sketch_bytes, shapes.values())) * sum(map(len, refs.values()))
    in_memory = held <= budget // 3  # the rest is for features, tiles and temporaries
    free = budget - (held if in_memory else 0)
    mesh = layer_mesh(devices)
    kept = sketch_cache or (path and path.with_name(f".{path.name}.sketches"))
    bank = SketchBank(kept, in_memory=in_memory)
    if path is not None and path.exists() and not overwrite and not is_running(path):
        alignment = _finished(path, origin, quiet, calibration=not overwrite_null)
    else:
        tile = {}
        for sketcher, shape in shapes.items():
            group = {key: metric for key, metric in chosen.items() if sketcher_of[key] == sketcher}
            size = fit_tile(group, shape, mesh, free)
            tile |= dict.fromkeys(group, size)
        grid = ScoreGrid(_labelled(chosen, xs, ys), origin, tile, path, overwrite=overwrite)
        if grid.finished:
            say(f"{path}: going on, {grid.total - grid.finished} of {grid.total} tiles are left.", quiet)
        lacking = [s for s in shapes if any(not grid.complete(key) for key in chosen if sketcher_of[key] == s)]
        make_sketches(refs, lacking, preprocess, bank, precision=precision, mesh=mesh, memory=free, quiet=quiet)
        refs_x, refs_y = ([ref for store in side for ref in refs[str(store.path)]] for side in (xs, ys))
        with tqdm(total=grid.total, initial=grid.finished, desc="scoring", unit=" tiles", disable=quiet) as bar:
            for sketcher in lacking:
                score_study(
                    {key: metric for key, metric in chosen.items() if sketcher_of[key] == sketcher},
                    sketcher,
                    refs_x,
                    None if stores_y is None else refs_y,
                    bank,
                    grid,
                    shape=shapes[sketcher],
                    mesh=mesh,
                    memory=free,
                    progress=bar.update,
                )
        alignment = grid.finish()
    if null is not None and not is_calibrated(alignment, null):
        alignment.calibration = calibrate_study(
            alignment,
            chosen,
            xs,
            None if stores_y is None else ys,
            preprocess,
            null,
            precision=precision,
            groups=codes,
            exclude_own_group=exclude_own_group,
            bank=bank,
            path=path,
            mesh=mesh,
            memory=free,
            quiet=quiet,
        )
    if sketch_cache is None and kept:
        shutil.rmtree(kept, ignore_errors=True)
    return alignment


def _finished(path: Path, origin: dict[str, Any], quiet: bool | None, *, calibration: bool) -> Alignment:
    """The result at `path`, if it is the one asked for."""
    alignment = load_alignment(path, calibration=calibration)
    if not same_study(alignment.protocol, origin):
        raise StoreError(
            f"{path} holds a result made from other features or settings. Name another output, or overwrite it with "
            "--force-remake (overwrite=True)."
        )
    say(f"{path} already holds this result.", quiet)
    return alignment


def make_metrics(metrics: Any = None) -> dict[str, Metric]:
    """Metrics by the key of their scores: the name, with settings where a name occurs twice; the eight if None."""
    if metrics is None:
        metrics = SUPPORTED_METRICS
    elif isinstance(metrics, str | Metric):
        metrics = [metrics]
    made = [parse_metric(m) if isinstance(m, str) else m for m in metrics]
    for metric in made:
        if not isinstance(metric, Metric):
            raise ValueError(f"A metric is a name or a Metric object such as MutualKnn(), got {metric!r}.")
    if not made:
        raise ValueError(f"No metric was asked for; the metrics are {', '.join(METRICS)}.")
    names = [metric.name for metric in made]
    keys = [
        metric.name if names.count(metric.name) == 1 else asked if isinstance(asked, str) else str(metric)
        for asked, metric in zip(metrics, made, strict=True)
    ]
    return dict(zip(keys, made, strict=True))


def open_stores(stores: Stores) -> list[FeatureStore]:
    """Feature stores opened and checked to be complete; StoreError names the first that is not."""
    if isinstance(stores, str | Path | FeatureStore):
        stores = [stores]
    opened = [s if isinstance(s, FeatureStore) else open_store(s) for s in stores]
    if not opened:
        raise StoreError("No feature stores were given on one side.")
    places = [store.path.resolve() for store in opened]
    for store, place in zip(opened, places, strict=True):
        if places.count(place) > 1:
            raise StoreError(f"{store.path} was given more than once on one side; give each store once.")
    return [store.require_complete() for store in opened]


def _unique(xs: list[FeatureStore], ys: list[FeatureStore]) -> list[FeatureStore]:
    return list({str(store.path): store for store in (*xs, *ys)}.values())


def check_groups(groups: Sequence[Any] | None, n: int, exclude_own_group: bool) -> tuple[int, ...] | None:
    """Groups as numbers, one for each sample; ValueError where they do not fit or are lacking."""
    if groups is None:
        if exclude_own_group:
            raise ValueError("To leave out a sample's own group, give the groups: one label per sample (groups=).")
        return None
    return group_codes(groups, n)


def is_calibrated(alignment: Alignment, null: Null) -> bool:
    """Whether a result has this calibration; StoreError where it has another one."""
    if alignment.calibration is None:
        return False
    there, wanted = (settings | {"orders": 0} for settings in (alignment.calibration.settings["null"], null.settings))
    exact = alignment.calibration.settings["exact"]
    if there == wanted and (exact or alignment.calibration.settings["null"]["orders"] == null.orders):
        return True
    raise StoreError(
        f"This result has a calibration with other settings ({alignment.calibration.settings['null']}). Ask for the "
        "same, or replace it with --force-null (overwrite_null=True)."
    )


def _check_settings(
    metrics: dict[str, Metric],
    xs: list[FeatureStore],
    ys: list[FeatureStore],
    excluded: tuple[int, ...] | None,
) -> None:
    """Let each metric judge n, its settings and every width by its shapes alone, before any work is done."""
    n = xs[0].n
    if n < 4:
        raise StoreError(f"{xs[0].path} has {n} samples; at least 4 are needed to score an alignment.")
    owners = {layer.dim: f"{s.path}, layer {layer.name!r}" for s in _unique(xs, ys) for layer in s.layers}
    for key, metric in metrics.items():
        for width, owner in owners.items():
            try:
                sketcher = metric.sketch if excluded is None else metric.sketch.excluding(excluded)
                jax.eval_shape(sketcher, jax.ShapeDtypeStruct((n, width), np.float32))
            except ValueError as error:
                raise ValueError(f"{key} cannot score {owner}: {error}") from None


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


def _labelled(metrics: dict[str, Metric], xs: list[FeatureStore], ys: list[FeatureStore]) -> xr.Dataset:
    """The labels of a result, with matrices of NaN."""
    coords = {}
    for side, stores in (("x", xs), ("y", ys)):
        dim, labels = f"layer_{side}", _labels(stores)
        table = [
            (label, layer.name, i) for s, label in zip(stores, labels, strict=True) for i, layer in enumerate(s.layers)
        ]
        for name, values in zip(("model", "layer_name", "depth"), zip(*table, strict=True), strict=True):
            coords[f"{name}_{side}"] = (dim, np.array(values, dtype=object if name != "depth" else np.int64))
    empty = np.full([sum(len(store.layers) for store in side) for side in (xs, ys)], np.nan, np.float32)
    return xr.Dataset(dict.fromkeys(metrics, (("layer_x", "layer_y"), empty)), coords=coords)


def protocol(
    metrics: dict[str, Metric],
    xs: list[FeatureStore],
    ys: list[FeatureStore],
    preprocess: Preprocess,
    precision: Precision,
    groups: tuple[int, ...] | None = None,
    exclude_own_group: bool = False,
    *,
    same: bool = False,
) -> dict[str, Any]:
    """What a result records of its origin: two results with equal protocols hold equal scores."""
    grouped = {} if groups is None else {"groups": list(groups), "exclude_own_group": exclude_own_group}
    return grouped | {
        "n": xs[0].n,
        "ids_sha256": xs[0].ids_sha256,
        "preprocess": dataclasses.asdict(preprocess),
        "metrics": {
            key: {"name": m.name, "settings": m.settings, "larger_is_closer": m.larger_is_closer, "source": m.source}
            for key, m in metrics.items()
        },
        "models_x": _models(xs),
        "models_y": _models(ys),
        "stores_x": [str(store.path) for store in xs],
        "stores_y": None if same else [str(store.path) for store in ys],
        "precision": PRECISIONS[precision],
        "device": jax.devices()[0].device_kind,
        "versions": {name: version(name) for name in ("jax", "jaxlib", "numpy", "zarr")} | {"prh-jax": __version__},
    }


def _models(stores: list[FeatureStore]) -> list[dict[str, Any]]:
    return [
        {
            "label": label,
            "spec": store.spec,
            "spec_sha256": store.spec_sha256,
            "contents": store.checksum(),
            "result": store.result,
            "dtype": str(store.dtype),
            "layers": [[layer.name, layer.dim] for layer in store.layers],
        }
        for store, label in zip(stores, _labels(stores), strict=True)
    ]
