"""From the layer-by-layer matrix to model pairs: reductions of labelled scores that keep their labels."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from ..null.layer_matching import WEIGHTS
from ..null.settings import Null

HOW = ("best", "mean", "same_depth", *WEIGHTS)
"""Reductions by name: the best layer pair, the mean of all, the mean over layers at the same relative depth, and means
over layers that are matched one to one, in order, or by shares."""
How = str | Callable[[np.ndarray], Any]


def model_blocks(labels: np.ndarray) -> dict[str, slice]:
    """The range of layers of each model, in order; layers of a model are together."""
    blocks: dict[str, slice] = {}
    start = 0
    for i in range(1, len(labels) + 1):
        if i == len(labels) or labels[i] != labels[start]:
            blocks[str(labels[start])] = slice(start, i)
            start = i
    return blocks


def best_layers(scores: xr.DataArray, *, larger_is_closer: bool = True) -> xr.Dataset:
    """The best layer pair of every model pair: `score`, `layer_x`, `layer_y` (names) and `depth_x`, `depth_y`.

    The first in (x, y) order wins a tie, negative scores are scores, NaN cells are passed over; a pair with NaN alone
    scores NaN at depth -1.
    """
    blocks_x, blocks_y = (model_blocks(scores[f"model_{side}"].values) for side in "xy")
    shape = (len(blocks_x), len(blocks_y))
    best = np.full(shape, np.nan, scores.dtype)
    where = np.full((2, *shape), -1, np.int64)
    for i, rows in enumerate(blocks_x.values()):
        for j, columns in enumerate(blocks_y.values()):
            block = scores.values[rows, columns]
            if np.isnan(block).all():
                continue
            at = np.nanargmax(block if larger_is_closer else -block)
            where[:, i, j] = np.unravel_index(at, block.shape)
            best[i, j] = block.flat[at]
    variables = {"score": best, "depth_x": where[0], "depth_y": where[1]}
    for axis, (side, blocks) in enumerate((("x", blocks_x), ("y", blocks_y))):
        starts = np.array([block.start for block in blocks.values()])
        index = where[axis] + (starts[:, None] if side == "x" else starts[None, :])
        names = np.asarray(scores[f"layer_name_{side}"].values, dtype=object)[index]
        variables[f"layer_{side}"] = np.where(where[axis] < 0, "", names).astype(object)
    return xr.Dataset(
        {name: (("model_x", "model_y"), values) for name, values in variables.items()},
        coords={"model_x": list(blocks_x), "model_y": list(blocks_y)},
    )


def mean_layers(scores: xr.DataArray) -> xr.DataArray:
    """The mean over all layer pairs of every model pair, NaN cells passed over."""
    return _reduce(scores, _mean)


def same_depth_layers(scores: xr.DataArray) -> xr.DataArray:
    """The mean over layers of x, each with the layer of y at the nearest relative depth; NaN cells are passed over.

    Layer i of L is at i / (L - 1), from 0 (first) to 1 (last); a lone layer is the last of its model. Of two layers of
    y that are equally near, the shallower is taken.
    """
    return _reduce(scores, lambda block: _mean(block[np.arange(len(block)), same_depth(*block.shape)]))


def same_depth(layers_x: int, layers_y: int) -> np.ndarray:
    """For each layer of x the layer of y at the nearest relative depth, compared in whole numbers."""
    place_x, place_y = (np.arange(n) if n > 1 else np.ones(1, int) for n in (layers_x, layers_y))
    return np.abs(place_x[:, None] * max(layers_y - 1, 1) - place_y * max(layers_x - 1, 1)).argmin(axis=1)


def reduce_layers(scores: xr.DataArray, how: How, *, larger_is_closer: bool = True) -> xr.DataArray:
    """One number for every model pair: by a name in HOW, or by a function of the scores (layers of x, layers of y)."""
    if callable(how):
        return _reduce(scores, how)
    if how not in HOW:
        raise ValueError(f"Unknown reduction {how!r}; there are {', '.join(HOW)}, or give a function of a 2-D array.")
    if how == "best":
        return best_layers(scores, larger_is_closer=larger_is_closer)["score"]
    if how in WEIGHTS:
        sign = 1 if larger_is_closer else -1
        null = Null(aggregate=how)
        return _reduce(scores, lambda block: sign * null.reduce(sign * block))
    return mean_layers(scores) if how == "mean" else same_depth_layers(scores)


def _mean(values: np.ndarray) -> Any:
    return values.dtype.type(np.nan) if np.isnan(values).all() else np.nanmean(values)


def _reduce(scores: xr.DataArray, function: Callable[[np.ndarray], Any]) -> xr.DataArray:
    blocks_x, blocks_y = (model_blocks(scores[f"model_{side}"].values) for side in "xy")
    matrix = scores.transpose("layer_x", "layer_y").values
    values = [[function(matrix[rows, columns]) for columns in blocks_y.values()] for rows in blocks_x.values()]
    for value in itertools.chain.from_iterable(values):
        if np.ndim(value) != 0:
            raise ValueError(f"A reduction gives one number for a model pair; this one gave shape {np.shape(value)}.")
    return xr.DataArray(
        np.array(values), dims=("model_x", "model_y"), coords={"model_x": list(blocks_x), "model_y": list(blocks_y)}
    )
