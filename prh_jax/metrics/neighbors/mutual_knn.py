"""Mutual kNN: do two layers agree on who is near whom?"""

import dataclasses
from typing import Any

import jax.numpy as jnp

from ...null.forms import Edges
from ...sketches.nearest import nearest
from ...sketches.neighbors import KnnGraph
from ..base import Score
from .base import ListMetric
from .comparisons import Overlap


@dataclasses.dataclass(frozen=True)
class MutualKnn(ListMetric):
    """Mean share of each sample's k nearest neighbours that both layers agree on.

    `score = sum_i |knn_x(i) & knn_y(i)| / (n k)`, in [0, 1]; `k / (n - 1)` when samples are paired at random.

    Settings: `k`, 1 <= k < n; `normalize`, cosine neighbours (default) or dot products of rows as given (the
    reference); `queries`, so many samples asked for their neighbours, drawn by a fixed seed (0: all). Ties go to the
    lowest index, where the reference's sort is not stable.
    """

    name = "mutual_knn"
    source = "Huh et al. 2024, arXiv:2405.07987"
    comparison = Overlap()

    def inner_form(self, sketch: KnnGraph) -> Edges | None:
        if self.queries:
            return None
        neighbors = self.nearest(sketch)
        return Edges(neighbors, jnp.where(neighbors < 0, jnp.nan, neighbors.size**-0.5))

    def masked(self, x: Any, y: Any, where: Any) -> Score:
        if self.queries:
            raise ValueError(f"{self.name} takes where= with queries=0 alone, got queries={self.queries}.")
        summaries = [self.sketcher.summarizer(z) for z in (x, y)]
        a, b = (nearest(s.ranking(), self.k, s.margin(), where=where).places[:, : self.k] for s in summaries)
        # a list of none in the rows that do not count
        total = self.count(a, jnp.where(where[:, None], b, -1)).astype(summaries[0].gram.dtype)
        known = (jnp.sum(where) > self.k) & ~(summaries[0].degenerate | summaries[1].degenerate)
        return jnp.where(known, total / (self.k * jnp.maximum(jnp.sum(where), 1)).astype(total.dtype), jnp.nan)

    def chance(self, n: int) -> float:
        return self.k / (n - 1)


def mutual_knn(x: Any, y: Any, *, k: int = 10, normalize: bool = True, queries: int = 0, where: Any = None) -> Score:
    """Mean share of each sample's k nearest neighbours that both layers agree on: `MutualKnn(k, normalize)(x, y)`.

    x (n, dx) and y (n, dy) hold one sample a row, in the same order. Range [0, 1]. ValueError unless 1 <= k < n.
    `where` (n,) tells the rows that count, all unless given.
    """
    return MutualKnn(k, normalize, queries=queries)(x, y, where=where)
