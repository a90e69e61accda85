"""A study run: features streamed into sketches, sketches scored tile by tile, within a budget of bytes."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax.sharding import Mesh

from ..metrics.base import Metric
from ..runtime.workers import ALONE, Worker
from ..sketches.base import Sketcher
from .programs import tile_scorer
from .sketch_bank import SketchBank
from .sketching import StoredLayer
from .stacks import put_tile, sketch_bytes, sketch_shapes, stack_tile
from .tiling import held_bytes, share_kernels, study_blocks


def score_study(
    metrics: dict[str, Metric],
    sketcher: Sketcher,
    refs_x: Sequence[StoredLayer],
    refs_y: Sequence[StoredLayer] | None,
    bank: SketchBank,
    grid: Any,
    *,
    shape: Any,
    mesh: Mesh,
    memory: int,
    worker: Worker = ALONE,
    progress: Callable[[int], Any],
) -> None:
    """Score the tiles that a ScoreGrid lacks, of metrics with one sketcher; `refs_y=None` scores x with itself.

    Tiles of y stay on the devices as far as `memory` reaches, in addition to a tile of each side and the memory of
    scoring them.
    """
    columns_of = refs_x if refs_y is None else refs_y
    mirrored = {key for key, metric in metrics.items() if refs_y is None and metric.symmetric}
    size, shapes = grid.tile[next(iter(metrics))], sketch_shapes(shape)
    groups = share_kernels(metrics)

    def load(refs: Sequence[StoredLayer], tiles: Sequence[int], *, spread: bool) -> Any:
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
    for tiles_x, column in study_blocks(metrics, *counts, size, mesh, worker):
        todo = {
            key: [t for t in tiles_x if not (grid.done(key, t, column) or (key in mirrored and column < t))]
            for key in metrics
        }
        if not any(todo.values()):
            continue
        first, b = tiles_x.start, None  # what is let go before the next is loaded does not stand next to it
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
