"""Neighbour lists compared as sets and as rankings: Jaccard index, rank similarity, and both."""

import dataclasses
from typing import Any

from ..base import Score
from .base import FractionMetric
from .comparisons import Jaccard, RankWeights


@dataclasses.dataclass(frozen=True)
class KnnJaccard(FractionMetric):
    """Mean Jaccard index of each sample's k nearest neighbours in the two layers.

    `score = mean_i |knn_x(i) & knn_y(i)| / |knn_x(i) | knn_y(i)|`, with knn the k nearest samples. The function
    `knn_jaccard` has the details.

    Parameters
    ----------
    k, normalize, queries
        As in `knn_jaccard`.
    """

    name = "knn_jaccard"
    source = "Schumacher et al. 2021, arXiv:2005.10039; Klabunde et al. 2025, arXiv:2305.06329"
    comparison = Jaccard()


@dataclasses.dataclass(frozen=True)
class RankSimilarity(FractionMetric):
    """How alike shared neighbours rank in the two layers, with most weight near the top.

    `score = mean_i sum_j 2 / ((1 + |p_j - q_j|) (p_j + q_j)) / sum_{m=1..o} 1/m`, with j the o shared neighbours of
    sample i, and p and q their ranks in the two lists. The function `rank_similarity` has the details.

    Parameters
    ----------
    k, normalize, queries
        As in `rank_similarity`.
    """

    name = "rank_similarity"
    source = "Wang et al. 2022, IEEE TKDE; Klabunde et al. 2025, arXiv:2305.06329"
    comparison = RankWeights()


@dataclasses.dataclass(frozen=True)
class JointRankJaccard(FractionMetric):
    """Jaccard index times rank similarity of each sample's neighbours, on average over samples.

    `score = mean_i jaccard_i rank_i`, with the terms of `knn_jaccard` and `rank_similarity` for sample i. The
    function `joint_rank_jaccard` has the details.

    Parameters
    ----------
    k, normalize, queries
        As in `joint_rank_jaccard`.
    """

    name = "joint_rank_jaccard"
    source = "Wang et al. 2022, IEEE TKDE; Klabunde et al. 2025, arXiv:2305.06329"
    comparison = RankWeights(jaccard=True)


def knn_jaccard(x: Any, y: Any, *, k: int = 10, normalize: bool = True, queries: int = 0) -> Score:
    """Return the mean Jaccard index of each sample's k nearest neighbours in two layers.

    `score = mean_i |knn_x(i) & knn_y(i)| / |knn_x(i) | knn_y(i)|`, with knn the k nearest samples. A sample with o
    shared neighbours has `o / (2 k - o)`, never more than the `o / k` of `mutual_knn`. The score is about
    `k / (2 (n - 1))` at chance.

    Parameters
    ----------
    x, y
        Features (n, dx) and (n, dy), n >= 4. Row i of both is the same sample.
    k
        Number of neighbours of each sample, 1 <= k < n.
    normalize
        True takes neighbours by cosine similarity, False by the dot product of rows as they are.
    queries
        Number of samples whose neighbours are compared, drawn with a fixed seed. 0 compares those of all samples.

    Returns
    -------
    Array
        Score in [0, 1]. NaN where all samples of a layer are equal, or a feature is not finite.

    Raises
    ------
    ValueError
        If the shapes do not match or a setting is out of range.
    TypeError
        If the features are not real numbers, or `jax.grad` asks for a derivative, which the metric lacks.

    References
    ----------
    Schumacher et al. 2021, arXiv:2005.10039; Klabunde et al. 2025, arXiv:2305.06329.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> y = x + rng.normal(size=(20, 4))
    >>> print(f"{prh_jax.knn_jaccard(x, y, k=3):.2f}")
    0.36
    """
    return KnnJaccard(k, normalize, queries=queries)(x, y)


def rank_similarity(x: Any, y: Any, *, k: int = 10, normalize: bool = True, queries: int = 0) -> Score:
    """Return how alike shared neighbours rank in two layers, with most weight near the top.

    `score = mean_i sum_j 2 / ((1 + |p_j - q_j|) (p_j + q_j)) / sum_{m=1..o} 1/m`, with j the o shared neighbours of
    sample i, and p and q their ranks in the two lists. A sample without shared neighbours has 0. One neighbour shared
    at the top scores 1, so more overlap may score less; `joint_rank_jaccard` avoids this.

    Parameters
    ----------
    x, y
        Features (n, dx) and (n, dy), n >= 4. Row i of both is the same sample.
    k
        Number of neighbours of each sample, 1 <= k < n.
    normalize
        True takes neighbours by cosine similarity, False by the dot product of rows as they are.
    queries
        Number of samples whose neighbours are compared, drawn with a fixed seed. 0 compares those of all samples.

    Returns
    -------
    Array
        Score in [0, 1]. NaN where all samples of a layer are equal, or a feature is not finite.

    Raises
    ------
    ValueError
        If the shapes do not match or a setting is out of range.
    TypeError
        If the features are not real numbers, or `jax.grad` asks for a derivative, which the metric lacks.

    References
    ----------
    Wang et al. 2022, IEEE TKDE; Klabunde et al. 2025, arXiv:2305.06329.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> y = x + rng.normal(size=(20, 4))
    >>> print(f"{prh_jax.rank_similarity(x, y, k=3):.2f}")
    0.54
    """
    return RankSimilarity(k, normalize, queries=queries)(x, y)


def joint_rank_jaccard(x: Any, y: Any, *, k: int = 10, normalize: bool = True, queries: int = 0) -> Score:
    """Return the mean over samples of Jaccard index times rank similarity.

    `score = mean_i jaccard_i rank_i`, with the terms of `knn_jaccard` and `rank_similarity` for sample i.

    Parameters
    ----------
    x, y
        Features (n, dx) and (n, dy), n >= 4. Row i of both is the same sample.
    k
        Number of neighbours of each sample, 1 <= k < n.
    normalize
        True takes neighbours by cosine similarity, False by the dot product of rows as they are.
    queries
        Number of samples whose neighbours are compared, drawn with a fixed seed. 0 compares those of all samples.

    Returns
    -------
    Array
        Score in [0, 1]. NaN where all samples of a layer are equal, or a feature is not finite.

    Raises
    ------
    ValueError
        If the shapes do not match or a setting is out of range.
    TypeError
        If the features are not real numbers, or `jax.grad` asks for a derivative, which the metric lacks.

    References
    ----------
    Wang et al. 2022, IEEE TKDE; Klabunde et al. 2025, arXiv:2305.06329.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> y = x + rng.normal(size=(20, 4))
    >>> print(f"{prh_jax.joint_rank_jaccard(x, y, k=3):.2f}")
    0.22
    """
    return JointRankJaccard(k, normalize, queries=queries)(x, y)
