"""Edit-distance kNN: how many edits turn one layer's neighbour list into the other's."""

import dataclasses
from typing import Any

from ..base import Score
from .base import ListMetric
from .comparisons import EditDistance


@dataclasses.dataclass(frozen=True)
class EditDistanceKnn(ListMetric):
    """One minus the mean Levenshtein distance of the two ordered neighbour lists, as a share of k.

    `score = 1 - sum_i lev(knn_x(i), knn_y(i)) / (n k)`, with knn the k nearest samples in order and lev the
    Levenshtein distance. The function `edit_distance_knn` has the details.

    Parameters
    ----------
    k, normalize, queries
        As in `edit_distance_knn`.
    """

    name = "edit_distance_knn"
    source = "Huh et al. 2024, arXiv:2405.07987"
    comparison = EditDistance()

    def share(self, total: Any, a: Any, b: Any) -> Any:
        return super().share(self.largest(a.shape[-2]) - total, a, b)


def edit_distance_knn(x: Any, y: Any, *, k: int = 10, normalize: bool = True, queries: int = 0) -> Score:
    """Return one minus the mean edit distance of the ordered neighbour lists, divided by k.

    `score = 1 - sum_i lev(knn_x(i), knn_y(i)) / (n k)`, with knn the k nearest samples in order and lev the
    Levenshtein distance.

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
    Huh et al. 2024, arXiv:2405.07987.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> y = x + rng.normal(size=(20, 4))
    >>> print(f"{prh_jax.edit_distance_knn(x, y, k=3):.2f}")
    0.23
    """
    return EditDistanceKnn(k, normalize, queries=queries)(x, y)
