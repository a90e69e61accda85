"""How score and chance move with the number of samples, and with the number of neighbours."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr

from ..engine.preprocess import Preprocess
from ..metrics.base import Metric, highest_score
from ..null.orders import make_orders
from ..null.pvalues import calibrate_scores
from ..null.settings import Null
from ..numerics.whole import check_whole
from ..sketches.neighbors import share_lists
from .subsets import (
    Layers,
    Sides,
    as_metric,
    both_sides,
    layer_parts,
    part_sketcher,
    score_null,
    sketch_subset,
    with_k,
)


def curve_over_n(
    x: Layers,
    y: Layers,
    metric: str | Metric,
    sizes: Sequence[int],
    null: Null | None = None,
    *,
    scale_k: bool = False,
    preprocess: Preprocess | None = None,
) -> xr.Dataset:
    """Compute score, null and calibrated score for growing numbers of samples.

    Subsets are nested: each contains the smaller ones, in an order from the null's seed. Inner products are computed
    once.

    Parameters
    ----------
    x, y
        Layers, as in `interval`.
    metric
        A metric, or the name of one.
    sizes
        Numbers of samples.
    null
        Settings of the null; 200 permutations if None.
    scale_k
        Keep the share of the samples that are neighbours. False keeps k.
    preprocess
        Preprocessing of stores. Arrays are taken as they are.

    Returns
    -------
    Dataset
        Score, mean and spread of the null, critical and calibrated score, and p, by number of samples.

    Raises
    ------
    ValueError
        If a size is out of range.
    """
    metric, null = as_metric(metric), null or Null()
    sides = both_sides(x, y, preprocess)
    n = sides.n
    for size in sizes:
        check_whole(1, sizes=size)
        if not 4 <= size <= n:
            raise ValueError(f"A subset of {size} samples cannot be taken from {n}; sizes are from 4 to {n}.")
    parts = [layer_parts(metric.sketcher, side) for side in (sides.xs, sides.ys)]
    drawn = np.random.default_rng(null.seed).permutation(n).astype(np.int32)
    points = []
    for m in sizes:
        of_m, samples = with_k(metric, n, m, scale_k), jnp.asarray(np.sort(drawn[:m]))
        sketches = sketch_subset((parts[0], parts[1]), samples, sketcher=part_sketcher(of_m, m, *parts))
        points.append(_point(sketches, sides, of_m, m, null))
    return xr.concat(points, dim="n").assign_coords(n=list(sizes))


def curve_over_k(
    x: Layers,
    y: Layers,
    metric: str | Metric,
    ks: Sequence[int],
    null: Null | None = None,
    *,
    preprocess: Preprocess | None = None,
) -> xr.Dataset:
    """Compute score, null and calibrated score for growing numbers of neighbours k, over all samples.

    The longest neighbour lists are computed once. `align` with "mutual_knn:k=5,20,50" does the same for all pairs of
    many models.

    Parameters
    ----------
    x, y
        Layers, as in `interval`.
    metric
        A metric of nearest neighbours, or the name of one.
    ks
        Numbers of neighbours.
    null
        Settings of the null; 200 permutations if None.
    preprocess
        Preprocessing of stores. Arrays are taken as they are.

    Returns
    -------
    Dataset
        Score, mean and spread of the null, critical and calibrated score, and p, by k.

    Raises
    ------
    ValueError
        If the metric has no k, or a k is out of range.
    """
    metric, null = as_metric(metric), null or Null()
    if "k" not in metric.settings:
        raise ValueError(f"{metric.name} has no setting k; its settings are {', '.join(metric.settings) or 'none'}.")
    for k in ks:
        check_whole(1, ks=k)
    sides = both_sides(x, y, preprocess)
    parts = [layer_parts(metric.sketcher, side) for side in (sides.xs, sides.ys)]
    metrics = {str(k): dataclasses.replace(metric, k=k) for k in ks}
    made = share_lists({k: part_sketcher(of_k, sides.n, *parts) for k, of_k in metrics.items()})
    every, sketches, points = jnp.arange(sides.n, dtype=jnp.int32), {}, []
    for k, of_k in metrics.items():
        if made[k] not in sketches:
            sketches[made[k]] = sketch_subset((parts[0], parts[1]), every, sketcher=made[k])
        points.append(_point(sketches[made[k]], sides, of_k, sides.n, null))
    return xr.concat(points, dim="k").assign_coords(k=list(ks))


def _point(sketches: list[Any], sides: Sides, metric: Metric, n: int, null: Null) -> xr.Dataset:
    orders = make_orders(n, null.orders, null.seed)
    left, right = sketches
    scores, chance = score_null(left, right, jnp.asarray(orders), metric=metric)
    sign = 1 if metric.larger_is_closer else -1
    score = null.reduce(sign * sides.apart(scores)[None])[0]
    spread = null.reduce(sign * sides.apart(chance))
    found = calibrate_scores(score, spread, alpha=null.alpha, highest=highest_score(metric), stop_after=null.stop_after)
    values = {
        "score": sign * score,
        "null_mean": sign * spread.mean(),
        "null_sd": spread.std(),
        "tau": sign * found.tau,
        "p": found.p,
        "calibrated": found.calibrated,
    }
    return xr.Dataset({name: float(value) for name, value in values.items()})
