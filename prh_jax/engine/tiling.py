"""Tiles of the layer-by-layer matrix: how large, and in which order."""

from collections.abc import Sequence
from typing import Any

from jax.sharding import Mesh

from ..metrics.base import Metric
from ..runtime.workers import Worker
from .programs import tile_scorer
from .sketching import StoredLayer
from .stacks import sketch_bytes, sketch_shapes

TILE = 128
"""Layers a side scored in one call: enough for kernels at full speed, few enough to fill up the last tile cheaply."""
FILLED = 2048
"""Most samples with which tiles of few layers are filled up to the usual size."""


def share_kernels(metrics: dict[str, Metric]) -> list[dict[str, Metric]]:
    """Metrics of one sketch in groups that are scored by one program: those whose kernels share a first step."""
    groups: dict[Any, dict[str, Metric]] = {}
    for key, metric in metrics.items():
        groups.setdefault(metric.tile_kernel.shared or key, {})[key] = metric
    return list(groups.values())


def held_bytes(groups: Sequence[dict[str, Metric]], sketch: Any, size: int, mesh: Mesh) -> int:
    """Bytes on each device to score a tile: one of each side, the next being put together, and temporaries."""
    shapes = sketch_shapes(sketch)
    needs = [tile_scorer(tuple(group.values()), shapes, size, mesh).memory_analysis() for group in groups]
    return 4 * size * sketch_bytes(sketch) + max(getattr(need, "temp_size_in_bytes", 0) for need in needs)


def fit_tile(metrics: dict[str, Metric], sketch: Any, mesh: Mesh, memory: int, *, n: int, layers: int) -> int:
    """Return the largest tile whose sketches and temporaries fit into `memory` on each device.

    It is a power of two up to TILE, or to what a slow metric asks for. Copies fill up tiles, so that one program serves
    any number of layers. With more than FILLED samples the copies would take longer than compiling another program: the
    tile is then no larger than the layers of the larger side need.
    """
    size = min(metric.tile_kernel.largest_tile or TILE for metric in metrics.values())
    if n > FILLED:
        size = min(size, 1 << (layers - 1).bit_length())
    groups = share_kernels(metrics)
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
    worker: Worker,
) -> list[tuple[range, int]]:
    """Parts of one call, in order: tiles of rows, one a device, with one tile of columns; a worker's share.

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
    return worker.share(blocks)


def layers_of(
    metrics: dict[str, Metric],
    refs_x: Sequence[StoredLayer],
    refs_y: Sequence[StoredLayer] | None,
    grid: Any,
    mesh: Mesh,
    worker: Worker,
) -> set[StoredLayer]:
    """The layers that the blocks of a share need, those that are scored already aside."""
    size, columns_of = grid.tile[next(iter(metrics))], refs_x if refs_y is None else refs_y
    needed: set[StoredLayer] = set()
    counts = len(refs_x), None if refs_y is None else len(refs_y)
    for tiles, column in study_blocks(metrics, *counts, size, mesh, worker):
        if all(grid.done(key, t, column) for key in metrics for t in tiles):
            continue
        needed.update(refs_x[tiles.start * size : tiles.stop * size], columns_of[column * size : (column + 1) * size])
    return needed
