"""Ranks of the right answers in a gallery, and what they are by chance."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

TIE = 1e-9
"""Difference up to which similarities are equal, as a share of the largest: what rounding makes of equal rows."""


def group_ranks(similarity: Float[np.ndarray, "q m"], codes: Int[np.ndarray, " m"]) -> Int[np.ndarray, "q g"]:
    """For each query the rank of the first sample of every group in the gallery, from 1 up.

    It is one more than the number of samples of other groups that are at least as similar: ties count against the
    group. A similarity that is NaN is the least. `codes` are 0 to g - 1, each of one sample or more.
    """
    count = similarity.shape[1]
    similarity = np.where(np.isnan(similarity), -np.inf, similarity)
    order = np.argsort(-similarity, axis=1)
    falling = np.take_along_axis(similarity, order, axis=1)
    largest = np.abs(np.where(np.isfinite(falling), falling, 0)).max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):  # two that are infinite
        ends = falling[:, :-1] - falling[:, 1:] > TIE * largest
    last = np.where(np.pad(ends, ((0, 0), (0, 1)), constant_values=True), np.arange(1, count + 1), count)
    last = np.minimum.accumulate(last[:, ::-1], axis=1)[:, ::-1]
    ranks = np.empty_like(last)
    np.put_along_axis(ranks, order, last, axis=1)
    sizes = np.bincount(codes)
    if (sizes == 1).all():
        return ranks[:, np.argsort(codes)]
    ranks = ranks[:, np.argsort(codes, kind="stable")]
    starts = np.cumsum(sizes) - sizes
    first = np.minimum.reduceat(ranks, starts, axis=1)
    beside = np.add.reduceat(ranks == np.repeat(first, sizes, axis=1), starts, axis=1)
    return first - beside + 1


def chance_ranks(right: Sequence[int], gallery: int, ks: Sequence[int]) -> tuple[Float[np.ndarray, " k"], float]:
    """Recall at each k, and the mean reciprocal rank, if every order of the gallery is equally likely.

    With g right answers in a gallery of m, the first of them is beyond place k with probability C(m - g, k) / C(m, k).
    With one, recall is k / m and the mean reciprocal rank `(1 + 1/2 + ... + 1/m) / m`.

    Parameters
    ----------
    right
        Number of right answers of each query.
    gallery
        Number of samples in the gallery, m.
    ks
        Numbers of places.
    """
    recall, reciprocal = np.zeros(len(ks)), 0.0
    places = np.arange(gallery)
    for g, queries in zip(*np.unique(np.asarray(right), return_counts=True), strict=True):
        beyond = np.cumprod(np.maximum(gallery - g - places, 0) / (gallery - places))
        share = queries / len(right)
        recall += share * (1 - beyond[np.asarray(ks) - 1])
        reciprocal += share * float(-np.diff(beyond, prepend=1) @ (1 / (places + 1)))
    return recall, reciprocal


def rank_scores(ranks: Int[np.ndarray, "... q"], ks: Sequence[int]) -> Float[np.ndarray, "... s"]:
    """Recall at each k, then the mean reciprocal rank, of the ranks of queries."""
    recalls: list[Any] = [(ranks <= k).mean(axis=-1) for k in ks]
    return np.stack([*recalls, (1 / ranks).mean(axis=-1)], axis=-1)
