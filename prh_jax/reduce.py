"""From the layer-by-layer matrix to model pairs: reductions of labelled scores that keep their labels."""

import numpy as np
import xarray as xr


def model_blocks(labels: np.ndarray) -> dict[str, slice]:
    """The range of layers of each model, in order; layers of a model stand together."""
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
    return _reduce(scores, np.nanmean)


def _reduce(scores: xr.DataArray, function) -> xr.DataArray:
    blocks_x, blocks_y = (model_blocks(scores[f"model_{side}"].values) for side in "xy")
    values = [[function(scores.values[rows, columns]) for columns in blocks_y.values()] for rows in blocks_x.values()]
    return xr.DataArray(
        np.array(values), dims=("model_x", "model_y"), coords={"model_x": list(blocks_x), "model_y": list(blocks_y)}
    )
