"""Neighbour lists compared as sets and as rankings: Jaccard index, rank similarity, and both."""

import dataclasses
from typing import Any

from ..base import Score
from .base import FractionMetric
from .comparisons import Jaccard, RankWeights


@dataclasses.dataclass(frozen=True)
class KnnJaccard(FractionMetric):
    """Mean Jaccard index of each sample's k nearest neighbours in the two layers.

    `score = mean_i |knn_x(i) & knn_y(i)| / |knn_x(i) | knn_y(i)|`, in [0, 1]; of o shared neighbours `o / (2 k - o)`,
    which is no more than mutual_knn's `o / k`. About `k / (2 (n - 1))` when samples are paired at random.

    Settings: `k`, 1 <= k < n; `normalize`, cosine neighbours (default) or dot products of rows as given;
    `queries`, so many samples asked for their neighbours (0: all).
    """

    name = "knn_jaccard"
    source = "Schumacher et al. 2021, arXiv:2005.10039; Klabunde et al. 2025, arXiv:2305.06329"
    comparison = Jaccard()


@dataclasses.dataclass(frozen=True)
class RankSimilarity(FractionMetric):
    """How alike shared neighbours rank in the two layers, those near the top counting most.

    `score = mean_i sum_j 2 / ((1 + |p_j - q_j|) (p_j + q_j)) / sum_{m=1..o} 1/m`, in [0, 1]; j the o shared neighbours
    of sample i, p and q their ranks in its two lists; 0 for a sample that shares none. One neighbour shared at the top
    scores 1, so that more overlap may score less: see joint_rank_jaccard.

    Settings: `k`, 1 <= k < n; `normalize`, cosine neighbours (default) or dot products of rows as given;
    `queries`, so many samples asked for their neighbours (0: all).
    """

    name = "rank_similarity"
    source = "Wang et al. 2022, IEEE TKDE; Klabunde et al. 2025, arXiv:2305.06329"
    comparison = RankWeights()


@dataclasses.dataclass(frozen=True)
class JointRankJaccard(FractionMetric):
    """Jaccard index times rank similarity of each sample's neighbours, on average over samples.

    `score = mean_i jaccard_i rank_i`, in [0, 1], with the terms of knn_jaccard and rank_similarity for sample i.

    Settings: `k`, 1 <= k < n; `normalize`, cosine neighbours (default) or dot products of rows as given;
    `queries`, so many samples asked for their neighbours (0: all).
    """

    name = "joint_rank_jaccard"
    source = "Wang et al. 2022, IEEE TKDE; Klabunde et al. 2025, arXiv:2305.06329"
    comparison = RankWeights(jaccard=True)


def knn_jaccard(x: Any, y: Any, *, k: int = 10, normalize: bool = True, queries: int = 0) -> Score:
    """Mean Jaccard index of each sample's k nearest neighbours in the two layers: `KnnJaccard(k, normalize)(x, y)`.

    x (n, dx) and y (n, dy) hold one sample a row, in the same order. Range [0, 1]. ValueError unless 1 <= k < n.
    """
    return KnnJaccard(k, normalize, queries=queries)(x, y)


def rank_similarity(x: Any, y: Any, *, k: int = 10, normalize: bool = True, queries: int = 0) -> Score:
    """How alike shared neighbours rank in the two layers: `RankSimilarity(k, normalize)(x, y)`.

    x (n, dx) and y (n, dy) hold one sample a row, in the same order. Range [0, 1]. ValueError unless 1 <= k < n.
    """
    return RankSimilarity(k, normalize, queries=queries)(x, y)


def joint_rank_jaccard(x: Any, y: Any, *, k: int = 10, normalize: bool = True, queries: int = 0) -> Score:
    """Jaccard index times rank similarity of each sample's neighbours: `JointRankJaccard(k, normalize)(x, y)`.

    x (n, dx) and y (n, dy) hold one sample a row, in the same order. Range [0, 1]. ValueError unless 1 <= k < n.
    """
    return JointRankJaccard(k, normalize, queries=queries)(x, y)
