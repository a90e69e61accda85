"""PWCCA: canonical correlations, each weighted by how much of the first layer's features lies along it."""

import dataclasses
from typing import Any

import jax.numpy as jnp

from ..numerics.linalg import HIGHEST
from ..sketches.feature_columns import Axes, AxesSketcher
from .base import PairwiseMetric, Score


@dataclasses.dataclass(frozen=True)
class Pwcca(PairwiseMetric):
    """Mean canonical correlation of the two layers, weighted by how much of x lies along each direction.

    `score = sum_i w_i rho_i / sum_i w_i` over the min(r_x, r_y) canonical correlations rho of `cca`. The function
    `pwcca` has the details.
    """

    name = "pwcca"
    source = "Morcos et al. 2018, arXiv:1806.05759"
    decomposes = True
    symmetric = False
    stand_in = "prh_jax.mean_cca"
    invariances = frozenset({"isotropic_scaling", "translation"})

    @property
    def sketcher(self) -> AxesSketcher:
        return AxesSketcher()

    def compare(self, a: Axes, b: Axes) -> Score:
        overlap = jnp.matmul(a.vectors.T, b.vectors, precision=HIGHEST)
        directions, cosines, _ = jnp.linalg.svd(overlap, full_matrices=False)
        along = jnp.matmul(directions.T, a.loadings, precision=HIGHEST)
        shared = jnp.arange(cosines.shape[0], dtype=jnp.int32) < jnp.minimum(a.rank, b.rank)
        weights = jnp.where(shared, jnp.sum(jnp.abs(along), axis=1), 0)
        return jnp.sum(weights * cosines) / jnp.sum(weights)


def pwcca(x: Any, y: Any) -> Score:
    """Return the projection-weighted canonical correlation (PWCCA) of two layers.

    `score = sum_i w_i rho_i / sum_i w_i` over the min(r_x, r_y) canonical correlations rho of `cca`. The weights are
    `w_i = sum_j |<h_i, x_j>|`, with h_i the canonical variate of x (n numbers, of length one) and x_j the centred
    features of x. The score is not symmetric. Chance is as high as for `mean_cca`: 1 if a layer is wider than there
    are samples.

    Parameters
    ----------
    x, y
        Features (n, dx) and (n, dy), n >= 4. Row i of both is the same sample.

    Returns
    -------
    Array
        Score in [0, 1]. NaN where all samples of a layer are equal, or a feature is not finite.

    Raises
    ------
    ValueError
        If the shapes do not match.
    TypeError
        If the features are not real numbers, or `jax.grad` asks for a derivative, which the metric lacks.

    Notes
    -----
    A rotation of the features of x changes the weights. The metric therefore keeps the features themselves, and
    decomposes an n x n matrix for every pair of layers. It has no gradient, because equal correlations have no
    directions of their own. The authors' code takes the weights of the layer with fewer features.

    If r_x + r_y is above n - 1, some correlations are 1. Their directions are not unique, and the score then depends
    on rounding unless a layer is wider than there are samples.

    References
    ----------
    Morcos et al. 2018, arXiv:1806.05759.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> y = x + rng.normal(size=(20, 4))
    >>> print(f"{prh_jax.pwcca(x, y):.2f}")
    0.74
    """
    return Pwcca()(x, y)
