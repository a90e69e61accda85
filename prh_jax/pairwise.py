"""All pairs of layers: sketch each layer once, then score the layer-by-layer matrix in equal tiles."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import jax
import numpy as np

from .metric import Metric, Sketcher
from .preprocess import Preprocess

TILE = 16
Progress = Callable[[int], object]


@partial(jax.jit, static_argnames=("sketcher", "preprocess"))
def sketch_layer(x: Any, threshold: Any, *, sketcher: Sketcher, preprocess: Preprocess) -> Any:
    """The sketch of one layer after preprocessing; compiled once for each width."""
    return sketcher(preprocess.apply(x, threshold))


@partial(jax.jit, static_argnames=("metric",))
def score_tile(a: Any, b: Any, *, metric: Metric) -> jax.Array:
    """Scores of all pairs of two stacks of sketches."""
    return metric.compare_tile(a, b)


@partial(jax.jit, static_argnames=("metric",))
def score_orders(a: Any, b: Any, orders: jax.Array, *, metric: Metric) -> jax.Array:
    """Scores of sketch a with sketch b re-paired by each order (orders, n): what chance gives."""
    return jax.lax.map(lambda order: metric.compare(a, b.reorder(order)), orders)


def stack(sketches: Iterable[Any]) -> Any:
    """Sketches of several layers as one, on the host, with a leading layer axis."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *map(jax.device_get, sketches))


def count_layers(sketches: Any) -> int:
    """Length of the layer axis of stacked sketches."""
    return jax.tree.leaves(sketches)[0].shape[0]


def _tiles(sketches: Any, size: int) -> list[tuple[int, int, Any]]:
    """Equal tiles (start, stop, sketches); the last is filled up with its last layer, so that shapes never change."""
    count = count_layers(sketches)
    tiles = []
    for start in range(0, count, size):
        rows = np.minimum(np.arange(start, start + size), count - 1)
        tiles.append((start, min(start + size, count), jax.tree.map(lambda leaf, rows=rows: leaf[rows], sketches)))
    return tiles


def score_matrix(
    metric: Metric, a: Any, b: Any | None = None, *, tile: int = TILE, progress: Progress | None = None
) -> np.ndarray:
    """The layer-by-layer matrix of scores (layers of a, layers of b) from stacked sketches.

    `b=None` scores a with itself; a symmetric metric then computes the tiles on and above the diagonal and mirrors
    them. `progress` is called with the number of layer pairs finished. The result does not depend on `tile`: to the bit
    for metrics that count, to rounding for the others.
    """
    mirror = b is None and metric.symmetric
    b = a if b is None else b
    rows, columns = count_layers(a), count_layers(b)
    scores = np.empty((rows, columns), np.result_type(np.float32, *_float_dtypes(a)))
    tiles_b = _tiles(b, min(tile, columns))
    for x0, x1, tile_a in _tiles(a, min(tile, rows)):
        tile_a = jax.device_put(tile_a)
        for y0, y1, tile_b in tiles_b:
            if mirror and y1 <= x0:
                scores[x0:x1, y0:y1] = scores[y0:y1, x0:x1].T
            else:
                scores[x0:x1, y0:y1] = np.asarray(score_tile(tile_a, tile_b, metric=metric))[: x1 - x0, : y1 - y0]
            if progress:
                progress((x1 - x0) * (y1 - y0))
    if mirror:
        lower = np.tril_indices(rows, -1)
        scores[lower] = scores.T[lower]
    return scores


def _float_dtypes(sketches: Any) -> list[np.dtype]:
    return [leaf.dtype for leaf in jax.tree.leaves(sketches) if np.issubdtype(leaf.dtype, np.floating)]
