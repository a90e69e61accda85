"""SVCCA: canonical correlations of the leading directions of two layers."""

import dataclasses
from typing import Any

import jax.numpy as jnp

from ..numerics.linalg import HIGHEST
from ..sketches.basis import Basis, BasisSketcher
from .base import Metric, Score, check_positive


@dataclasses.dataclass(frozen=True)
class Svcca(Metric):
    """Mean canonical correlation of the two layers' leading left singular vectors.

    `score = sum of singular values of U_x' U_y / dim`, in [0, 1]; U the first `dim` left singular vectors of the
    z-scored features (standard deviation with n - 1; constant columns count as zero).

    Settings: `dim`, 1 <= dim < n and dim <= width. This is the exact value; the reference approximates it with a
    randomised SVD without oversampling, an iterative CCA and added noise, and reads about 0.1 lower.
    """

    name = "svcca"
    source = "Raghu et al. 2017, arXiv:1706.05806"
    decomposes = True
    differentiable = True
    invariances = frozenset({"isotropic_scaling", "column_scaling", "translation"})

    dim: int = 10

    def __post_init__(self):
        super().__post_init__()
        check_positive(self.name, dim=self.dim)

    @property
    def sketcher(self) -> BasisSketcher:
        return BasisSketcher(self.dim)

    def compare(self, a: Basis, b: Basis) -> Score:
        overlap = jnp.matmul(a.vectors.T, b.vectors, precision=HIGHEST)
        return jnp.mean(jnp.linalg.svd(overlap, compute_uv=False))


def svcca(x: Any, y: Any, *, dim: int = 10) -> Score:
    """Mean canonical correlation of the two layers' leading left singular vectors: `Svcca(dim)(x, y)`.

    x (n, dx) and y (n, dy) hold one sample a row, in the same order. Range [0, 1]. ValueError unless dim < n and
    dim <= dx, dy. Differentiable where singular values `dim` and `dim + 1` differ.
    """
    return Svcca(dim)(x, y)
