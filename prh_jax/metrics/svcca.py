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

    `score = sum of singular values of U_x' U_y / dim`, with U the first `dim` left singular vectors of the z-scored
    features (standard deviation with n - 1; constant columns count as zero). The function `svcca` has the details.

    Parameters
    ----------
    dim
        As in `svcca`.
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
    """Return the mean canonical correlation of two layers' leading singular vectors (SVCCA).

    `score = sum of singular values of U_x' U_y / dim`, with U the first `dim` left singular vectors of the z-scored
    features (standard deviation with n - 1; constant columns count as zero). The value is exact. The reference
    approximates it, and reads about 0.1 lower. The score is differentiable where singular values `dim` and `dim + 1`
    differ.

    Parameters
    ----------
    x, y
        Features (n, dx) and (n, dy), n >= 4. Row i of both is the same sample.
    dim
        Number of singular vectors, 1 <= dim < n and dim <= dx, dy.

    Returns
    -------
    Array
        Score in [0, 1]. NaN where all samples of a layer are equal, or a feature is not finite.

    Raises
    ------
    ValueError
        If the shapes do not match or a setting is out of range.
    TypeError
        If the features are not real numbers.

    References
    ----------
    Raghu et al. 2017, arXiv:1706.05806.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> y = x + rng.normal(size=(20, 4))
    >>> print(f"{prh_jax.svcca(x, y, dim=2):.2f}")
    0.64
    """
    return Svcca(dim)(x, y)
