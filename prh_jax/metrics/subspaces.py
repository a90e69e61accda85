"""Metrics of the subspaces that two layers' features span: canonical correlations and what is summed from them."""

import dataclasses
from typing import Any, Literal

import jax.numpy as jnp

from ..null.forms import Dense
from ..numerics.linalg import HIGHEST
from ..sketches.layer_factors import hat_factor
from ..sketches.packed_matrix import PackedMatrix, squared_norm
from ..sketches.root_matrices import HatSketcher
from ..sketches.spans import ProjectorSketcher, basis_of
from .base import PairwiseMetric, Score
from .factors import ScoredByFactors
from .inner_product import InnerProductMetric

RIGID = frozenset({"orthogonal", "isotropic_scaling", "translation"})
AFFINE = RIGID | {"column_scaling", "invertible_linear"}

Average = Literal["squared", "yanai", "pillai"]


@dataclasses.dataclass(frozen=True)
class HatMetric(ScoredByFactors, InnerProductMetric):
    """A metric of the inner product of two hat matrices, and of the squared norm of either."""

    decomposes = True

    @property
    def sketcher(self) -> HatSketcher:
        return HatSketcher()

    def of_factors(self, x: Any, y: Any) -> tuple[Score, Any]:
        settings = self.sketcher
        a, b = (hat_factor(z, settings.ridge, settings.variance, centered=settings.centered) for z in (x, y))
        shared = squared_norm(jnp.matmul(a.columns.T, b.columns, precision=HIGHEST))
        return self.score(shared / 2, jnp.zeros_like(shared), a, b), a.sure & b.sure


@dataclasses.dataclass(frozen=True)
class Cca(HatMetric):
    """Mean squared canonical correlation of the two layers.

    `score = sum_i rho_i^2 / min(r_x, r_y)`, with rho the singular values of `U_x' U_y`, U orthonormal bases of the
    centred features and r their ranks (singular values below n eps of the largest count as zero). The function `cca`
    has the details.

    Parameters
    ----------
    average
        As in `cca`.
    """

    name = "cca"
    source = "Hotelling 1936; Ramsay et al. 1984; Kornblith et al. 2019, arXiv:1905.00414"
    differentiable = True
    invariances = AFFINE

    average: Average = "squared"

    def __post_init__(self):
        super().__post_init__()
        if self.average not in ("squared", "yanai", "pillai"):
            raise ValueError(f"{self.name} has averages 'squared', 'yanai' and 'pillai', got {self.average!r}.")

    @property
    def bounds(self) -> tuple[float, float]:
        return (0.0, float("inf") if self.average == "pillai" else 1.0)

    @property
    def self_score(self) -> float | None:
        return None if self.average == "pillai" else 1.0

    def score(self, upper: Any, diagonal: Any, a: Any, b: Any) -> Any:
        total = 2 * upper + diagonal
        if self.average == "squared":
            return total / jnp.minimum(a.size, b.size)
        return total if self.average == "pillai" else total / jnp.sqrt(a.size * b.size)

    def inner_form(self, sketch: PackedMatrix) -> Dense | None:
        if self.average == "squared":
            return None
        return Dense(sketch.matrix() / (1 if self.average == "pillai" else jnp.sqrt(sketch.size)))


@dataclasses.dataclass(frozen=True)
class MeanCca(ScoredByFactors, PairwiseMetric):
    """Mean canonical correlation of the two layers.

    `score = sum_i rho_i / min(r_x, r_y)`, with rho and r as in `cca`. The function `mean_cca` has the details.

    Parameters
    ----------
    variance
        As in `mean_cca`.
    """

    name = "mean_cca"
    source = "Hotelling 1936; Kornblith et al. 2019, arXiv:1905.00414"
    decomposes = True
    differentiable = True

    variance: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.variance <= 1:
            raise ValueError(f"{self.name} needs 0 < variance <= 1, got {self.variance!r}.")

    @property
    def invariances(self) -> frozenset[str]:
        return AFFINE if self.variance == 1 else RIGID

    @property
    def sketcher(self) -> ProjectorSketcher:
        return ProjectorSketcher(variance=self.variance)

    def compare(self, a: Any, b: Any) -> Score:
        cosines = jnp.linalg.svd(jnp.matmul(basis_of(a).T, basis_of(b), precision=HIGHEST), compute_uv=False)
        return jnp.sum(cosines) / jnp.minimum(a.size, b.size)

    def of_factors(self, x: Any, y: Any) -> tuple[Score, Any]:
        a, b = (hat_factor(z, variance=self.variance) for z in (x, y))
        cosines = jnp.linalg.svd(jnp.matmul(a.columns.T, b.columns, precision=HIGHEST), compute_uv=False)
        return jnp.sum(cosines) / jnp.minimum(a.size, b.size), a.sure & b.sure


@dataclasses.dataclass(frozen=True)
class EigenspaceOverlap(HatMetric):
    """Share of the larger of the two layers' spans that lies in the other.

    `score = |U_x' U_y|^2 / max(r_x, r_y)`, with U orthonormal bases of the features, not centred, and r their ranks.
    The function `eigenspace_overlap` has the details.
    """

    name = "eigenspace_overlap"
    source = "May et al. 2019, arXiv:1909.01264"
    differentiable = True
    invariances = AFFINE - {"translation"}

    @property
    def sketcher(self) -> HatSketcher:
        return HatSketcher(centered=False)

    def score(self, upper: Any, diagonal: Any, a: Any, b: Any) -> Any:
        return (2 * upper + diagonal) / jnp.maximum(a.size, b.size)


@dataclasses.dataclass(frozen=True)
class Gulp(HatMetric):
    """Squared distance of what ridge regression predicts from the two layers.

    `score = |F_x - F_y|^2`, with `F = K (K + ridge)^-1` and K the centred Gram matrix of trace 1. The score bounds
    how far apart the predictions of any target can be. The function `gulp` has the details.

    Parameters
    ----------
    ridge
        As in `gulp`.
    """

    name = "gulp"
    source = "Boix-Adsera et al. 2022, arXiv:2210.06545"
    larger_is_closer = False
    differentiable = True
    bounds = (0.0, float("inf"))
    self_score = 0.0

    ridge: float = 0.01

    def __post_init__(self):
        super().__post_init__()
        if not self.ridge >= 0:
            raise ValueError(f"{self.name} needs ridge >= 0, got {self.ridge!r}.")

    @property
    def invariances(self) -> frozenset[str]:
        return RIGID if self.ridge else AFFINE

    @property
    def sketcher(self) -> HatSketcher:
        return HatSketcher(self.ridge)

    def score(self, upper: Any, diagonal: Any, a: Any, b: Any) -> Any:
        return jnp.maximum(a.size + b.size - 2 * (2 * upper + diagonal), 0)


def cca(x: Any, y: Any, *, average: Average = "squared") -> Score:
    """Return the mean squared canonical correlation (CCA) of two layers.

    `score = sum_i rho_i^2 / min(r_x, r_y)`, with rho the singular values of `U_x' U_y`, U orthonormal bases of the
    centred features and r their ranks (singular values below n eps of the largest count as zero). Chance is about
    `max(r) / (n - 1)`: it is 1 if a layer is wider than there are samples.

    Parameters
    ----------
    x, y
        Features (n, dx) and (n, dy), n >= 4. Row i of both is the same sample.
    average
        "squared" divides by min(r_x, r_y), "yanai" by `sqrt(r_x r_y)`, and "pillai" not at all. Several packages call
        the mean of squares Yanai's, and the mean (`mean_cca`) Pillai's.

    Returns
    -------
    Array
        Score in [0, 1], or in [0, min(r_x, r_y)] with average="pillai". NaN where all samples of a layer are equal,
        or a feature is not finite.

    Raises
    ------
    ValueError
        If the shapes do not match or a setting is out of range.
    TypeError
        If the features are not real numbers.

    References
    ----------
    Hotelling 1936; Ramsay et al. 1984; Kornblith et al. 2019, arXiv:1905.00414.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> y = x + rng.normal(size=(20, 4))
    >>> print(f"{prh_jax.cca(x, y):.2f}")
    0.56
    """
    return Cca(average)(x, y)


def mean_cca(x: Any, y: Any, *, variance: float = 1.0) -> Score:
    """Return the mean canonical correlation of two layers.

    `score = sum_i rho_i / min(r_x, r_y)`, with rho and r as in `cca`. The metric decomposes an n x n matrix for every
    pair of layers, thousands of times the cost of `cca`.

    Parameters
    ----------
    x, y
        Features (n, dx) and (n, dy), n >= 4. Row i of both is the same sample.
    variance
        Share of each layer's variance to keep, in (0, 1], in its leading directions. 0.99 is SVCCA as in its paper
        (arXiv:1706.05806). `pwcca` weights the correlations.

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
    Hotelling 1936; Kornblith et al. 2019, arXiv:1905.00414.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> y = x + rng.normal(size=(20, 4))
    >>> print(f"{prh_jax.mean_cca(x, y):.2f}")
    0.74
    """
    return MeanCca(variance)(x, y)


def eigenspace_overlap(x: Any, y: Any) -> Score:
    """Return the share of the larger layer's span that lies in the span of the other.

    `score = |U_x' U_y|^2 / max(r_x, r_y)`, with U orthonormal bases of the features, not centred, and r their ranks.
    The paper divides by the larger width, which is the rank unless features are redundant.

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
        If the features are not real numbers.

    References
    ----------
    May et al. 2019, arXiv:1909.01264.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> y = x + rng.normal(size=(20, 4))
    >>> print(f"{prh_jax.eigenspace_overlap(x, y):.2f}")
    0.54
    """
    return EigenspaceOverlap()(x, y)


def gulp(x: Any, y: Any, *, ridge: float = 0.01) -> Score:
    """Return the squared GULP distance: how differently ridge regression predicts from two layers.

    `score = |F_x - F_y|^2`, with `F = K (K + ridge)^-1` and K the centred Gram matrix of trace 1. The score bounds
    how far apart the predictions of any target can be.

    Parameters
    ----------
    x, y
        Features (n, dx) and (n, dy), n >= 4. Row i of both is the same sample.
    ridge
        Ridge penalty in units of the layer's total variance, from 0 up. 0 compares spans, as CCA does. Some packages
        return the root, or have a penalty on the scale of the features.

    Returns
    -------
    Array
        Distance in [0, r_x + r_y], with r the ranks. Smaller is closer. NaN where all samples of a layer are equal,
        or a feature is not finite.

    Raises
    ------
    ValueError
        If the shapes do not match or a setting is out of range.
    TypeError
        If the features are not real numbers.

    References
    ----------
    Boix-Adsera et al. 2022, arXiv:2210.06545.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> y = x + rng.normal(size=(20, 4))
    >>> print(f"{prh_jax.gulp(x, y):.2f}")
    3.23
    """
    return Gulp(ridge)(x, y)
