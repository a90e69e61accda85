"""Linear regression: how much of one layer a linear map of the other explains."""

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

    `score = 1 - |X - F_y X|^2 / |X|^2`, with X the centred features and F_y the hat matrix of the regression on y.
    The function `linear_regression` has the details.

    Parameters
    ----------
    ridge, leave_one_out
        As in `linear_regression`.
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
    """Return the share of the variance of x that a linear map of y explains.

    `score = 1 - |X - F_y X|^2 / |X|^2`, with X the centred features and F_y the hat matrix of the regression on y.
    The score is not symmetric. The map is fitted and judged on the same samples, so the score is 1 if y is wider than
    there are samples. Packages differ in which layer predicts which.

    Parameters
    ----------
    x, y
        Features (n, dx) and (n, dy), n >= 4. Row i of both is the same sample.
    ridge
        Ridge penalty in units of the total variance of y. 0 is least squares.
    leave_one_out
        True predicts each sample by a map fitted to all other samples, and compares with their mean. The score is
        then at most 1, and below 0 where the mean predicts better. It is NaN where a sample determines its own
        prediction: give a ridge to layers wider than there are samples.

    Returns
    -------
    Array
        Score in [0, 1], or at most 1 with leave_one_out=True. NaN where all samples of a layer are equal, or a
        feature is not finite.

    Raises
    ------
    ValueError
        If the shapes do not match or a setting is out of range.
    TypeError
        If the features are not real numbers.

    References
    ----------
    Kornblith et al. 2019, arXiv:1905.00414.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> y = x + rng.normal(size=(20, 4))
    >>> print(f"{prh_jax.linear_regression(x, y):.2f}")
    0.57
    """
    return LinearRegression(ridge, leave_one_out)(x, y)
