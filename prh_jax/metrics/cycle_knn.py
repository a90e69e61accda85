"""Cycle kNN: does a step to a neighbour in one layer and back in the other come home?"""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Int

from ..metric import Score
from .neighbors import NeighborMetric


@dataclasses.dataclass(frozen=True)
class CycleKnn(NeighborMetric):
    """Share of samples that are a neighbour, in x, of one of their neighbours in y.

    `score = mean_i [exists j in knn_y(i): i in knn_x(j)]`, in [0, 1]; not symmetric.

    Settings: `k`, 1 <= k < n; `normalize`, cosine neighbours or dot products of rows as given; `swapped` exchanges the
    two layers, which is how the reference's measuring script calls it.
    """

    name = "cycle_knn"
    source = "Huh et al. 2024, arXiv:2405.07987"

    swapped: bool = False

    @property
    def symmetric(self) -> bool:
        return False

    @property
    def self_score(self) -> None:
        return None

    def largest(self, n: int) -> int:
        return n

    def counts(self, a: Int[Array, "n k"], b: Int[Array, "n k"]) -> Int[Array, " n"]:
        if self.swapped:
            a, b = b, a
        home = jnp.arange(a.shape[0], dtype=a.dtype)[:, None, None]
        return jnp.any(a[b] == home, axis=(1, 2)).astype(jnp.int32)


def cycle_knn(x: Any, y: Any, *, k: int = 10, normalize: bool = True, swapped: bool = False) -> Score:
    """Share of samples that are a neighbour, in x, of one of their neighbours in y: `CycleKnn(...)(x, y)`.

    x (n, dx) and y (n, dy) hold one sample a row, in the same order. Range [0, 1]. ValueError unless 1 <= k < n.
    """
    return CycleKnn(k, normalize, swapped)(x, y)
