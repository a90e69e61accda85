"""One study by several processes, on one host or many, that hold some of the samples of every layer each.

For features that do not fit one device. Layers are sketched by all devices together, a layer after another (`ring`);
CKA is scored by all of them together too, metrics of neighbour lists by blocks of tiles that processes share.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ..engine.preprocess import RowRange
from ..engine.programs import summarizer_of
from ..engine.read_ahead import read_ahead
from ..engine.ring import AXIS, SpreadSampleAxis, factor_scorer, sample_mesh, sketch_program
from ..engine.sketching import IN_FLIGHT, StoredLayer, refuse_constant, shape_of
from ..engine.stacks import layer_mesh, sketch_bytes, sketch_shapes, stack_tile
from ..engine.tiling import study_blocks
from ..metrics.registry import METRICS
from ..results.alignment import Alignment
from ..results.score_grid import ScoreGrid
from ..runtime.processes import meet, stacked
from ..runtime.progress import progress
from ..runtime.workers import ALONE, Worker
from ..sketches.base import SketchContext, Sketcher
from ..sketches.gram_factor import GramFactor, GramFactorSketcher
from ..stores.location import place
from ..stores.reader import Stores
from ..stores.url import Url
from .run import Execution, run_study
from .settings import Metrics, StudySettings
from .study import Study, check_shared, open_study


class DistributedStudy(Study):
    """A study whose layers are spread over all devices of all processes, by rows."""

    def check(self) -> None:
        """As of any study; and ValueError for a metric that needs all samples in one place."""
        refused = [key for key, sketcher in self.sketchers.items() if sketcher.pairwise_matrix]
        if refused:
            able = [n for n, kind in METRICS.items() if not kind().sketcher.specialise(self.context).pairwise_matrix]
            raise ValueError(
                f"{', '.join(refused)}: samples cannot be spread over processes, since a sketch needs all of them in "
                f"one place. Metrics that allow it: {', '.join(able)} (of kernels, the linear one). Others can be "
                "shared with --worker."
            )
        super().check()

    @cached_property
    def context(self) -> SketchContext:
        """As of any study, without matrices of all pairs of samples."""
        return dataclasses.replace(super().context, pairwise_matrix=False)

    def _made(self, sketcher: Sketcher) -> int:
        return sketch_bytes(self.shapes[sketcher])

    @cached_property
    def shapes(self) -> dict[Sketcher, Any]:
        """The shapes of each sketcher's sketches, as far as they are held here."""
        n, held = self.xs[0].n, self.rows.size * len(self.spread.local_devices)
        shapes = {sketcher: shape_of(sketcher, n, self.width) for sketcher in dict.fromkeys(self.sketchers.values())}
        for sketcher, shape in shapes.items():
            if isinstance(shape, GramFactor):
                columns = jax.ShapeDtypeStruct((held, self.width), np.float32)
                shapes[sketcher] = shape._replace(columns=columns)
        return shapes

    @cached_property
    def spread(self) -> Mesh:
        """All devices of all processes."""
        return sample_mesh()

    @cached_property
    def rows(self) -> SpreadSampleAxis:
        """How samples are laid out over the devices."""
        return SpreadSampleAxis(self.xs[0].n, self.spread.size)

    @cached_property
    def part(self) -> RowRange:
        """The samples that this process holds."""
        here = [i for i, d in enumerate(self.spread.devices.flat) if d.process_index == jax.process_index()]
        first, last = (min(edge * self.rows.size, self.rows.n) for edge in (here[0], here[-1] + 1))
        return RowRange(slice(first, last), stacked)

    def _name(self, sketcher: Sketcher, ref: StoredLayer) -> str:
        """Key of a layer in the bank: of a Factor, each process keeps its own rows."""
        own = f" rows {self.part.rows.start}:{self.part.rows.stop}" if isinstance(sketcher, GramFactorSketcher) else ""
        return ref.name + own

    def _sketch(self, sketchers: Sequence[Sketcher], grid: ScoreGrid, worker: Worker, quiet: bool | None) -> None:
        every = [(ref, sketcher) for refs in self.layers.values() for ref in refs for sketcher in sketchers]
        lacking = np.array([not self.bank.has(sketcher, self._name(sketcher, ref)) for ref, sketcher in every], bool)
        wanted: dict[StoredLayer, list[Sketcher]] = {}
        for (ref, sketcher), lacks in zip(every, stacked(lacking).sum(axis=0), strict=True):
            if lacks:  # in one process at least
                wanted.setdefault(ref, []).append(sketcher)
        layers = progress(self._prepared(wanted), "sketching", "layers", total=len(wanted), quiet=quiet)
        for ref, x, threshold in layers:
            makers = {sketcher: summarizer_of(sketcher, self.preprocess, self.precision) for sketcher in wanted[ref]}
            for maker in dict.fromkeys(makers.values()):
                group = tuple(sketcher for sketcher in wanted[ref] if makers[sketcher] == maker)
                program = sketch_program(group, maker, self.preprocess, self.rows.n, self.spread)
                made, degenerate = program(self._put(x, 0), threshold)
                if bool(_held(degenerate)):
                    refuse_constant(ref)
                for sketcher, sketch in zip(group, made, strict=True):
                    own = isinstance(sketcher, GramFactorSketcher) or jax.process_index() == 0
                    self.bank.put(sketcher, self._name(sketcher, ref), jax.tree.map(_held, sketch), on_disk=own)

    def _prepared(
        self, wanted: dict[StoredLayer, list[Sketcher]]
    ) -> Iterator[tuple[StoredLayer, np.ndarray, np.float32]]:
        """The rows held here, and the clipping threshold of each wanted layer; read ahead within a model."""
        rows = self.part.rows
        for refs in self.layers.values():
            chosen = [ref for ref in refs if ref in wanted]
            if not chosen:
                continue
            store, read = chosen[0].store, None
            if store.nbytes // self.spread.size * len(self.spread.local_devices) <= self.free // 8:
                read = [store.read_layer(layer, rows) for layer in range(len(store.layers))]
            thresholds = self.preprocess.thresholds(store, read, memory=self.free // 4, part=self.part)

            def features(chosen=chosen, store=store, read=read) -> Iterator[tuple[StoredLayer, np.ndarray]]:
                for ref in chosen:
                    yield ref, store.read_layer(ref.layer, rows) if read is None else read[ref.layer]

            for ref, x in read_ahead(features(), IN_FLIGHT):
                yield ref, x, thresholds[ref.layer]

    def _put(self, held: np.ndarray, axis: int) -> jax.Array:
        """An array over all devices from the rows held here, along one of its axes."""
        missing = self.rows.size * len(self.spread.local_devices) - held.shape[axis]
        widths = [(0, missing if i == axis else 0) for i in range(held.ndim)]
        filled = np.pad(held, widths) if missing else held
        place = NamedSharding(self.spread, PartitionSpec(*[None] * axis, AXIS))
        shape = tuple(self.rows.size * self.spread.size if i == axis else s for i, s in enumerate(held.shape))
        return jax.make_array_from_process_local_data(place, filled, shape)

    def _score(self, sketcher: Sketcher, grid: ScoreGrid, worker: Worker, update: Callable[[int], Any]) -> None:
        if not isinstance(sketcher, GramFactorSketcher):
            super()._score(sketcher, grid, Worker(jax.process_index(), jax.process_count()), update)
            return
        group, (x, y) = self._group(sketcher), self.sides
        size, treedef = grid.tile[next(iter(group))], sketch_shapes(self.shapes[sketcher])[0]
        mirrored = {key for key, metric in group.items() if y is None and metric.symmetric}

        def load(refs: Sequence[StoredLayer], tile: int) -> GramFactor:
            part = refs[tile * size : (tile + 1) * size]
            stack = stack_tile((self.bank.get(sketcher, self._name(sketcher, r), treedef) for r in part), len(part))
            return stack._replace(columns=self._put(stack.columns, 1))

        a, loaded, one = None, None, layer_mesh(jax.local_devices()[:1])
        for (tile, *_), column in study_blocks(group, len(x), None if y is None else len(y), size, one, ALONE):
            todo = [k for k in group if not (grid.done(k, tile, column) or (k in mirrored and column < tile))]
            if not todo:
                continue
            if loaded != tile:
                a, loaded = load(x, tile), tile
            scorer = factor_scorer(tuple(group[key] for key in todo), self.rows.n, self.spread)
            for key, values in zip(todo, map(_held, scorer(a, load(x if y is None else y, column))), strict=True):
                if jax.process_index() == 0:
                    update(grid.put(key, tile, column, values, mirror=key in mirrored))


def _held(array: jax.Array) -> np.ndarray:
    """Part of an array in this process: all of it, or its rows."""
    if array.is_fully_replicated:
        return np.asarray(array.addressable_data(0))
    shards = sorted(array.addressable_shards, key=lambda shard: shard.index[0].start or 0)
    return np.concatenate([np.asarray(shard.data) for shard in shards])


@dataclasses.dataclass(frozen=True)
class InStep(Execution):
    """All processes of `jax.distributed`, which meet before and after each step."""

    @property
    def alone(self) -> bool:
        """False: other processes work on the same result."""
        return False

    def agree(self, there: bool) -> bool:
        """Return what the first process found, for all."""
        return bool(stacked(np.array([there]))[0, 0])

    def meet(self) -> None:
        """Wait for all processes."""
        meet()


def align_distributed(
    stores_x: Stores,
    stores_y: Stores | None = None,
    metrics: Metrics | None = None,
    *,
    output: str | Path | Url,
    overwrite: bool = False,
    progress: bool | None = None,
    sketch_cache: str | Path | Url | None = None,
    **settings: Any,
) -> Alignment:
    """Run `align` on all processes of `jax.distributed`, for more samples than one device's memory holds.

    Call this in every process with the same arguments, after `jax.distributed.initialize`. Each process reads its own
    rows of every layer. No matrix of all pairs of samples is made. You can therefore ask for metrics of neighbour lists
    (except those that look at all similarities), cknna, and both CKAs with linear kernels. Metrics that count are
    bitwise those of `align`, unless two similarities differ by rounding alone; CKA agrees to float32 rounding.

    If a process dies, the others stop: with an error on the next message, or after the heartbeat timeout of
    `jax.distributed.initialize`.

    Parameters
    ----------
    stores_x, stores_y, metrics
        As in `align`.
    output
        Path or URL that all processes reach. It has the finished tiles, and the same call resumes an interrupted study.
    overwrite, progress, sketch_cache
        As in `align`.
    **settings
        The settings of `align` that say what is scored and how.

    Returns
    -------
    Alignment
        The result, in every process.

    Raises
    ------
    ValueError
        If the sketch of a metric cannot be spread over devices.
    """
    path = place(output)
    given = StudySettings(sketch_cache=sketch_cache, **settings)
    study = open_study(stores_x, stores_y, metrics, path, given, kind=DistributedStudy)
    check_shared(study)
    execution = InStep(leads=jax.process_index() == 0)
    quiet = True if not execution.leads else None if progress is None else not progress
    alignment = run_study(study, path, execution=execution, overwrite=overwrite, quiet=quiet)
    assert alignment is not None, "all tiles are scored by these processes together"
    return alignment
