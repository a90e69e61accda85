"""Aligned cosine: the mean cosine of each sample's two rows after the best rotation of one layer."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..sketches.layer_factors import unit_factor
from ..sketches.root_matrices import RootSketcher, factor_of
from .base import PairwiseMetric, Score
from .factors import ScoredByFactors
from .shapes import rotated, turned


@dataclasses.dataclass(frozen=True)
class AlignedCosine(ScoredByFactors, PairwiseMetric):
    """Mean cosine of a sample's two rows after the best rotation of one layer onto the other.

    `score = mean_i cos(x_i, Q' y_i)`, with Q the orthogonal matrix of the least `|X - Y Q|`. The function
    `aligned_cosine` has the details.
    """

    name = "aligned_cosine"
    source = "Hamilton et al. 2016, arXiv:1605.09096"
    stand_in = "prh_jax.procrustes_distance"
    decomposes = True
    bounds = (-1.0, 1.0)
    invariances = frozenset({"orthogonal", "isotropic_scaling"})

    @property
    def sketcher(self) -> RootSketcher:
        return RootSketcher(centered=False)

    def compare(self, a: Any, b: Any) -> Score:
        p = factor_of(a)
        q = rotated(p, factor_of(b))
        return self.mean_cosine(jnp.sum(p * q, axis=1), jnp.sum(p * p, axis=1), jnp.sum(q * q, axis=1))

    def of_factors(self, x: Any, y: Any) -> tuple[Score, Any]:
        a, b = (unit_factor(z, centered=False) for z in (x, y))
        both = turned(a.columns, b.columns)
        one, other = (jnp.sum(z.columns * z.columns, axis=1) for z in (a, b))
        return self.mean_cosine(jnp.sum(both.a * both.b, axis=1), one, other), a.sure & b.sure

    @staticmethod
    def mean_cosine(products: Float[Array, " n"], one: Float[Array, " n"], other: Float[Array, " n"]) -> Score:
        """The mean cosine, from each sample's inner product and squared lengths, in layers of Frobenius norm one."""
        n, eps = one.shape[0], jnp.finfo(one.dtype).eps
        # in a root a row of zeros is zero up to rounding
        zero = jnp.minimum(one, other) <= n * (4 * eps) ** 2
        lengths = jnp.where(zero, jnp.nan, jnp.sqrt(one * other))
        # and a short one is rounded as the longest are
        error = jnp.mean(4 * eps / jnp.sqrt(jnp.where(zero, 1, jnp.minimum(one, other))))
        return jnp.where(error < 1e-3, jnp.mean(products / lengths), jnp.nan)


def aligned_cosine(x: Any, y: Any) -> Score:
    """Return the mean cosine of each sample's two rows after the best rotation of one layer.

    `score = mean_i cos(x_i, Q' y_i)`, with Q the orthogonal matrix of the least `|X - Y Q|`. Features are not
    centred. There is no gradient, because Q is not an optimum of this score.

    Parameters
    ----------
    x, y
        Features (n, dx) and (n, dy), n >= 4. Row i of both is the same sample.

    Returns
    -------
    Array
        Score in [-1, 1]. NaN where a row is zero (some packages leave such rows out), or where rounding could
        change the score by a thousandth because most rows are far shorter than the longest. So it is where all
        samples of a layer are equal, or a feature is not finite.

    Raises
    ------
    ValueError
        If the shapes do not match.
    TypeError
        If the features are not real numbers, or `jax.grad` asks for a derivative, which the metric lacks.

    References
    ----------
    Hamilton et al. 2016, arXiv:1605.09096.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> y = x + rng.normal(size=(20, 4))
    >>> print(f"{prh_jax.aligned_cosine(x, y):.2f}")
    0.70
    """
    return AlignedCosine()(x, y)
