"""Intervals for scores: how far a score would move with other samples of the same kind.

Never by resampling rows with replacement: a sample drawn twice is its own nearest neighbour in both layers, and its
entries agree in both Gram matrices. Two independent layers at unbiased CKA -0.013 get the bootstrap interval
[0.249, 0.353]. Subsets without replacement have no such twins.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy import stats

from .calibration import Null
from .metric import Metric
from .preprocess import Preprocess
from .subsets import Layers, as_metric, both_sides, draw_subsets, layer_parts, score_subsets, with_k


class Interval(NamedTuple):
    """A score with its interval and standard error."""

    score: float
    low: float
    high: float
    standard_error: float


def interval(
    x: Layers,
    y: Layers,
    metric: str | Metric,
    *,
    confidence: float = 0.95,
    subsets: int = 200,
    fraction: float = 0.5,
    aggregate: str = "max",
    scale_k: bool = True,
    seed: int = 0,
    preprocess: Preprocess | None = None,
) -> Interval:
    """Interval for the expected score at this number of samples, by the delete-d jackknife.

    Subsets of `m = fraction n` samples are scored anew; with their variance v, the standard error of the score at n
    samples is `sqrt(v m / (n - m))` (Shao and Wu 1989), and the interval is `score +- z * standard error`, cut to the
    metric's bounds. The score itself is not recentred: where it depends on n (biased CKA, mutual kNN), so does what the
    interval is for.

    x, y       features (n, d), a sequence of layers, or a feature store; of several layers, `aggregate` is taken anew
               in each subset
    scale_k    neighbours in a subset: the same share of the samples (k m / n, rounded; default), so that a
               neighbourhood keeps its size in the data; False keeps k
    subsets    number of subsets; `fraction` of the samples in each, in (0, 1)
    preprocess applied to stores; arrays are taken as given

    Valid where the score varies at the rate of root n: not for layers that are independent, where the null says more.
    """
    if not 0 < confidence < 1 or not 0 < fraction < 1 or subsets < 2:
        raise ValueError(
            f"An interval needs 0 < confidence < 1, 0 < fraction < 1 and at least 2 subsets, got {confidence}, "
            f"{fraction} and {subsets}."
        )
    metric, reduce = as_metric(metric), Null(aggregate=aggregate).reduce
    xs, ys, n = both_sides(x, y, preprocess)
    m = round(fraction * n)
    if not 4 <= m < n:
        raise ValueError(f"Subsets of {m} of {n} samples are too small or too large; at least 4 and fewer than {n}.")
    reduced = with_k(metric, n, m, scale_k)
    parts = [layer_parts(metric.sketch, side) for side in (xs, ys)]
    score = float(reduce(np.asarray(score_subsets(*parts, jnp.arange(n)[None], metric=metric)))[0])
    chosen = jnp.asarray(draw_subsets(n, m, subsets, seed))
    values = reduce(np.asarray(score_subsets(*parts, chosen, metric=reduced), np.float64))
    error = float(np.sqrt(values.var(ddof=1) * m / (n - m)))
    reach = float(stats.norm.ppf(0.5 + confidence / 2)) * error
    low, high = metric.bounds
    return Interval(score, max(low, score - reach), min(high, score + reach), error)
