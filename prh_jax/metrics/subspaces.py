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

    `score = sum_i rho_i^2 / min(r_x, r_y)`, in [0, 1]; rho the singular values of `U_x' U_y`, U orthonormal bases of
    the centred features, r their ranks (singular values below n eps of the largest count as zero). It is found from the
    projectors `P = U U'`: `sum rho^2 = <P_x, P_y>`. Chance is high, about `max(r) / (n - 1)`: 1 where a layer is wider
    than there are samples.

    Settings: `average`, "squared" as above; "yanai", `sum rho^2 / sqrt(r_x r_y)`; "pillai", the sum itself, in
    [0, min(r)]. Packages differ: several call the mean of squares Yanai's, and the mean (our mean_cca) Pillai's.
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

    `score = sum_i rho_i / min(r_x, r_y)`, in [0, 1]; rho and r as for cca. An n x n matrix is decomposed for every
    pair: thousands of times the cost of cca.

    Settings: `variance` keeps of each layer the leading directions that hold this share of its variance: 0.99 is SVCCA
    in the form of its paper (arXiv:1706.05806). Weighted by what of the features lies along each direction: pwcca.
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

    `score = |U_x' U_y|^2 / max(r_x, r_y)`, in [0, 1]; U orthonormal bases of the features, not centred, r their ranks.
    The paper and its followers divide by the larger width, which is the rank unless features are redundant.
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
    """Squared distance of the two layers in what ridge regression can predict from them.

    `score = |F_x - F_y|^2`, 0 for equal layers and at most `r_x + r_y`; `F = K (K + ridge)^-1` with K the centred Gram
    matrix of trace 1. Smaller is closer. It bounds how far predictions of any one target can be apart.

    Settings: `ridge`, lambda in units of the layer's total variance; 0 compares spans, as CCA does. Packages differ:
    some return the root, and without their normalisation lambda has the features' own scale.
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
    """Mean squared canonical correlation of the two layers: `Cca(average)(x, y)`.

    x (n, dx) and y (n, dy) hold one sample a row, in the same order. Range [0, 1] ([0, inf] for "pillai").
    Differentiable.
    """
    return Cca(average)(x, y)


def mean_cca(x: Any, y: Any, *, variance: float = 1.0) -> Score:
    """Mean canonical correlation of the two layers: `MeanCca(variance)(x, y)`.

    x (n, dx) and y (n, dy) hold one sample a row, in the same order. Range [0, 1]. Differentiable.
    """
    return MeanCca(variance)(x, y)


def eigenspace_overlap(x: Any, y: Any) -> Score:
    """Share of the larger of the two layers' spans that lies in the other: `EigenspaceOverlap()(x, y)`.

    x (n, dx) and y (n, dy) hold one sample a row, in the same order. Range [0, 1]. Differentiable.
    """
    return EigenspaceOverlap()(x, y)


def gulp(x: Any, y: Any, *, ridge: float = 0.01) -> Score:
    """Squared distance of the two layers in what ridge regression can predict from them: `Gulp(ridge)(x, y)`.

    x (n, dx) and y (n, dy) hold one sample a row, in the same order. At least 0, smaller is closer. Differentiable.
    """
    return Gulp(ridge)(x, y)
