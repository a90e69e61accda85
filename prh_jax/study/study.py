"""A study: what it is made of, checked before any work; its sketches, and its tiles, all or a share."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib.metadata import version
from typing import Any

import jax
import numpy as np
import xarray as xr
from jax.sharding import Mesh

from .._version import __version__
from ..engine.preprocess import Preprocess
from ..engine.scoring import score_study
from ..engine.sketch_bank import SketchBank
from ..engine.sketching import StoredLayer, make_sketches, name_layers, shape_of, store_key
from ..engine.stacks import layer_mesh, sketch_bytes
from ..engine.tiling import fit_tile, layers_of
from ..errors import StoreError
from ..metrics.base import Metric
from ..metrics.registry import make_metrics
from ..null.orders import check_groups
from ..results.provenance import MetricRecord, ModelRecord, Provenance
from ..results.score_grid import ScoreGrid
from ..runtime.host import kept_memory, quiet_blas
from ..runtime.memory import check_address_space, default_memory, parse_bytes, size_text
from ..runtime.progress import progress_bar
from ..runtime.workers import ALONE, Worker
from ..sketches.base import SketchContext, Sketcher
from ..sketches.neighbors import share_lists
from ..stores.labels import label_stores
from ..stores.location import Place, place, remove
from ..stores.paired import is_in_memory
from ..stores.pairing import pair_samples
from ..stores.reader import Stores, open_stores
from ..stores.source import ModelSource
from ..stores.target import check_target
from ..stores.weights import warn_of_equal_weights
from .settings import PRECISIONS, Precision, StudySettings

MODEST = 2**30
"""Bytes of a layer's products that any study may take: smaller budgets are kept to as well as they can be."""


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """Metrics, checked stores and settings: all that scores depend on, and where sketches go.

    Attributes
    ----------
    same
        Whether x is scored with itself.
    codes
        The group of each sample, where there are groups.
    samples
        Which of the samples of the stores are scored, where not all are: of how many, and ranges of rows.
    partners
        Where many rows of a side are paired with one: its name, and the partner of each row.
    budget
        Bytes for features, sketches and temporaries.
    cache, keep_cache
        Folder or URL of sketches, or None; and whether it stays when the study is done.
    """

    metrics: dict[str, Metric]
    xs: list[ModelSource]
    ys: list[ModelSource]
    same: bool
    preprocess: Preprocess
    precision: Precision
    pair: str
    normalize_ids: bool
    codes: tuple[int, ...] | None
    samples: dict[str, Any] | None
    partners: dict[str, list[str]] | None
    exclude_own_group: bool
    budget: int
    mesh: Mesh
    cache: Place | None
    keep_cache: bool

    def check(self) -> None:
        """Let each metric judge n, its settings and every width by its shapes alone, before any work is done."""
        n = self.xs[0].n
        if n < 4:
            raise StoreError(f"{self.xs[0].path} has {n} samples; at least 4 are needed to score an alignment.")
        owners = {layer.dim: f"{s.path}, layer {layer.name!r}" for s in self._stores for layer in s.layers}
        for key, metric in self.metrics.items():
            sketcher = metric.sketcher.specialise(
                SketchContext(n, groups=self.context.groups, together=self.context.together)
            )
            for width, owner in owners.items():
                try:
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
        return sketch_bytes(shape_of(sketcher.summarizer, self.xs[0].n, self.width))

    @property
    def _stores(self) -> list[ModelSource]:
        return list({store_key(store): store for store in (*self.xs, *self.ys)}.values())

    @property
    def width(self) -> int:
        """Width of the widest layer."""
        return max(self.context.widths)

    @cached_property
    def context(self) -> SketchContext:
        """Facts of this study that sketchers may know."""
        return SketchContext(
            n=self.xs[0].n,
            widths=tuple(sorted({layer.dim for store in self._stores for layer in store.layers})),
            unit_rows=self.preprocess.normalize,
            groups=self.codes if self.exclude_own_group else None,
            together=self.codes,
        )

    @cached_property
    def provenance(self) -> Provenance:
        """Origin in the result's record: results of equal studies hold equal scores."""
        packages = ("jax", "jaxlib", "numpy", "zarr")
        return Provenance(
            n=self.xs[0].n,
            metrics={
                key: MetricRecord(m.name, m.settings, m.larger_is_closer, m.source, bool(m.symmetric))
                for key, m in self.metrics.items()
            },
            ids_sha256=self.xs[0].ids_sha256,
            preprocess=dataclasses.asdict(self.preprocess),
            models_x=_models(self.xs),
            models_y=_models(self.ys),
            stores_x=_paths(self.xs),
            stores_y=None if self.same else _paths(self.ys),
            precision=PRECISIONS[self.precision],
            device=jax.devices()[0].device_kind,
            versions={name: version(name) for name in packages} | {"prh-jax": __version__},
            pair=self.pair,
            normalize_ids=self.normalize_ids,
            by_position=self.partners is None and any(getattr(store, "by_position", False) for store in self._stores),
            samples=self.samples,
            partners=self.partners,
            groups=None if self.codes is None else list(self.codes),
            exclude_own_group=self.exclude_own_group,
        )

    @cached_property
    def sketchers(self) -> dict[str, Sketcher]:
        """The sketcher of each metric; metrics of several k share the longest lists."""
        return share_lists({key: metric.sketcher.specialise(self.context) for key, metric in self.metrics.items()})

    @cached_property
    def shapes(self) -> dict[Sketcher, Any]:
        """The shapes of each sketcher's sketches."""
        n = self.xs[0].n
        return {sketcher: shape_of(sketcher, n, self.width) for sketcher in dict.fromkeys(self.sketchers.values())}

    @cached_property
    def layers(self) -> dict[str, list[StoredLayer]]:
        """All layers of each store, by its key."""
        return name_layers(self._stores, self.preprocess, self.precision)

    @property
    def _held(self) -> int:
        return sum(map(sketch_bytes, self.shapes.values())) * sum(map(len, self.layers.values()))

    @property
    def longest_side(self) -> int:
        """Layers of the side that has more."""
        return max(sum(len(store.layers) for store in side) for side in (self.xs, self.ys))

    @property
    def in_memory(self) -> bool:
        """Whether sketches stay in memory: the rest is for features, tiles and temporaries."""
        return self._held <= self.budget // 3

    @property
    def free(self) -> int:
        """Bytes left for more than the sketches held."""
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
            size = fit_tile(group, shape, self.mesh, self.free, n=self.xs[0].n, layers=self.longest_side)
            tile |= dict.fromkeys(group, size)
        return ScoreGrid(self.labelled(), self.provenance, tile, path, overwrite=overwrite)

    def score(self, grid: ScoreGrid, *, worker: Worker = ALONE, quiet: bool | None) -> None:
        """Fill the tiles that the grid lacks: all of them, or those of a worker's share.

        A worker first sketches its share of the models, then what its tiles need and no other worker has sketched yet.
        """
        lacking = [s for s in self.shapes if any(not grid.complete(key) for key in self._group(s))]
        if not lacking:
            return
        with quiet_blas(), kept_memory(self.free):
            self._sketch(lacking, grid, worker, quiet)
            with progress_bar("scoring", "tiles", grid.total, initial=grid.finished, quiet=quiet) as bar:
                for sketcher in lacking:
                    self._score(sketcher, grid, worker, bar.update)

    def sketch(
        self, sketchers: Sequence[Sketcher], layers: dict[str, list[StoredLayer]] | None = None, *, quiet: bool | None
    ) -> None:
        """Make the sketches that the bank lacks: of all layers unless some are named, by store."""
        make_sketches(
            self.layers if layers is None else layers,
            sketchers,
            self.preprocess,
            self.bank,
            precision=self.precision,
            mesh=self.mesh,
            memory=self.free,
            quiet=quiet,
        )

    def _sketch(self, sketchers: Sequence[Sketcher], grid: ScoreGrid, worker: Worker, quiet: bool | None) -> None:
        if worker.alone:
            self.sketch(sketchers, quiet=quiet)
            return
        self.sketch(sketchers, dict(worker.share(list(self.layers.items()))), quiet=quiet)
        for sketcher in sketchers:
            needed = layers_of(self._group(sketcher), *self.sides, grid, self.mesh, worker)
            chosen = {path: [layer for layer in layers if layer in needed] for path, layers in self.layers.items()}
            self.sketch([sketcher], chosen, quiet=quiet)

    def _score(self, sketcher: Sketcher, grid: ScoreGrid, worker: Worker, progress: Callable[[int], Any]) -> None:
        score_study(
            self._group(sketcher),
            sketcher,
            *self.sides,
            self.bank,
            grid,
            shape=self.shapes[sketcher],
            mesh=self.mesh,
            memory=self.free,
            worker=worker,
            progress=progress,
        )

    def clean_up(self) -> None:
        """Remove the sketches, once they are not needed any more, unless they are to be kept for further studies."""
        if not self.keep_cache and self.cache is not None:
            remove(self.cache)

    @property
    def sides(self) -> tuple[list[StoredLayer], list[StoredLayer] | None]:
        """All layers of x, and of y; None in place of y where x is scored with itself."""
        x, y = ([ref for store in side for ref in self.layers[store_key(store)]] for side in (self.xs, self.ys))
        return x, None if self.same else y

    def _group(self, sketcher: Sketcher) -> dict[str, Metric]:
        return {key: metric for key, metric in self.metrics.items() if self.sketchers[key] == sketcher}

    def labelled(self) -> xr.Dataset:
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


def check_shared(study: Study) -> None:
    """StoreError where a study of several processes has features in the memory of one."""
    for store in (*study.xs, *study.ys):
        if is_in_memory(store):
            raise StoreError(
                f"The features of {store.model!r} are in the memory of this process, and several are to score them: "
                "write them to a store that all reach (prh_jax.write_features), and give its path."
            )


def _paths(stores: list[ModelSource]) -> list[str | None]:
    """Where each store is; None of what is in memory."""
    return [None if is_in_memory(store) else str(store.path) for store in stores]


def _models(stores: list[ModelSource]) -> list[ModelRecord]:
    return [
        ModelRecord(
            label=label,
            spec=store.spec,
            spec_sha256=store.spec_sha256,
            contents=store.checksum(),
            result=store.result,
            dtype=str(store.dtype),
            layers=[[layer.name, layer.dim] for layer in store.layers],
        )
        for store, label in zip(stores, label_stores(stores), strict=True)
    ]


def open_study(
    stores_x: Stores,
    stores_y: Stores | None,
    metrics: Any,
    output: Place | None,
    settings: StudySettings,
    *,
    kind: type[Study] = Study,
) -> Study:
    """A study as `align` was asked for, checked; StoreError or ValueError where it cannot be done."""
    for where in (output, None if settings.sketch_cache is None else place(settings.sketch_cache)):
        if where is not None:
            check_target(where)
    check_address_space()
    chosen = make_metrics(metrics)
    budget = parse_bytes(settings.memory) if settings.memory is not None else default_memory()
    xs = open_stores(stores_x, settings.ids_of("x"))
    ys = xs if stores_y is None else open_stores(stores_y, settings.ids_of("y"))
    if settings.ids is not None and not any(is_in_memory(store) for store in (*xs, *ys)):
        raise ValueError("ids= are of features in memory, and all of these are stores, which have their own.")
    paired = pair_samples(
        xs,
        ys,
        settings.pair,
        normalize_ids=settings.normalize_ids,
        samples=settings.samples,
        exclude=settings.exclude,
    )
    beside = output.with_name(f".{output.name}.sketches") if output is not None else None
    study = kind(
        metrics=chosen,
        xs=paired.xs,
        ys=paired.ys,
        same=stores_y is None,
        preprocess=settings.preprocess or Preprocess(),
        precision=settings.precision,
        pair="exact" if paired.partners else str(settings.pair),
        normalize_ids=settings.normalize_ids,
        codes=check_groups(paired.groups(settings.groups), paired.xs[0].n, settings.exclude_own_group),
        samples=paired.samples,
        partners=paired.partners,
        exclude_own_group=settings.exclude_own_group,
        budget=budget,
        mesh=layer_mesh(settings.devices),
        cache=beside if settings.sketch_cache is None else place(settings.sketch_cache),
        keep_cache=settings.sketch_cache is not None,
    )
    study.check()
    warn_of_equal_weights((*xs, *ys))
    return study
