"""A study run: features streamed into sketches, sketches scored tile by tile, within a budget of bytes."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from tqdm.auto import tqdm

from .errors import StoreError
from .metrics.base import Metric
from .pairwise import (
    TILE,
    products_program,
    put_tile,
    reduce_products,
    sketch_bytes,
    sketch_shapes,
    stack_tile,
    tile_scorer,
)
from .preprocess import Preprocess
from .read_ahead import read_ahead
from .runtime.host import compiling_threads, kept_memory, quiet_blas, reading_threads
from .runtime.workers import ALL, Share
from .sketch_bank import SketchBank
from .sketches.base import Maker, Sketcher
from .stores.reader import FeatureStore

FILLED = 2048
"""Most samples with which tiles of few layers are filled up to the usual size."""
IN_FLIGHT = 2
"""Layers read ahead of the one that is computed, and computed ahead of the one that is stored."""


@dataclass(frozen=True)
class LayerRef:
    """A layer of a store, and a name of its features after preprocessing, by their contents."""

    store: FeatureStore
    layer: int
    name: str


def name_layers(stores: Iterable[FeatureStore], preprocess: Preprocess, precision: str) -> dict[str, list[LayerRef]]:
    """All layers of each store, by its path."""
    refs = {}
    for store in stores:
        contents = f"{store.checksum()} {asdict(preprocess)} {precision}"
        refs[str(store.path)] = [LayerRef(store, i, f"{contents} {i}") for i in range(len(store.layers))]
    return refs


def shape_of(sketcher: Sketcher | Maker, n: int, width: int) -> Any:
    """The shapes of a sketch, or of what it is made of; they do not depend on the width."""
    return jax.eval_shape(sketcher, jax.ShapeDtypeStruct((n, width), np.float32))


def make_maker(sketcher: Sketcher, precision: str) -> Maker:
    """What makes a sketcher's arrays from features, in a precision."""
    return replace(sketcher.products, bfloat16=precision == "bfloat16")


def make_sketches(
    refs: dict[str, list[LayerRef]],
    sketchers: Sequence[Sketcher],
    preprocess: Preprocess,
    bank: SketchBank,
    *,
    precision: str,
    mesh: Mesh,
    memory: int,
    quiet: bool | None,
) -> None:
    """Fill the bank with each layer's sketches; a layer that has them all is not read."""
    makers = {sketcher: make_maker(sketcher, precision) for sketcher in sketchers}
    missing = {
        ref: [sketcher for sketcher in sketchers if not bank.has(sketcher, ref.name)]
        for layers in refs.values()
        for ref in layers
    }
    missing = {ref: wanted for ref, wanted in missing.items() if wanted}
    if not missing:
        return
    devices = list(mesh.devices.flat)
    waiting: list[tuple[LayerRef, dict[Sketcher, Any], Any]] = []

    def store_oldest() -> None:
        ref, sketches, degenerate = waiting.pop(0)
        if bool(degenerate):
            refuse_constant(ref)
        for sketcher, sketch in sketches.items():
            bank.put(sketcher, ref.name, jax.device_get(sketch))

    shown = tqdm(total=len(missing), desc="sketching", unit=" layers", disable=quiet, leave=False)
    with quiet_blas(), kept_memory(memory), shown as bar:
        layers = read_ahead(_prepared(refs, set(missing), preprocess, memory), IN_FLIGHT)
        wanted = {ref: tuple(dict.fromkeys(makers[sketcher] for sketcher in missing[ref])) for ref in missing}
        programs = _compile_ahead(wanted, preprocess, devices)
        for turn, (ref, x, threshold) in enumerate(layers):
            device = devices[turn % len(devices)]
            made = programs[x.shape, wanted[ref], device].result()(*jax.device_put((x, threshold), device))
            products = dict(zip(wanted[ref], made, strict=True))
            sketches = {s: reduce_products(products[makers[s]], sketcher=s) for s in missing[ref]}
            waiting.append((ref, sketches, made[0].degenerate))
            if len(waiting) >= IN_FLIGHT * len(devices):
                store_oldest()
            bar.update()
        while waiting:
            store_oldest()


def _compile_ahead(
    wanted: dict[LayerRef, tuple[Any, ...]], preprocess: Preprocess, devices: Sequence[Any]
) -> dict[Any, Future[Any]]:
    """Programs for all widths, compiled by threads while layers are read and the first ones are computed."""
    pool = ThreadPoolExecutor(compiling_threads())
    programs: dict[Any, Future[Any]] = {}
    for ref, makers in wanted.items():
        shape = (ref.store.n, ref.store.layers[ref.layer].dim)
        for device in devices:
            if (shape, makers, device) not in programs:
                arguments = (shape, ref.store.dtype, makers, preprocess, device)
                programs[shape, makers, device] = pool.submit(products_program, *arguments)
    pool.shutdown(wait=False)
    return programs


def _prepared(
    refs: dict[str, list[LayerRef]], wanted: set[LayerRef], preprocess: Preprocess, memory: int
) -> Iterator[tuple[LayerRef, np.ndarray, np.float32]]:
    """Features and clipping threshold of each wanted layer; models that fit into a part of the budget are read once.

    A model is read, and its thresholds found, while the layers of the one before are computed.
    """

    def models() -> Iterator[tuple[list[LayerRef], list[np.ndarray] | None, np.ndarray]]:
        for layers in refs.values():
            if wanted.isdisjoint(layers):
                continue
            store, read = layers[0].store, None
            if store.nbytes <= memory // 8 and preprocess.clip_quantile < 1:
                with ThreadPoolExecutor(reading_threads()) as pool:
                    read = list(pool.map(store.read_layer, range(len(store.layers))))
            yield layers, read, preprocess.thresholds(store, read, memory=memory // 4)

    for layers, read, thresholds in read_ahead(models(), 1):
        for ref in layers:
            if ref in wanted:
                x = ref.store.read_layer(ref.layer) if read is None else read[ref.layer]
                yield ref, x, thresholds[ref.layer]


def refuse_constant(ref: LayerRef) -> None:
    """StoreError: a layer with the same features for all samples has no score."""
    raise StoreError(
        f"{ref.store.path}, layer {ref.store.layers[ref.layer].name!r} is constant: all {ref.store.n} samples have the "
        "same features once clipped, so it cannot be aligned with anything. Where features are mostly zeros, clip less "
        "(--clip-quantile 1); else extract the model again, or leave it out."
    )


def share_contractions(metrics: dict[str, Metric]) -> list[dict[str, Metric]]:
    """Metrics of one sketch in groups that are scored by one program: those with a contraction in common."""
    groups: dict[Any, dict[str, Metric]] = {}
    for key, metric in metrics.items():
        groups.setdefault(metric.contraction or key, {})[key] = metric
    return list(groups.values())


def held_bytes(groups: Sequence[dict[str, Metric]], sketch: Any, size: int, mesh: Mesh) -> int:
    """Bytes on each device to score a tile: one of each side, the next being put together, and temporaries."""
    shapes = sketch_shapes(sketch)
    needs = [tile_scorer(tuple(group.values()), shapes, size, mesh).memory_analysis() for group in groups]
    return 4 * size * sketch_bytes(sketch) + max(getattr(need, "temp_size_in_bytes", 0) for need in needs)


def fit_tile(metrics: dict[str, Metric], sketch: Any, mesh: Mesh, memory: int, *, n: int, layers: int) -> int:
    """The largest tile whose sketches and temporaries fit into `memory` on each device: a power of two up to TILE, or
    to what a slow metric asks for.

    Tiles are filled up with copies, so that one program serves any number of layers. Of more than FILLED samples that
    would take longer than compiling another: the tile is then no larger than the layers of the larger side need.
    """
    size = min([TILE, *(metric.tile for metric in metrics.values() if metric.tile)])
    if n > FILLED:
        size = min(size, 1 << (layers - 1).bit_length())
    groups = share_contractions(metrics)
    while size > 1:
        if 4 * size * sketch_bytes(sketch) < memory and held_bytes(groups, sketch, size, mesh) <= memory:
            break
        size //= 2
    return size


def study_blocks(
    metrics: dict[str, Metric],
    layers_x: int,
    layers_y: int | None,
    size: int,
    mesh: Mesh,
    share: Share,
) -> list[tuple[range, int]]:
    """What is scored in one call, in order: tiles of rows, one a device, with one tile of columns; a worker's share.

    Where x is scored with itself (`layers_y=None`) by symmetric metrics, blocks below the diagonal are left out.
    """
    half = layers_y is None and all(metric.symmetric for metric in metrics.values())
    rows, columns = (-(-count // size) for count in (layers_x, layers_x if layers_y is None else layers_y))
    blocks = [
        (range(first, min(first + mesh.size, rows)), column)
        for first in range(0, rows, mesh.size)
        for column in range(columns)
        if column >= first or not half
    ]
    return blocks[share.index :: share.count]


def layers_of(
    metrics: dict[str, Metric],
    refs_x: Sequence[LayerRef],
    refs_y: Sequence[LayerRef] | None,
    grid: Any,
    mesh: Mesh,
    share: Share,
) -> set[LayerRef]:
    """The layers that the blocks of a share need, those that are scored already aside."""
    size, columns_of = grid.tile[next(iter(metrics))], refs_x if refs_y is None else refs_y
    needed: set[LayerRef] = set()
    counts = len(refs_x), None if refs_y is None else len(refs_y)
    for tiles, column in study_blocks(metrics, *counts, size, mesh, share):
        if all(grid.done(key, t, column) for key in metrics for t in tiles):
            continue
        needed.update(refs_x[tiles.start * size : tiles.stop * size], columns_of[column * size : (column + 1) * size])
    return needed


def score_study(
    metrics: dict[str, Metric],
    sketcher: Sketcher,
    refs_x: Sequence[LayerRef],
    refs_y: Sequence[LayerRef] | None,
    bank: SketchBank,
    grid: Any,
    *,
    shape: Any,
    mesh: Mesh,
    memory: int,
    share: Share = ALL,
    progress: Callable[[int], Any],
) -> None:
    """Score the tiles that a ScoreGrid lacks, of metrics with one sketcher; `refs_y=None` scores x with itself.

    Tiles of y stay on the devices as far as `memory` reaches, beside a tile of each side and what scoring them takes.
    """
    columns_of = refs_x if refs_y is None else refs_y
    mirrored = {key for key, metric in metrics.items() if refs_y is None and metric.symmetric}
    size, shapes = grid.tile[next(iter(metrics))], sketch_shapes(shape)
    groups = share_contractions(metrics)

    def load(refs: Sequence[LayerRef], tiles: Sequence[int], *, spread: bool) -> Any:
        parts = [refs[tile * size : (tile + 1) * size] for tile in tiles]
        filled = [ref for part in parts for ref in (*part, *[part[-1]] * (size - len(part)))]
        runs = ((bank.get(sketcher, ref.name, shapes[0]), len(list(run))) for ref, run in itertools.groupby(filled))
        sketches = (sketch for sketch, times in runs for _ in range(times))
        return put_tile(stack_tile(sketches, len(filled)), mesh, spread=spread)

    tile_bytes = size * sketch_bytes(shape)
    kept: dict[int, Any] = {}
    room = (memory - held_bytes(groups, shape, size, mesh)) // tile_bytes
    a, b, loaded = None, None, None
    counts = len(refs_x), None if refs_y is None else len(refs_y)
    for tiles_x, column in study_blocks(metrics, *counts, size, mesh, share):
        todo = {
            key: [t for t in tiles_x if not (grid.done(key, t, column) or (key in mirrored and column < t))]
            for key in metrics
        }
        if not any(todo.values()):
            continue
        first, b = tiles_x.start, None  # what is let go before the next is loaded does not stand beside it
        if loaded != first:  # devices without a tile of their own repeat the last
            a = None
            a = load(refs_x, [min(t, tiles_x[-1]) for t in range(first, first + mesh.size)], spread=True)
            loaded = first
        b = kept[column] if column in kept else load(columns_of, [column], spread=False)
        if len(kept) < room and len(refs_x) > size * mesh.size:
            kept[column] = b
        for group in groups:
            wanted = {key: metric for key, metric in group.items() if todo[key]}
            if not wanted:
                continue
            scores = tile_scorer(tuple(wanted.values()), shapes, size, mesh)(a, b)
            for key, values in zip(wanted, map(np.asarray, scores), strict=True):
                for t in todo[key]:
                    tile = values[(t - first) * size : (t - first + 1) * size]
                    progress(grid.put(key, t, column, tile, mirror=key in mirrored))
