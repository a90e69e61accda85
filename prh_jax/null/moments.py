"""Moments of a score over all orders in closed form, for scores that are one inner product of per-layer matrices.

    t(order) = sum_ij A_ij B_order(i)order(j)

Over uniform orders, `E[t^m]` splits by which of the 2m indices coincide: with `S_P(A)` the sum of `A_ij A_kl ...` over
distinct samples for each block of the partition P of the indices,

    E[t^m] = sum_P S_P(A) S_P(B) / (n (n-1) ... (n-|P|+1))

(Mantel 1967 for m = 2). So the mean, the variance and the third moment of every cell of a layer-by-layer matrix are
matrix products of a few numbers a layer. The off-diagonal entries and the diagonal of A are centred first, each by its
mean: what is left has mean zero under chance, and nothing cancels.
"""

import itertools
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from .forms import Parts

Labels = tuple[int, ...]
"""A partition of the 2m indices of m matrices: the block of each index, blocks numbered as they appear."""


class MatrixSums(NamedTuple):
    """Sketch of a layer for the moments: means of its matrix, off and on the diagonal, and `S_P` of the centred one.

    `second` and `third` have a number for each class of partitions of 4 and of 6 indices.
    """

    means: Any
    second: Any
    third: Any


class NullMoments(NamedTuple):
    """Mean, standard deviation and skewness over orders, of each cell; skewness NaN where it was not asked for."""

    mean: np.ndarray
    sd: np.ndarray
    skewness: np.ndarray


def _partitions(size: int) -> list[Labels]:
    found: list[Labels] = [()]
    for _ in range(size):
        found = [(*p, block) for p in found for block in range(max(p, default=-1) + 2)]
    return found


def _renumbered(labels: Sequence[int]) -> Labels:
    numbers: dict[int, int] = {}
    return tuple(numbers.setdefault(label, len(numbers)) for label in labels)


def _class_of(labels: Labels) -> Labels:
    """The first among the forms of a partition that differ by the order of the matrices: their sums are equal."""
    edges = [labels[i : i + 2] for i in range(0, len(labels), 2)]
    return min(_renumbered([end for edge in order for end in edge]) for order in itertools.permutations(edges))


@lru_cache(maxsize=4)
def _classes(degree: int) -> tuple[tuple[Labels, ...], np.ndarray, np.ndarray]:
    """Classes of partitions of 2 * degree indices, how many partitions each has, and `distinct = matrix @ free` sums.

    A free sum lets blocks coincide. By Moebius inversion the sum over distinct samples is the sum over coarser
    partitions Q of `mu(P, Q) free_Q`, `mu` the product over blocks of Q of `(-1)^(b-1) (b-1)!`, b the blocks joined.
    """
    partitions = _partitions(2 * degree)
    classes = tuple(dict.fromkeys(map(_class_of, partitions)))
    place = {labels: i for i, labels in enumerate(classes)}
    counts = np.bincount([place[_class_of(p)] for p in partitions])
    matrix = np.zeros((len(classes), len(classes)))
    for row, labels in enumerate(classes):
        for joining in _partitions(max(labels) + 1):
            coarser = _renumbered([joining[block] for block in labels])
            sizes = np.bincount(joining)
            sign = np.prod([(-1.0) ** (b - 1) * float(np.prod(np.arange(1, b))) for b in sizes])
            matrix[row, place[_class_of(coarser)]] += sign
    return classes, counts, matrix


def _free_sum(parts: Parts, labels: Labels) -> float:
    """`sum A_ab A_cd ...` with one letter a block, each over all samples.

    Matrices are edges between blocks. A block whose edges all go to one other is summed first, and leaves a factor of
    that other's samples; so does an edge from a block to itself.
    """
    ends = [labels[i : i + 2] for i in range(0, len(labels), 2)]
    factors = {block: ["d"] * ends.count((block, block)) for block in set(labels)}
    edges = [(a, b) for a, b in ends if a != b]
    for block in sorted(factors, reverse=True):
        others = {end for edge in edges if block in edge for end in edge} - {block}
        if len(others) == 1 and not factors[block]:
            (other,) = others
            out, back = edges.count((other, block)), edges.count((block, other))
            factors[other].append("r" * out + "c" * back)
            edges = [edge for edge in edges if block not in edge]
            del factors[block]
    if len(edges) == 3:
        return parts.rings[0 if len({start for start, _ in edges}) == 3 else 1]  # each sample starts an edge of a cycle
    if edges:
        ((a, b),) = edges
        return parts.samples[factors[a][0]] @ parts.through[factors[b][0]]
    return float(np.prod([np.sum(np.prod([parts.samples[f] for f in found], axis=0)) for found in factors.values()]))


def matrix_sums(parts: Parts, *, third: bool) -> MatrixSums:
    """Sums of a layer's matrix that the moments need."""
    sums = []
    for degree in (2, 3) if third else (2,):
        classes, _, to_distinct = _classes(degree)
        sums.append(to_distinct @ np.array([_free_sum(parts, labels) for labels in classes]))
    return MatrixSums(parts.means, *sums, *([] if third else [np.zeros(0)]))


def null_moments(a: Sequence[MatrixSums], b: Sequence[MatrixSums], n: int) -> NullMoments:
    """Exact moments of every cell of the layer-by-layer matrix over all n! orders of the samples."""
    x, y = (MatrixSums(*(np.stack(part) for part in zip(*side, strict=True))) for side in (a, b))
    mean = n * (n - 1) * np.outer(x.means[:, 0], y.means[:, 0]) + n * np.outer(x.means[:, 1], y.means[:, 1])
    variance = _moment(x.second, y.second, n, 2)
    sd = np.sqrt(np.maximum(variance, 0))
    if not x.third.size:
        return NullMoments(mean, sd, np.full_like(mean, np.nan))
    with np.errstate(divide="ignore", invalid="ignore"):
        return NullMoments(mean, sd, _moment(x.third, y.third, n, 3) / sd**3)


def _moment(x: np.ndarray, y: np.ndarray, n: int, degree: int) -> np.ndarray:
    classes, counts, _ = _classes(degree)
    blocks = np.array([max(labels) + 1 for labels in classes])
    falling = np.array([np.prod(np.arange(n, n - b, -1.0)) if b <= n else np.inf for b in blocks])
    return (x * (counts / falling)) @ y.T


def tail_probability(scores: np.ndarray, moments: NullMoments) -> np.ndarray:
    """Approximate chance of a score at least as high, by the Pearson type III curve of the same three moments.

    An approximation: exact moments, but not the exact distribution. NaN where there is no skewness or no spread.
    """
    from scipy import stats  # slow to import, and needed here alone

    z = (scores - moments.mean) / np.where(moments.sd > 0, moments.sd, np.nan)
    known = np.isfinite(z) & np.isfinite(moments.skewness)
    tail = np.full(z.shape, np.nan)
    tail[known] = stats.pearson3.sf(z[known], moments.skewness[known])
    return tail
