"""Results of a null for an observed score: p-values, the critical score, calibrated scores, and rates over many pairs.

The rules for one pair are those of Groeger, Wen and Brbic (2026), "Revisiting the Platonic Representation Hypothesis:
an Aristotelian View". Larger scores are closer here; callers turn scores round where a metric says otherwise.
"""

from typing import Any, NamedTuple

import numpy as np

TIE = 2.0**-21
"""Relative difference up to which scores are equal: what rounding makes of sums of float32 scores in other orders."""


class Calibrated(NamedTuple):
    """Results of the null for each score: arrays of the scores' shape."""

    p: np.ndarray
    tau: np.ndarray
    calibrated: np.ndarray
    orders: np.ndarray


def calibrate_scores(
    observed: Any, null: Any, *, alpha: float, highest: float | None, stop_after: int | None = None
) -> Calibrated:
    """p-value, critical score and calibrated score of each observed score, from its null (orders, ...).

    With K orders: `p = (1 + #{null >= observed}) / (K + 1)`, where scores that rounding alone parts are equal; tau the
    ceil((1 - alpha)(K + 1))-th smallest of the observed and the K nulls; `calibrated = (observed - tau) / (highest -
    tau)` cut to [0, 1], or `max(observed - tau, 0)` where no highest score is known. With `stop_after = h`, a null that
    reaches the observed for the h-th time at order l stops there: `p = h / l`, and tau is that of the l orders. NaN in,
    NaN out.
    """
    observed = np.asarray(observed)
    count = len(null)
    reached = as_close(null, observed)
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


def as_close(null: Any, observed: Any) -> Any:
    """Which scores of a null (orders, ...) are at least the observed ones; equal ones that rounding parted are, too."""
    return null >= observed - TIE * np.abs(observed)


def unmoved(observed: Any, null: Any) -> Any:
    """Which observed scores all orders (orders, ...) leave as they are, to the bit."""
    return (null == observed).all(axis=0)


def still_open(observed: Any, null: Any, stop_after: int | None) -> Any:
    """Which scores still need orders, after those of the null so far (orders, ...)."""
    if stop_after is None or not len(null):
        return np.ones(np.shape(observed), bool)
    return as_close(null, observed).sum(axis=0) < stop_after


def false_discovery(p: np.ndarray, method: str) -> np.ndarray:
    """q-values over all pairs: "bh" (Benjamini and Hochberg) or "by" (Benjamini and Yekutieli, any dependence)."""
    from scipy import stats  # slow to import, and needed here alone

    q = np.full(p.shape, np.nan)
    known = np.isfinite(p)
    if known.any():
        q[known] = stats.false_discovery_control(p[known], method=method)
    return q
