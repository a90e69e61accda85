"""PWCCA: canonical correlations, each weighted by how much of the first layer's features lies along it."""

import dataclasses
from typing import Any

import jax.numpy as jnp

from ..numerics.linalg import HIGHEST
from ..sketches.feature_columns import Axes, AxesSketcher
from .base import PairwiseMetric, Score


@dataclasses.dataclass(frozen=True)
class Pwcca(PairwiseMetric):
    """Mean canonical correlation of the two layers, weighted by what of the features of x lies along each direction.

    `score = sum_i w_i rho_i / sum_i w_i`, in [0, 1], over the min(r_x, r_y) canonical correlations rho of cca;
    `w_i = sum_j |<h_i, x_j>|` with h_i the canonical variate of x (n numbers, of length one) and x_j the centred
    features of x. Not symmetric: the weights are those of x. At chance as high as mean_cca: 1 where a layer is wider
    than there are samples.

    The sum runs over the features of x as they are, so that a rotation of them matters, and the sketch holds them: it
    is as large as the widest layer. An n x n matrix is decomposed for every pair. Without a gradient, as equal rho have
    no directions of their own. Packages differ: the authors' takes the weights of the layer with fewer features,
    whichever comes first, and makes its variates orthogonal again after adding the means back.

    Where r_x + r_y is above n - 1 some rho are 1, but not all unless a layer is wider than there are samples: their
    directions are not unique, and the score depends on rounding.
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
    """Mean canonical correlation weighted by the features of x: `Pwcca()(x, y)`.

    x (n, dx) and y (n, dy) hold one sample a row, in the same order. Range [0, 1].
    """
    return Pwcca()(x, y)
