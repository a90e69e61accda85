"""LCS kNN: whether two layers rank their shared neighbours alike."""

import dataclasses
from typing import Any

from ..base import Score
from .base import ListMetric
from .comparisons import CommonSubsequence


@dataclasses.dataclass(frozen=True)
class LcsKnn(ListMetric):
    """Mean length of the longest common subsequence of the two ordered neighbour lists, as a share of k.

    `score = sum_i LCS(knn_x(i), knn_y(i)) / (n k)`, with knn the k nearest samples in order and LCS the length of the
    longest common subsequence. The function `lcs_knn` has the details.

    Parameters
    ----------
    k, normalize, per_k, queries
        As in `lcs_knn`.
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
    """Return the mean longest common subsequence of the ordered neighbour lists, divided by k.

    `score = sum_i LCS(knn_x(i), knn_y(i)) / (n k)`, with knn the k nearest samples in order and LCS the length of the
    longest common subsequence.

    Parameters
    ----------
    x, y
        Features (n, dx) and (n, dy), n >= 4. Row i of both is the same sample.
    k
        Number of neighbours of each sample, 1 <= k < n.
    normalize
        True takes neighbours by cosine similarity, False by the dot product of rows as they are.
    per_k
        False does not divide by k, as in the reference.
    queries
        Number of samples whose neighbours are compared, drawn with a fixed seed. 0 compares those of all samples.

    Returns
    -------
    Array
        Score in [0, 1], or in [0, k] with per_k=False. NaN where all samples of a layer are equal, or a feature is
        not finite.

    Raises
    ------
    ValueError
        If the shapes do not match or a setting is out of range.
    TypeError
        If the features are not real numbers, or `jax.grad` asks for a derivative, which the metric lacks.

    References
    ----------
    Huh et al. 2024, arXiv:2405.07987.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> y = x + rng.normal(size=(20, 4))
    >>> print(f"{prh_jax.lcs_knn(x, y, k=3):.2f}")
    0.40
    """
    return LcsKnn(k, normalize, per_k, queries=queries)(x, y)
