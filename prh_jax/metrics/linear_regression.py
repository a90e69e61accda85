"""Linear regression: how much of one layer can be read off the other by a linear map?"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..numerics.linalg import HIGHEST
from ..sketches.layer_factors import hat_factor, unit_factor
from ..sketches.packed_matrix import PackedMatrix, squared_norm
from ..sketches.root_matrices import Regression, RegressionSketcher
from .base import Score
from .factors import ScoredByFactors
from .inner_product import InnerProductKernel, InnerProductMetric, packed_products
from .kernels import TileKernel


@dataclasses.dataclass(frozen=True)
class LinearRegression(ScoredByFactors, InnerProductMetric):
    """Share of the variance of x that a linear map of y explains, over all features.

    `score = 1 - |X - F_y X|^2 / |X|^2`, in [0, 1], not symmetric; X the centred features, F_y the hat matrix of (ridge)
    regression on y. It is fitted and judged on the same samples: 1 where y is wider than there are samples.

    Settings: `ridge`, in units of y's total variance; 0 is least squares. `leave_one_out`, each sample is predicted by
    the map, and held against the mean, of all others (cross-validation, in closed form): at most 1, below 0 where
    the mean predicts better; NaN where a sample decides its own prediction, so give a ridge to layers wider than there
    are samples. Packages differ in which layer predicts which.
    """

    name = "linear_regression"
    source = "Kornblith et al. 2019, arXiv:1905.00414"
    decomposes = True
    differentiable = True
    symmetric = False
    invariances = frozenset({"orthogonal", "isotropic_scaling", "translation"})

    ridge: float = 0.0
    leave_one_out: bool = False

    def __post_init__(self):
        super().__post_init__()
        if not self.ridge >= 0:
            raise ValueError(f"{self.name} needs ridge >= 0, got {self.ridge!r}.")

    @property
    def bounds(self) -> tuple[float, float]:
        return (float("-inf") if self.leave_one_out else 0.0, 1.0)

    @property
    def self_score(self) -> float | None:
        return None if self.ridge else 1.0

    @property
    def sketcher(self) -> RegressionSketcher:
        return RegressionSketcher(self.ridge, self.leave_one_out)

    def sides(self, a: Regression, b: Regression) -> tuple[PackedMatrix, PackedMatrix]:
        return a.gram, b.smoother

    @property
    def tile_kernel(self) -> TileKernel:
        return RegressionKernel(self)

    def score(self, upper: Any, diagonal: Any, a: Regression, b: Regression) -> Any:
        return 2 * upper + diagonal

    def serves(self, x: Any, y: Any) -> bool:
        return not self.leave_one_out

    def of_factors(self, x: Any, y: Any) -> tuple[Score, Any]:
        a, b = unit_factor(x), hat_factor(y, self.ridge, twice=self.ridge > 0)
        return squared_norm(jnp.matmul(b.columns.T, a.columns, precision=HIGHEST)), a.sure & b.sure


@dataclasses.dataclass(frozen=True)
class RegressionKernel(InnerProductKernel):
    """Inner products of what one layer is with what the other predicts."""

    @property
    def shared(self) -> Callable[[Regression, Regression], Any]:
        return predictions


def predictions(a: Regression, b: Regression) -> tuple[Float[Array, "x y"], Float[Array, "x y"]]:
    """Inner products of what is predicted with what predicts, of all pairs."""
    return packed_products(a.gram, b.smoother)


def linear_regression(x: Any, y: Any, *, ridge: float = 0.0, leave_one_out: bool = False) -> Score:
    """Share of the variance of x that a linear map of y explains: `LinearRegression(ridge, leave_one_out)(x, y)`.

    x (n, dx) and y (n, dy) hold one sample a row, in the same order. Range [0, 1], with `leave_one_out` up to 1; not
    symmetric. Differentiable.
    """
    return LinearRegression(ridge, leave_one_out)(x, y)
