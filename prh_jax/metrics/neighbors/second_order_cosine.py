"""Second-order cosine: whether a sample is as similar to its neighbours in one layer as in the other."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ...numerics.linalg import safe_sqrt
from ...sketches.neighbors import NeighborSimilaritySketcher, Similarities
from ..base import PairwiseMetric, Score, check_positive


@dataclasses.dataclass(frozen=True)
class SecondOrderCosine(PairwiseMetric):
    """Mean cosine of a sample's similarities, in the two layers, to its neighbours in either.

    `score = mean_i cos(s_x(i, N_i), s_y(i, N_i))`, with `N_i = knn_x(i) | knn_y(i)` and s the cosines of rows. The
    function `second_order_cosine` has the details.

    Parameters
    ----------
    k
        As in `second_order_cosine`.
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
    """Entries of each row at the places of its list, those that are there a second time put to 0."""
    return jnp.where(once, jnp.take_along_axis(matrix, jnp.maximum(lists, 0), axis=1), 0)


def second_order_cosine(x: Any, y: Any, *, k: int = 10) -> Score:
    """Return the mean cosine of each sample's similarities to its neighbours in two layers.

    `score = mean_i cos(s_x(i, N_i), s_y(i, N_i))`, with `N_i = knn_x(i) | knn_y(i)` and s the cosines of rows. If all
    samples are much alike, so are all vectors of similarities, and the score is near 1: compare it with chance. The
    gradient holds the neighbours fixed. Some packages compare cosine distances instead of similarities.

    Parameters
    ----------
    x, y
        Features (n, dx) and (n, dy), n >= 4. Row i of both is the same sample.
    k
        Number of neighbours of each sample, 1 <= k < n.

    Returns
    -------
    Array
        Score in [-1, 1]. NaN where all samples of a layer are equal, or a feature is not finite.

    Raises
    ------
    ValueError
        If the shapes do not match or a setting is out of range.
    TypeError
        If the features are not real numbers.

    References
    ----------
    Hamilton et al. 2016, arXiv:1606.02821.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> y = x + rng.normal(size=(20, 4))
    >>> print(f"{prh_jax.second_order_cosine(x, y, k=3):.2f}")
    0.57
    """
    return SecondOrderCosine(k)(x, y)
