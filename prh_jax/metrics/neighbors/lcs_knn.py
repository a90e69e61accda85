"""LCS kNN: do two layers rank their shared neighbours alike?"""

import dataclasses
from typing import Any

from ..base import Score
from .base import ListMetric
from .comparisons import CommonSubsequence


@dataclasses.dataclass(frozen=True)
class LcsKnn(ListMetric):
    """Mean length of the longest common subsequence of the two ordered neighbour lists, as a share of k.

    `score = sum_i LCS(knn_x(i), knn_y(i)) / (n k)`, in [0, 1]; with `per_k=False` not divided by k, in [0, k], as the
    reference has it.

    Settings: `k`, 1 <= k < n; `normalize`, cosine neighbours or dot products of rows as given; `per_k`;
    `queries`, so many samples asked for their neighbours (0: all).
    """

    name = "lcs_knn"
    source = "Huh et al. 2024, arXiv:2405.07987"
    comparison = CommonSubsequence()

    per_k: bool = True

    @property
    def bounds(self) -> tuple[float, float]:
        return (0.0, self.self_score)

    @property
    def self_score(self) -> float:
        return 1.0 if self.per_k else float(self.k)

    def largest(self, n: int) -> int:
        return n * self.k if self.per_k else n


def lcs_knn(x: Any, y: Any, *, k: int = 10, normalize: bool = True, per_k: bool = True, queries: int = 0) -> Score:
    """Mean length of the longest common subsequence of ordered neighbour lists, as a share of k: `LcsKnn(...)(x, y)`.

    x (n, dx) and y (n, dy) hold one sample a row, in the same order. Range [0, 1], or [0, k] with `per_k=False`.
    ValueError unless 1 <= k < n.
    """
    return LcsKnn(k, normalize, per_k, queries=queries)(x, y)
