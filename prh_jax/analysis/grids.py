"""Patches of one grid resampled to another, so that models of different resolution have the same tokens."""

import operator
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..numerics.real import as_real


def resample_grid(features: Any, grid: Sequence[int], to: Sequence[int], *, antialias: bool = False) -> Any:
    """Compute the features of patches of another grid, by bilinear interpolation.

    The result is `R x C'`, where R and C interpolate rows and columns of the grid x. A patch of the new grid at row i
    is at `(i + 1/2) h / h' - 1/2` of the old one, and takes from its two neighbours there. Beyond the centres of the
    outer patches it takes the outer one. These are the weights of
    `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`.

    Parameters
    ----------
    features
        Patches (n * h * w, d), as a store of tokens has them, or (n, h * w, d). They follow each other row by row of
        the grid.
    grid
        Rows and columns (h, w) of the patches.
    to
        Rows and columns (h', w') of the result.
    antialias
        For smaller grids, weight all patches within reach of a new one by their distance, as torch does with
        `antialias=True`. Otherwise some patches do not count.

    Returns
    -------
    Array
        Patches (n * h' * w', d) or (n, h' * w', d), in float32, or float64 if the features are and JAX allows it.

    Raises
    ------
    ValueError
        If a grid is not two numbers of at least 1, or the rows are no whole number of grids.

    Examples
    --------
    >>> import prh_jax
    >>> prh_jax.resample_grid([[0.0], [1.0]], (1, 2), (1, 4)).ravel().tolist()
    [0.0, 0.25, 0.75, 1.0]
    """
    h, w = _grid("grid", grid)
    new_h, new_w = _grid("to", to)
    x = as_real("resample_grid", features)
    x = x if x.dtype == jnp.float64 else x.astype(jnp.float32)
    rows = x.shape[-2] if x.ndim in (2, 3) else 0
    if not rows or (rows % (h * w) if x.ndim == 2 else rows != h * w):
        raise ValueError(
            f"Patches of a grid of {h} x {w} have shape (n * {h * w}, d) or (n, {h * w}, d), got {x.shape}: leave out "
            "class tokens and registers, and give the grid that the store records."
        )
    maps = x.reshape(-1, h, w, x.shape[-1])
    down, across = (jnp.asarray(_weights(old, new, antialias), x.dtype) for old, new in ((h, new_h), (w, new_w)))
    found = jnp.einsum("ih,nhwd->niwd", down, maps, precision="highest")
    found = jnp.einsum("jw,niwd->nijd", across, found, precision="highest")
    return found.reshape(-1, x.shape[-1]) if x.ndim == 2 else found.reshape(len(found), -1, x.shape[-1])


def _grid(name: str, given: Any) -> tuple[int, int]:
    try:
        rows, columns = (operator.index(side) for side in given)
    except (TypeError, ValueError):  # no whole numbers, or not two
        rows = columns = 0
    if min(rows, columns) < 1:
        raise ValueError(f"{name}= is the rows and columns of a grid, such as (16, 16), got {given!r}.")
    return rows, columns


def _weights(old: int, new: int, antialias: bool) -> np.ndarray:
    """Weights (new, old) of the old places in the new ones: triangles, cut at the ends; rows sum to 1."""
    scale = old / new
    reach = max(scale, 1.0) if antialias else 1.0
    centre = (np.arange(new) + 0.5) * scale - 0.5
    if not antialias:
        centre = centre.clip(0, old - 1)
    found = (1 - abs(np.arange(old) - centre[:, None]) / reach).clip(0)
    return found / found.sum(axis=1, keepdims=True)
