"""What a null says of an observed score: p-values, the critical score, calibrated scores, and rates over many pairs.

The rules for one pair are those of Groeger, Wen and Brbic (2026), "Revisiting the Platonic Representation Hypothesis:
an Aristotelian View". Larger scores are closer here; callers turn scores round where a metric says otherwise.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Aggregate = Callable[[np.ndarray], Any]


def row_max_mean(scores: np.ndarray) -> Any:
    """For each layer of x its best layer of y, averaged over the layers of x; NaN cells are passed over."""
    return np.nanmean(np.nanmax(scores, axis=-1), axis=-1)


AGGREGATES: dict[str, Aggregate] = {
    "max": lambda scores: np.nanmax(scores, axis=(-2, -1)),
    "mean": lambda scores: np.nanmean(scores, axis=(-2, -1)),
    "row_max_mean": row_max_mean,
}
"""From the scores (..., layers of x, layers of y) of a model pair to its alignment score."""


@dataclasses.dataclass(frozen=True)
class Null:
    """How chance is found: the same orders re-pair the samples of every layer of y with those of x.

    orders      number of orders; all of them, once each, where the samples have no more
    seed        order i depends on the seed and on i alone
    alpha       level of the critical score, in (0, 1)
    aggregate   from the layer pairs of a model pair to its score: a name in AGGREGATES, or a function of the scores
                (layers of x, layers of y); it is applied to the observed scores and under each order alike
    stop_after  stop a model pair at so many orders that score at least the observed (Besag and Clifford 1991): clear
                cases of chance cost few orders. None runs all orders for every pair
    tail        also the skewness of every cell and its tail probability, where scores are inner products
    cells       also keep the null of every layer pair (orders x layers x layers, float32)
    """

    orders: int = 200
    seed: int = 0
    alpha: float = 0.05
    aggregate: str | Aggregate = "max"
    stop_after: int | None = None
    tail: bool = True
    cells: bool = False

    def __post_init__(self):
        for name in ("orders", "stop_after"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | np.integer) and value >= 1):
                raise ValueError(f"A null needs {name} to be a whole number of at least 1, got {value!r}.")
        if not (isinstance(self.seed, int | np.integer) and self.seed >= 0):
            raise ValueError(f"A null's seed is a whole number of at least 0, got {self.seed!r}.")
        if not 0 < self.alpha < 1:
            raise ValueError(f"A null needs 0 < alpha < 1, got {self.alpha!r}.")
        if isinstance(self.aggregate, str) and self.aggregate not in AGGREGATES:
            raise ValueError(
                f"Unknown aggregate {self.aggregate!r}; there are {', '.join(AGGREGATES)}, or give a function."
            )

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as plain values; a function by its name."""
        name = self.aggregate if isinstance(self.aggregate, str) else f"function {_name(self.aggregate)}"
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)} | {"aggregate": name}

    def reduce(self, scores: np.ndarray) -> Any:
        """The aggregate of scores (..., layers of x, layers of y); NaN where all are NaN."""
        if np.isnan(scores).all(axis=(-2, -1)).any():
            known = ~np.isnan(scores).all(axis=(-2, -1))
            out = np.full(scores.shape[:-2], np.nan)
            out[known] = self.reduce(scores[known])
            return out
        if isinstance(self.aggregate, str):
            return AGGREGATES[self.aggregate](scores)
        flat = scores.reshape(-1, *scores.shape[-2:])
        return np.array([float(self.aggregate(s)) for s in flat]).reshape(scores.shape[:-2])


def _name(function: Any) -> str:
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', repr(function))}"


class Calibrated(NamedTuple):
    """What the null says of each score: arrays of the scores' shape."""

    p: np.ndarray
    tau: np.ndarray
    calibrated: np.ndarray
    orders: np.ndarray


def calibrate_scores(
    observed: Any, null: Any, *, alpha: float, highest: float | None, stop_after: int | None = None
) -> Calibrated:
    """p-value, critical score and calibrated score of each observed score, from its null (orders, ...).

    With K orders: `p = (1 + #{null >= observed}) / (K + 1)`; tau the ceil((1 - alpha)(K + 1))-th smallest of the
    observed and the K nulls; `calibrated = (observed - tau) / (highest - tau)` cut to [0, 1], or
    `max(observed - tau, 0)` where no highest score is known. With `stop_after = h`, a null that reaches the observed
    for the h-th time at order l stops there: `p = h / l`, and tau is that of the l orders. NaN in, NaN out.
    """
    observed = np.asarray(observed)
    count = len(null)
    reached = null >= observed
    used = np.full(observed.shape, count)
    p = (1 + reached.sum(axis=0)) / (count + 1)
    if stop_after is not None:
        hits = np.cumsum(reached, axis=0)
        stopped = hits[-1] >= stop_after
        used = np.where(stopped, np.argmax(hits >= stop_after, axis=0) + 1, used)
        p = np.where(stopped, stop_after / used, p)
    beyond = np.arange(count).reshape(-1, *[1] * observed.ndim) >= used
    pooled = np.sort(np.concatenate([observed[None], np.where(beyond, np.inf, null)]), axis=0)
    place = np.clip(np.ceil((1 - alpha) * (used + 1)).astype(int) - 1, 0, used)
    tau = np.take_along_axis(pooled, place[None], axis=0)[0]
    above = np.maximum(observed - tau, 0)
    calibrated = above if highest is None else np.clip(above / np.maximum(highest - tau, 1e-12), 0, 1)
    unknown = np.isnan(observed) | (np.isnan(null) & ~beyond).any(axis=0)
    p, tau, calibrated = (np.where(unknown, np.nan, z) for z in (p, tau, calibrated))
    return Calibrated(p, tau, calibrated, used)


def still_open(observed: Any, null: Any, stop_after: int | None) -> Any:
    """Which scores still need orders, after those of the null so far (orders, ...)."""
    if stop_after is None or not len(null):
        return np.ones(np.shape(observed), bool)
    return (null >= observed).sum(axis=0) < stop_after


def false_discovery(p: np.ndarray, method: str) -> np.ndarray:
    """q-values over all pairs: "bh" (Benjamini and Hochberg) or "by" (Benjamini and Yekutieli, any dependence)."""
    from scipy import stats  # slow to import, and needed here alone

    q = np.full(p.shape, np.nan)
    known = np.isfinite(p)
    if known.any():
        q[known] = stats.false_discovery_control(p[known], method=method)
    return q
