"""Mutual kNN: whether two layers agree on the nearest neighbours of each sample."""

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
    """Mean share of each sample's k nearest neighbours that both layers have in common.

    `score = sum_i |knn_x(i) & knn_y(i)| / (n k)`, with knn the k nearest samples. The function `mutual_knn` has the
    details.

    Parameters
    ----------
    k, normalize, queries
        As in `mutual_knn`.
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
    """Return the mean share of each sample's k nearest neighbours that two layers have in common.

    `score = sum_i |knn_x(i) & knn_y(i)| / (n k)`, with knn the k nearest samples. It is `k / (n - 1)` on average at
    chance. Equally near samples are taken by the lowest index; the sort of the reference is not stable.

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
    where
        Booleans (n,), True for the rows that count. All rows count if None.

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
    >>> print(f"{prh_jax.mutual_knn(x, y, k=3):.2f}")
    0.50
    """
    return MutualKnn(k, normalize, queries=queries)(x, y, where=where)
