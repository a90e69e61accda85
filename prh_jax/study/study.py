"""A study before and while it runs: what it is made of, checked before any work; its tiles, all or a share."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import xarray as xr
from jax.sharding import Mesh
from tqdm.auto import tqdm

from .._version import __version__
from ..engine.preprocess import Preprocess
from ..engine.programs import study_sketcher
from ..engine.scoring import score_study
from ..engine.sketch_bank import SketchBank
from ..engine.sketching import LayerRef, make_sketches, name_layers, shape_of
from ..engine.stacks import layer_mesh, sketch_bytes
from ..engine.tiling import fit_tile, layers_of
from ..errors import StoreError
from ..metrics.base import Metric
from ..metrics.registry import make_metrics
from ..null.orders import check_groups
from ..results.alignment import Alignment, load_alignment
from ..results.provenance import same_study
from ..results.score_grid import ScoreGrid
from ..runtime.host import kept_memory
from ..runtime.memory import default_memory, parse_bytes, size_text
from ..runtime.progress import say
from ..runtime.workers import ALONE, Worker
from ..sketches.base import Sketcher
from ..stores.checks import check_same_samples
from ..stores.location import Place, place
from ..stores.paired import pair_inner
from ..stores.reader import FeatureStore, Stores, label_stores, open_stores
from ..stores.url import Url

Precision = Literal["float32", "bfloat16"]
PRECISIONS: dict[Precision, str] = {
    "float32": "float32, products at HIGHEST",
    "bfloat16": "Gram matrices of features rounded to bfloat16, summed in float32",
}

MODEST = 2**30
"""Bytes of a layer's products that any study may take: smaller budgets are kept to as well as they can be."""


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """Metrics, checked stores and settings: all that scores depend on, and where sketches go.

    same    x is scored with itself
    codes   the group of each sample, where there are groups
    budget  bytes for features, sketches and temporaries
    cache   folder of sketches, or a URL, or None
    """

    metrics: dict[str, Metric]
    xs: list[FeatureStore]
    ys: list[FeatureStore]
    same: bool
    preprocess: Preprocess
    precision: Precision
    pair: str
    codes: tuple[int, ...] | None
    exclude_own_group: bool
    budget: int
    mesh: Mesh
    cache: Place | None

    def check(self) -> None:
        """Let each metric judge n, its settings and every width by its shapes alone, before any work is done."""
        n = self.xs[0].n
        if n < 4:
            raise StoreError(f"{self.xs[0].path} has {n} samples; at least 4 are needed to score an alignment.")
        owners = {layer.dim: f"{s.path}, layer {layer.name!r}" for s in self._stores for layer in s.layers}
        for key, metric in self.metrics.items():
            for width, owner in owners.items():
                try:
                    sketcher = metric.sketch if self._excluded is None else metric.sketch.excluding(self._excluded)
                    jax.eval_shape(sketcher, jax.ShapeDtypeStruct((n, width), np.float32))
                except ValueError as error:
                    raise ValueError(f"{key} cannot score {owner}: {error}") from None
            made = self._made(self.sketchers[key])
            if made > max(self.budget, MODEST):
                raise ValueError(
                    f"{key} makes {size_text(made)} of a layer of {n} samples, and the budget is "
                    f"{size_text(self.budget)}: give more memory, take fewer samples, or leave it out."
                )

    def _made(self, sketcher: Sketcher) -> int:
        """Bytes that a sketcher makes of the widest layer."""
        return sketch_bytes(shape_of(sketcher.products, self.xs[0].n, self._width))

    @property
    def _stores(self) -> list[FeatureStore]:
        return list({str(store.path): store for store in (*self.xs, *self.ys)}.values())

    @property
    def _width(self) -> int:
        return max(layer.dim for store in self._stores for layer in store.layers)

    @property
    def _excluded(self) -> tuple[int, ...] | None:
        return self.codes if self.exclude_own_group else None

    @cached_property
    def protocol(self) -> dict[str, Any]:
        """What a result records of its origin: two results with equal protocols hold equal scores."""
        grouped: dict[str, Any] = {}
        if self.codes is not None:
            grouped = {"groups": list(self.codes), "exclude_own_group": self.exclude_own_group}
        return grouped | {
            "n": self.xs[0].n,
            "ids_sha256": self.xs[0].ids_sha256,
            "preprocess": dataclasses.asdict(self.preprocess),
            "metrics": {
                key: {
                    "name": m.name,
                    "settings": m.settings,
                    "larger_is_closer": m.larger_is_closer,
                    "source": m.source,
                }
                for key, m in self.metrics.items()
            },
            "models_x": _models(self.xs),
            "models_y": _models(self.ys),
            "stores_x": [str(store.path) for store in self.xs],
            "stores_y": None if self.same else [str(store.path) for store in self.ys],
            "precision": PRECISIONS[self.precision],
            "device": jax.devices()[0].device_kind,
            "versions": {name: version(name) for name in ("jax", "jaxlib", "numpy", "zarr")} | {"prh-jax": __version__},
            "pair": self.pair,
        }

    @cached_property
    def sketchers(self) -> dict[str, Sketcher]:
        """The sketcher of each metric."""
        n, width = self.xs[0].n, self._width
        return {
            key: study_sketcher(metric, self.preprocess, n, self._excluded, width=width)
            for key, metric in self.metrics.items()
        }

    @cached_property
    def shapes(self) -> dict[Sketcher, Any]:
        """The shapes of each sketcher's sketches."""
        n = self.xs[0].n
        return {sketcher: shape_of(sketcher, n, self._width) for sketcher in dict.fromkeys(self.sketchers.values())}

    @cached_property
    def refs(self) -> dict[str, list[LayerRef]]:
        """All layers of each store, by its path."""
        return name_layers(self._stores, self.preprocess, self.precision)

    @property
    def _held(self) -> int:
        return sum(map(sketch_bytes, self.shapes.values())) * sum(map(len, self.refs.values()))

    @property
    def in_memory(self) -> bool:
        """Whether sketches stay in memory: the rest is for features, tiles and temporaries."""
        return self._held <= self.budget // 3

    @property
    def free(self) -> int:
        """Bytes left beside the sketches held."""
        return self.budget - (self._held if self.in_memory else 0)

    @cached_property
    def bank(self) -> SketchBank:
        """Where the sketches are kept."""
        return SketchBank(self.cache, in_memory=self.in_memory)

    def grid(self, path: Place | None, *, overwrite: bool = False) -> ScoreGrid:
        """The matrices to fill, in tiles of sizes that fit; those at `path`, where this study is running there."""
        tile: dict[str, int] = {}
        for sketcher, shape in self.shapes.items():
            group = self._group(sketcher)
            layers = max(sum(len(store.layers) for store in side) for side in (self.xs, self.ys))
            size = fit_tile(group, shape, self.mesh, self.free, n=self.xs[0].n, layers=layers)
            tile |= dict.fromkeys(group, size)
        return ScoreGrid(self._labelled(), self.protocol, tile, path, overwrite=overwrite)

    def score(self, grid: ScoreGrid, *, worker: Worker = ALONE, quiet: bool | None) -> None:
        """Fill the tiles that the grid lacks: all of them, or those of a worker's share.

        A worker first sketches its share of the models, then what its tiles need and no other worker has sketched yet.
        """
        lacking = [s for s in self.shapes if any(not grid.complete(key) for key in self._group(s))]
        if not lacking:
            return
        with kept_memory(self.free):
            self._sketch(lacking, grid, worker, quiet)
            with tqdm(total=grid.total, initial=grid.finished, desc="scoring", unit=" tiles", disable=quiet) as bar:
                for sketcher in lacking:
                    self._score(sketcher, grid, worker, bar.update)

    def _sketch(self, sketchers: Sequence[Sketcher], grid: ScoreGrid, worker: Worker, quiet: bool | None) -> None:
        def sketch(refs: dict[str, list[LayerRef]], sketchers: Sequence[Sketcher]) -> None:
            options: dict[str, Any] = {"precision": self.precision, "mesh": self.mesh, "memory": self.free}
            make_sketches(refs, sketchers, self.preprocess, self.bank, quiet=quiet, **options)

        if worker.alone:
            sketch(self.refs, sketchers)
            return
        sketch(dict(worker.share(list(self.refs.items()))), sketchers)
        for sketcher in sketchers:
            needed = layers_of(self._group(sketcher), *self._sides, grid, self.mesh, worker)
            sketch({path: [ref for ref in refs if ref in needed] for path, refs in self.refs.items()}, [sketcher])

    def _score(self, sketcher: Sketcher, grid: ScoreGrid, worker: Worker, progress: Callable[[int], Any]) -> None:
        score_study(
            self._group(sketcher),
            sketcher,
            *self._sides,
            self.bank,
            grid,
            shape=self.shapes[sketcher],
            mesh=self.mesh,
            memory=self.free,
            worker=worker,
            progress=progress,
        )

    @property
    def _sides(self) -> tuple[list[LayerRef], list[LayerRef] | None]:
        """All layers of x, and of y; None in place of y where x is scored with itself."""
        x, y = ([ref for store in side for ref in self.refs[str(store.path)]] for side in (self.xs, self.ys))
        return x, None if self.same else y

    def _group(self, sketcher: Sketcher) -> dict[str, Metric]:
        return {key: metric for key, metric in self.metrics.items() if self.sketchers[key] == sketcher}

    def _labelled(self) -> xr.Dataset:
        """The labels of a result, with matrices of NaN."""
        coords = {}
        for side, stores in (("x", self.xs), ("y", self.ys)):
            dim, labels = f"layer_{side}", label_stores(stores)
            table = [
                (label, layer.name, i)
                for s, label in zip(stores, labels, strict=True)
                for i, layer in enumerate(s.layers)
            ]
            for name, values in zip(("model", "layer_name", "depth"), zip(*table, strict=True), strict=True):
                coords[f"{name}_{side}"] = (dim, np.array(values, dtype=object if name != "depth" else np.int64))
        empty = np.full([sum(len(store.layers) for store in side) for side in (self.xs, self.ys)], np.nan, np.float32)
        return xr.Dataset(dict.fromkeys(self.metrics, (("layer_x", "layer_y"), empty)), coords=coords)


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
        for store, label in zip(stores, label_stores(stores), strict=True)
    ]


def open_study(
    stores_x: Stores,
    stores_y: Stores | None,
    metrics: Any,
    output: str | Path | Url | None,
    *,
    preprocess: Preprocess | None = None,
    pair: Literal["exact", "inner"] = "exact",
    groups: Sequence[Any] | None = None,
    exclude_own_group: bool = False,
    memory: int | str | None = None,
    sketch_cache: str | Path | Url | None = None,
    devices: Sequence[Any] | None = None,
    precision: Precision = "float32",
    kind: type[Study] = Study,
) -> Study:
    """What `align` was asked for, checked; StoreError or ValueError where it cannot be done."""
    chosen = make_metrics(metrics)
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
    where = place(output) if output is not None else None
    beside = where.with_name(f".{where.name}.sketches") if where is not None else None
    study = kind(
        metrics=chosen,
        xs=xs,
        ys=ys,
        same=stores_y is None,
        preprocess=preprocess or Preprocess(),
        precision=precision,
        pair=pair,
        codes=check_groups(groups, xs[0].n, exclude_own_group),
        exclude_own_group=exclude_own_group,
        budget=budget,
        mesh=layer_mesh(devices),
        cache=place(sketch_cache) if sketch_cache is not None else beside,
    )
    study.check()
    return study


def finished_result(path: Place, origin: dict[str, Any], quiet: bool | None, *, calibration: bool) -> Alignment:
    """The result at `path`, if it is the one asked for."""
    alignment = load_alignment(path, calibration=calibration)
    if not same_study(alignment.protocol, origin):
        raise StoreError(
            f"{path} holds a result made from other features or settings. Name another output, or overwrite it with "
            "--force-remake (overwrite=True)."
        )
    say(f"{path} already holds this result.", quiet)
    return alignment
