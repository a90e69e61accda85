"""Differences of a statistic of each layer. They ask nothing of which sample is which: chance says nothing."""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..runtime.host import quiet_blas
from ..sketches.base import Sketcher
from ..sketches.layer_statistics import (
    TEMPERATURES,
    ConcentricitySketcher,
    HeatTraceSketcher,
    LayerStatistic,
    MagnitudeSketcher,
    UniformitySketcher,
)
from .base import Metric, Score, check_positive, on_host

HIGHEST_DISTANCE = math.exp(-4)
"""No weighted difference of mean heat is above this."""


@dataclasses.dataclass(frozen=True)
class StatisticMetric(Metric):
    """Absolute difference of a number of each layer. Permuting samples changes nothing, so that every p is 1."""

    larger_is_closer = False
    paired = False
    self_score = 0.0
    differentiable = True
    bounds = (0.0, float("inf"))

    @property
    def weights(self) -> np.ndarray:
        """Factors of the difference of each number; the largest difference counts."""
        return np.ones(())

    def compare(self, a: LayerStatistic, b: LayerStatistic) -> Score:
        return jnp.abs(a.value - b.value)

    def difference(self, x: Float[np.ndarray, "n dx"], y: Float[np.ndarray, "n dy"]) -> Any:
        """The score of two layers on the host; None where either needs the care of a sketch."""
        sketcher: Any = self.sketcher
        found = [sketcher.on_host(z) for z in (x, y)]
        if any(z is None for z in found):
            return None
        return np.float32((self.weights * np.abs(found[0] - found[1])).max())


@dataclasses.dataclass(frozen=True)
class MagnitudeDifference(StatisticMetric):
    """Difference of the lengths of the two layers' mean rows.

    `score = | |mean_i x_i| - |mean_i y_i| |`, on the scale of the features. The function `magnitude_difference` has
    the details.
    """

    name = "magnitude_difference"
    source = "Klabunde et al. 2025, arXiv:2305.06329"
    invariances = frozenset({"orthogonal"})

    @property
    def sketcher(self) -> Sketcher:
        return MagnitudeSketcher()

    def by_numpy(self, x: Any, y: Any) -> Any:
        return self.difference(x, y)


@dataclasses.dataclass(frozen=True)
class ConcentricityDifference(StatisticMetric):
    """Difference of the mean cosines of a sample with its layer's mean row.

    `score = |c(x) - c(y)|`, with `c(x) = mean_i cos(x_i, mean_j x_j)`. The function `concentricity_difference` has
    the details.
    """

    name = "concentricity_difference"
    source = "Klabunde et al. 2025, arXiv:2305.06329"
    bounds = (0.0, 2.0)
    invariances = frozenset({"orthogonal", "isotropic_scaling"})

    @property
    def sketcher(self) -> Sketcher:
        return ConcentricitySketcher()

    def by_numpy(self, x: Any, y: Any) -> Any:
        return self.difference(x, y)


@dataclasses.dataclass(frozen=True)
class UniformityDifference(StatisticMetric):
    """Difference of how evenly the two layers' samples are spread.

    `score = |u(x) - u(y)|`, with `u(x) = log mean_ij exp(-t |x_i - x_j|^2)`. The function `uniformity_difference` has
    the details.

    Parameters
    ----------
    t
        As in `uniformity_difference`.
    """

    name = "uniformity_difference"
    source = "Wang and Isola 2020, arXiv:2005.10242; Klabunde et al. 2025, arXiv:2305.06329"
    invariances = frozenset({"orthogonal", "translation"})

    t: float = 2.0

    def __post_init__(self):
        super().__post_init__()
        check_positive(self.name, t=self.t)

    @property
    def sketcher(self) -> Sketcher:
        return UniformitySketcher(self.t)


@dataclasses.dataclass(frozen=True)
class Imd(StatisticMetric):
    """Intrinsic distance: the largest difference in how heat spreads over the two layers' graphs of neighbours.

    `score = max_t exp(-2 (t + 1/t)) |h_x(t) - h_y(t)| / n` over 256 values of t from 0.1 to 10. `h(t) = tr exp(-t L)`
    is the heat trace, with L the normalised Laplacian of the graph that joins each sample with its k nearest
    (Euclidean). The function `imd` has the details.

    Parameters
    ----------
    k
        As in `imd`.
    """

    name = "imd"
    source = "Tsitsulin et al. 2020, arXiv:1905.11141"
    decomposes = True
    differentiable = False
    bounds = (0.0, HIGHEST_DISTANCE)
    invariances = frozenset({"orthogonal", "isotropic_scaling", "translation"})

    k: int = 5

    def __post_init__(self):
        super().__post_init__()
        check_positive(self.name, k=self.k)

    @property
    def sketcher(self) -> Sketcher:
        return HeatTraceSketcher(self.k)

    @property
    def weights(self) -> np.ndarray:
        return np.exp(-2 * (TEMPERATURES + 1 / TEMPERATURES))  # at most exp(-4), at t = 1

    def alone(self, x: Any, y: Any) -> Any:
        if not on_host(x, y):
            return None
        with quiet_blas():
            return self.difference(np.asarray(x), np.asarray(y))

    def compare(self, a: LayerStatistic, b: LayerStatistic) -> Score:
        return jnp.max(jnp.asarray(self.weights, a.value.dtype) * jnp.abs(a.value - b.value))


def magnitude_difference(x: Any, y: Any) -> Score:
    """Return the difference of the lengths of two layers' mean rows.

    `score = | |mean_i x_i| - |mean_i y_i| |`, on the scale of the features. The score does not depend on which sample
    is which, so permutations leave it as it is and every p-value is 1.

    Parameters
    ----------
    x, y
        Features (n, dx) and (n, dy), n >= 4. The order of the rows does not matter.

    Returns
    -------
    Array
        Distance from 0 up. Smaller is closer. NaN where all samples of a layer are equal, or a feature is not finite.

    Raises
    ------
    ValueError
        If the shapes do not match.
    TypeError
        If the features are not real numbers.

    References
    ----------
    Klabunde et al. 2025, arXiv:2305.06329.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> y = x + rng.normal(size=(20, 4))
    >>> print(f"{prh_jax.magnitude_difference(x, y):.2f}")
    0.01
    """
    return MagnitudeDifference()(x, y)


def concentricity_difference(x: Any, y: Any) -> Score:
    """Return the difference of two layers' mean cosine between a sample and the mean row.

    `score = |c(x) - c(y)|`, with `c(x) = mean_i cos(x_i, mean_j x_j)`. The score does not depend on which sample is
    which, so permutations leave it as it is and every p-value is 1.

    Parameters
    ----------
    x, y
        Features (n, dx) and (n, dy), n >= 4. The order of the rows does not matter.

    Returns
    -------
    Array
        Distance in [0, 2]. Smaller is closer. NaN for centred features, whose mean has no direction. So it is
        where all samples of a layer are equal, or a feature is not finite.

    Raises
    ------
    ValueError
        If the shapes do not match.
    TypeError
        If the features are not real numbers.

    References
    ----------
    Klabunde et al. 2025, arXiv:2305.06329.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> y = x + rng.normal(size=(20, 4))
    >>> print(f"{prh_jax.concentricity_difference(x, y):.2f}")
    0.10
    """
    return ConcentricityDifference()(x, y)


def uniformity_difference(x: Any, y: Any, *, t: float = 2.0) -> Score:
    """Return the difference of how evenly the samples of two layers are spread.

    `score = |u(x) - u(y)|`, with `u(x) = log mean_ij exp(-t |x_i - x_j|^2)`. The metric is meant for rows of length
    one, which `align` makes of features; all samples that are far apart look alike to it. The score does not depend
    on which sample is which, so permutations leave it as it is and every p-value is 1.

    Parameters
    ----------
    x, y
        Features (n, dx) and (n, dy), n >= 4. The order of the rows does not matter.
    t
        Scale of the squared distances. The mean is over all i and j, as in the survey of Klabunde et al. Wang and
        Isola leave out i = j.

    Returns
    -------
    Array
        Distance in [0, log n]. Smaller is closer. NaN where all samples of a layer are equal, or a feature is not
        finite.

    Raises
    ------
    ValueError
        If the shapes do not match or a setting is out of range.
    TypeError
        If the features are not real numbers.

    References
    ----------
    Wang and Isola 2020, arXiv:2005.10242; Klabunde et al. 2025, arXiv:2305.06329.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> y = x + rng.normal(size=(20, 4))
    >>> print(f"{prh_jax.uniformity_difference(x, y):.2f}")
    0.21
    """
    return UniformityDifference(t)(x, y)


def imd(x: Any, y: Any, *, k: int = 5) -> Score:
    """Return the intrinsic multi-scale distance (IMD) of two layers.

    `score = max_t exp(-2 (t + 1/t)) |h_x(t) - h_y(t)| / n` over 256 values of t from 0.1 to 10. `h(t) = tr exp(-t L)`
    is the heat trace, with L the normalised Laplacian of the graph that joins each sample with its k nearest
    (Euclidean). The heat traces are exact; the authors' program estimates them from random vectors and returns a
    million times this score. The score does not depend on which sample is which, so permutations leave it as it is
    and every p-value is 1.

    Parameters
    ----------
    x, y
        Features (n, dx) and (n, dy), n >= 4. The order of the rows does not matter.
    k
        Number of neighbours of each sample in the graph, 1 <= k < n.

    Returns
    -------
    Array
        Distance in [0, exp(-4)]. Smaller is closer. NaN where all samples of a layer are equal, or a feature is not
        finite.

    Raises
    ------
    ValueError
        If the shapes do not match or a setting is out of range.
    TypeError
        If the features are not real numbers, or `jax.grad` asks for a derivative, which the metric lacks.

    References
    ----------
    Tsitsulin et al. 2020, arXiv:1905.11141.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> y = x + rng.normal(size=(20, 4))
    >>> print(f"{1000 * prh_jax.imd(x, y):.2f}")
    0.01
    """
    return Imd(k)(x, y)
