"""Edit-distance kNN: how many edits turn one layer's neighbour list into the other's?"""

import dataclasses
from typing import Any

from ..base import Score
from .base import ListMetric
from .comparisons import EditDistance


@dataclasses.dataclass(frozen=True)
class EditDistanceKnn(ListMetric):
    """One minus the mean Levenshtein distance of the two ordered neighbour lists, as a share of k.

    `score = 1 - sum_i lev(knn_x(i), knn_y(i)) / (n k)`, in [0, 1].

    Settings: `k`, 1 <= k < n; `normalize`, cosine neighbours or dot products of rows as given; `queries`,
    so many samples asked for their neighbours (0: all).
    """

    name = "edit_distance_knn"
    source = "Huh et al. 2024, arXiv:2405.07987"
    comparison = EditDistance()

    def share(self, total: Any, a: Any, b: Any) -> Any:
        return super().share(self.largest(a.shape[-2]) - total, a, b)


def edit_distance_knn(x: Any, y: Any, *, k: int = 10, normalize: bool = True, queries: int = 0) -> Score:
    """One minus the mean edit distance of the ordered neighbour lists, as a share of k: `EditDistanceKnn(...)(x, y)`.

    x (n, dx) and y (n, dy) hold one sample a row, in the same order. Range [0, 1]. ValueError unless 1 <= k < n.
    """
    return EditDistanceKnn(k, normalize, queries=queries)(x, y)
