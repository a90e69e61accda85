"""Second-order cosine: is a sample as similar to its neighbours in one layer as in the other?"""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ...numerics.linalg import safe_sqrt
from ...sketches.neighbors import NeighborSimilaritySketcher, Similarities
from ..base import PairwiseMetric, Score, check_positive


@dataclasses.dataclass(frozen=True)
class SecondOrderCosine(PairwiseMetric):
    """Mean cosine of a sample's similarities to its neighbours, those of either layer, in the two layers.

    `score = mean_i cos(s_x(i, N_i), s_y(i, N_i))`, in [-1, 1]; `N_i = knn_x(i) | knn_y(i)`, s cosines of rows. Where
    all samples are much alike, all vectors of similarities are, and the score is near 1: compare with chance. Gradients
    hold the neighbours fixed.

    Settings: `k`, 1 <= k < n. Packages differ: some compare cosine distances in place of similarities.
    """

    name = "second_order_cosine"
    source = "Hamilton et al. 2016, arXiv:1606.02821"
    differentiable = True
    bounds = (-1.0, 1.0)
    invariances = frozenset({"orthogonal", "isotropic_scaling", "row_scaling"})

    k: int = 10

    def __post_init__(self):
        super().__post_init__()
        check_positive(self.name, k=self.k)

    @property
    def sketcher(self) -> NeighborSimilaritySketcher:
        return NeighborSimilaritySketcher(self.k)

    def compare(self, a: Similarities, b: Similarities) -> Score:
        known = jnp.any(b.neighbors[:, :, None] == a.neighbors[:, None, :], axis=2)
        lists = jnp.concatenate([a.neighbors, b.neighbors], axis=1)
        once = jnp.concatenate([jnp.ones_like(known), ~known], axis=1)
        one, other = (_listed(side.matrix, lists, once) for side in (a, b))
        norms = safe_sqrt(jnp.sum(one * one, axis=1) * jnp.sum(other * other, axis=1))
        return jnp.mean(jnp.sum(one * other, axis=1) / jnp.where(norms == 0, jnp.nan, norms))


def _listed(matrix: Float[Array, "n n"], lists: Any, once: Bool[Array, "n j"]) -> Float[Array, "n j"]:
    """Entries of each row at the places of its list, those that stand there a second time put to 0."""
    return jnp.where(once, jnp.take_along_axis(matrix, jnp.maximum(lists, 0), axis=1), 0)


def second_order_cosine(x: Any, y: Any, *, k: int = 10) -> Score:
    """Mean cosine of a sample's similarities to its neighbours in the two layers: `SecondOrderCosine(k)(x, y)`.

    x (n, dx) and y (n, dy) hold one sample a row, in the same order. Range [-1, 1]. ValueError unless 1 <= k < n.
    Differentiable with the neighbours held fixed.
    """
    return SecondOrderCosine(k)(x, y)
