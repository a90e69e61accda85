"""The null of a study: all orders for all tiles of layer pairs, reduced to model pairs as they come."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ..metrics.base import Metric
from ..metrics.kernels import OnHost
from ..null.pvalues import still_open
from ..null.settings import Null
from ..results.null_grid import NullGrid
from ..sketches.base import Sketcher
from .sketch_bank import SketchBank
from .stacks import put_tile, sketch_bytes, sketch_shapes, stack_tile, stacked_shapes

LAYERS_X, LAYERS_Y, FINE = 512, 32, 64
"""Layers of x and of y scored in one call, and of x where only a part of the pairs is wanted."""
TILE_BYTES = 2**28
"""Sketches of x in one call: small ones fill a wide table, large ones gain nothing from more than this."""


@lru_cache(maxsize=64)
def null_scorer(metric: Metric, shapes: Any, tile: tuple[int, int], orders: tuple[int, int], mesh: Mesh) -> Any:
    """Compiled `(a, b, orders) -> scores (orders, x, y)`; each device has `tile[0]` layers of a, and all of b."""
    kernel = metric.tile_kernel
    if kernel.on_host:
        return OnHost(kernel.orders)
    spread, same = PartitionSpec("layer"), PartitionSpec()
    scores = jax.shard_map(
        kernel.orders,
        mesh=mesh,
        in_specs=(spread, same, same),
        out_specs=PartitionSpec(None, "layer"),
        check_vma=False,
    )
    again = jax.ShapeDtypeStruct(orders, np.int32, sharding=NamedSharding(mesh, same))
    a, b = stacked_shapes(shapes, tile[0] * mesh.size, mesh, spread), stacked_shapes(shapes, tile[1], mesh, same)
    return jax.jit(scores).lower(a, b, again).compile()


def even(count: int, most: int) -> int:
    """The size of equal parts of `count`, none above `most`, in whole vectors of 8: products are twice as fast then."""
    size = -(-count // -(-count // most))
    return min(most, -(-size // 8) * 8) if size > 8 else size


def columns_at_once(count: int) -> int:
    """Layers of y in one call, of a number of layers: a power of two, at most LAYERS_Y.

    The columns of a product decide how its sums are rounded, its rows do not. So studies of more than a few layers have
    the same bits however many layers of y they have.
    """
    return min(1 << (count - 1).bit_length(), LAYERS_Y)


def null_tile(
    metric: Metric, shape: Any, counts: tuple[int, int], orders: tuple[int, int], mesh: Mesh, memory: int, *, fine: bool
) -> tuple[int, int]:
    """Layers of x (on each device) and of y in one call, such that sketches and temporaries fit into `memory`."""
    size, shapes = sketch_bytes(shape), sketch_shapes(shape)
    rows = FINE if fine else max(FINE, min(LAYERS_X, TILE_BYTES // size))
    tile = [even(-(-counts[0] // mesh.size), rows), columns_at_once(counts[1])]
    while tile != [1, 1]:
        held = 2 * (tile[0] * mesh.size + tile[1]) * size
        if held < memory:
            need = null_scorer(metric, shapes, (tile[0], tile[1]), orders, mesh).memory_analysis()
            if held + getattr(need, "temp_size_in_bytes", 0) <= memory:
                break
        larger = 0 if tile[0] >= tile[1] else 1
        tile[larger] = -(-tile[larger] // 2)
    return tile[0], tile[1]


def fill_null(
    grid: NullGrid,
    number: int,
    metric: Metric,
    sketcher: Sketcher,
    observed: np.ndarray,
    models: tuple[Sequence[slice], Sequence[slice]],
    layers: tuple[Sequence[str], Sequence[str]],
    orders: np.ndarray,
    bank: SketchBank,
    null: Null,
    *,
    shape: Any,
    mesh: Mesh,
    memory: int,
    mirror: bool,
    known: tuple[int, int] = (0, 0),
    progress: Callable[[int], Any],
) -> None:
    """Compute the blocks of orders that a NullGrid lacks for metric `number`.

    observed  scores (layers of x, layers of y), larger is closer
    models    the layers of each model, on both sides
    layers    names of the layers' contents, on both sides
    mirror    x and y are the same layers and the metric is symmetric: pairs below the diagonal are those above
    known     the null of the pairs of the first models of x and y is not computed
    """
    sign = 1 if metric.larger_is_closer else -1
    shapes, longest = sketch_shapes(shape), max(block.stop - block.start for block in grid.blocks)
    rows_of, columns_of = _owners(models[0]), _owners(models[1])
    wanted = np.ones((len(models[0]), len(models[1])), bool)
    wanted = np.triu(wanted) if mirror else wanted
    wanted[: known[0], : known[1]] = False
    scores = np.array([[null.reduce(observed[r, c]) for c in models[1]] for r in models[0]])
    tile = null_tile(
        metric,
        shape,
        (len(layers[0]), len(layers[1])),
        (longest, orders.shape[1]),
        mesh,
        memory,
        fine=mirror or null.stop_after is not None,
    )

    def load(side: int, wanted: np.ndarray, count: int) -> Any:
        names = layers[0] if side == 0 else layers[1]
        sketches = (bank.get(sketcher, names[int(i)], shapes[0]) for i in wanted)
        return put_tile(stack_tile(sketches, count), mesh, spread=side == 0)

    for b, where in enumerate(grid.blocks):
        open_pairs: np.ndarray = wanted & still_open(scores, grid.null[number, : where.start], null.stop_after)
        shown = 0  # orders of this block that the progress has, in parts of its tiles
        if not grid.done(number, b):
            chosen = orders[where]
            first = grid.blocks[0].stop
            count = longest if len(chosen) > first else first  # two programs at most
            padded = np.concatenate([chosen, np.repeat(chosen[-1:], count - len(chosen), axis=0)])
            scorer = null_scorer(metric, shapes, tile, padded.shape, mesh)
            again = jax.device_put(padded, NamedSharding(mesh, PartitionSpec()))
            matrix = np.full((len(chosen), *observed.shape), np.nan, np.float32)
            rows = np.flatnonzero(np.any(open_pairs, axis=1)[rows_of])
            columns = np.flatnonzero(np.any(open_pairs, axis=0)[columns_of])
            parts = [
                (top, left)
                for top in _parts(rows, tile[0] * mesh.size)
                for left in _parts(columns, tile[1])
                if open_pairs[np.ix_(rows_of[top], columns_of[left])].any()
            ]
            a, loaded = None, None
            for turn, (top, left) in enumerate(parts):
                if loaded is not top:
                    a = None  # frees the sketches before others take their place
                    a, loaded = load(0, top, tile[0] * mesh.size), top
                values = sign * np.asarray(scorer(a, load(1, left, tile[1]), again))
                matrix[:, top[:, None], left[None, :]] = values[: len(chosen), : len(top), : len(left)]
                so_far = len(chosen) * (turn + 1) // len(parts)
                progress(so_far - shown)
                shown = so_far
            aggregates = np.full((len(chosen), *scores.shape), np.nan, np.float32)
            for i, j in np.argwhere(open_pairs):
                aggregates[:, i, j] = null.reduce(matrix[:, models[0][i], models[1][j]])
            matrix[:, ~open_pairs[np.ix_(rows_of, columns_of)]] = np.nan
            reached = (matrix >= observed).sum(axis=0, dtype=np.int32)
            grid.put(number, b, aggregates, reached, matrix if null.cells else None)
        progress(where.stop - where.start - shown)


def _owners(blocks: Sequence[slice]) -> np.ndarray:
    """The model of each layer."""
    return np.repeat(np.arange(len(blocks)), [block.stop - block.start for block in blocks])


def _parts(layers: np.ndarray, size: int) -> list[np.ndarray]:
    return [layers[start : start + size] for start in range(0, len(layers), size)]
