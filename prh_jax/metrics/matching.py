"""Metrics of single features: which of one layer's is which of the other's, and how well they agree."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..numerics import linalg
from ..numerics.assignment import best_match, best_match_on_host
from ..numerics.linalg import HIGHEST
from ..sketches.feature_columns import ColumnSketcher, FeatureColumns, same_width
from ..sketches.on_host import centered_on_host, correlations_on_host
from .base import PairwiseMetric, Score


def products(a: Float[Array, "n p"], b: Float[Array, "n q"]) -> Float[Array, "p q"]:
    """Inner products of all features of two layers."""
    return jnp.matmul(a.T, b, precision=HIGHEST)


@dataclasses.dataclass(frozen=True)
class MatchMetric(PairwiseMetric):
    """A metric whose sketch is the features themselves: as large as the widest layer of a study.

    A pair costs `n d_x d_y` operations, and what matching takes. Derivatives are those at a fixed match, as the best
    match stays the best nearby. Features may be reordered, not rotated.
    """

    differentiable = True


@dataclasses.dataclass(frozen=True)
class CorrelationMatch(MatchMetric):
    """A mean of correlations between features of the two layers."""

    bounds = (-1.0, 1.0)
    invariances = frozenset({"isotropic_scaling", "column_scaling", "translation"})

    @property
    def sketcher(self) -> ColumnSketcher:
        return ColumnSketcher("standard")

    def by_numpy(self, x: Any, y: Any) -> Any:
        correlations = correlations_on_host(x, y)
        return None if correlations is None else self.of_correlations(correlations)

    def of_correlations(self, correlations: Float[np.ndarray, "p q"]) -> Any:
        """The score from all correlations, on the host."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class SoftCorrelationMatch(CorrelationMatch):
    """Mean correlation of each feature with the one of the other layer with which it correlates most.

    `score = (mean_i max_j r_ij + mean_j max_i r_ij) / 2`, with r_ij the Pearson correlation of feature i of x and
    feature j of y over samples (0 for a constant feature). The function `soft_correlation_match` has the details.
    """

    name = "soft_correlation_match"
    source = "Li et al. 2016, arXiv:1511.07543; both directions: Klabunde et al. 2025, arXiv:2305.06329"

    def compare(self, a: FeatureColumns, b: FeatureColumns) -> Score:
        correlations = products(a.columns, b.columns)

        def best(rows, one, other):
            real, there = (jnp.arange(z.columns.shape[1], dtype=jnp.int32) < z.count for z in (one, other))
            largest = jnp.max(jnp.where(there[None, :], rows, -jnp.inf), axis=1)
            return jnp.sum(jnp.where(real, largest, 0)) / one.count.astype(rows.dtype)

        both = best(correlations, a, b) + best(correlations.T, b, a)
        return jnp.where(jnp.isnan(a.size + b.size), jnp.nan, both / 2)

    def of_correlations(self, correlations: Any) -> Any:
        return (correlations.max(axis=1).mean() + correlations.max(axis=0).mean()) / 2


@dataclasses.dataclass(frozen=True)
class HardCorrelationMatch(CorrelationMatch):
    """Mean correlation of features under the best one-to-one match.

    `score = max_m sum_i r_i,m(i) / min(dx, dy)`, over one-to-one matches m of all features of the narrower layer,
    with r as in `soft_correlation_match`. The function `hard_correlation_match` has the details.
    """

    name = "hard_correlation_match"
    source = "Li et al. 2016, arXiv:1511.07543"

    def compare(self, a: FeatureColumns, b: FeatureColumns) -> Score:
        p, q = same_width(a, b)
        matched = linalg.inner(p, q[:, best_match(products(p, q), a.count, b.count)])
        return matched / jnp.minimum(a.count, b.count).astype(matched.dtype)

    def of_correlations(self, correlations: Any) -> Any:
        return correlations[best_match_on_host(correlations)].mean(dtype=np.float64)


@dataclasses.dataclass(frozen=True)
class PermutationProcrustes(MatchMetric):
    """Distance of the two layers after the best reordering of the features of one.

    `score = min_P |X - Y P|` over permutations P. If widths differ, all features of the narrower layer have a
    partner, and the other features are compared with zeros. The function `permutation_procrustes` has the details.

    Parameters
    ----------
    centered, unit_norm
        As in `permutation_procrustes`.
    """

    name = "permutation_procrustes"
    source = "Williams et al. 2021, arXiv:2110.14739"
    larger_is_closer = False
    self_score = 0.0

    centered: bool = True
    unit_norm: bool = True

    @property
    def bounds(self) -> tuple[float, float]:
        return (0.0, 2.0 if self.unit_norm else float("inf"))

    @property
    def invariances(self) -> frozenset[str]:
        scaling = {"isotropic_scaling"} if self.unit_norm else set()
        return frozenset(scaling | ({"translation"} if self.centered else set()))

    @property
    def sketcher(self) -> ColumnSketcher:
        return ColumnSketcher("centered" if self.centered else "given")

    def compare(self, a: FeatureColumns, b: FeatureColumns) -> Score:
        p, q = same_width(a, b)
        match = best_match(products(p, q), a.count, b.count)
        if not self.unit_norm:
            p, q = p * a.size, q * b.size
        return linalg.frobenius_norm(p - q[:, match])

    def by_numpy(self, x: Any, y: Any) -> Any:
        if not self.centered:
            return None
        a, b = centered_on_host(x), centered_on_host(y)
        if a is None or b is None:
            return None
        gain = a.columns.T @ b.columns
        matched = float(gain[best_match_on_host(gain)].sum(dtype=np.float64))
        if self.unit_norm:
            matched, whole = matched / (a.square * b.square) ** 0.5, 2.0
        else:
            whole = a.square + b.square
        # of layers that are near a difference of norms has no digits
        return (whole - 2 * matched) ** 0.5 if matched < 0.45 * whole else None


def soft_correlation_match(x: Any, y: Any) -> Score:
    """Return the mean correlation of each feature with its best match in the other layer.

    `score = (mean_i max_j r_ij + mean_j max_i r_ij) / 2`, with r_ij the Pearson correlation of feature i of x and
    feature j of y over samples (0 for a constant feature). Several features may have the same partner. Chance is
    above 0, most of all for wide layers of few samples. Some packages take one direction, or absolute values.

    Parameters
    ----------
    x, y
        Features (n, dx) and (n, dy), n >= 4. Row i of both is the same sample.

    Returns
    -------
    Array
        Score in [-1, 1]. NaN where all samples of a layer are equal, or a feature is not finite.

    Raises
    ------
    ValueError
        If the shapes do not match.
    TypeError
        If the features are not real numbers.

    References
    ----------
    Li et al. 2016, arXiv:1511.07543; both directions: Klabunde et al. 2025, arXiv:2305.06329.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> y = x + rng.normal(size=(20, 4))
    >>> print(f"{prh_jax.soft_correlation_match(x, y):.2f}")
    0.69
    """
    return SoftCorrelationMatch()(x, y)


def hard_correlation_match(x: Any, y: Any) -> Score:
    """Return the mean correlation of features that are matched one to one.

    `score = max_m sum_i r_i,m(i) / min(dx, dy)`, over one-to-one matches m of all features of the narrower layer,
    with r as in `soft_correlation_match`. The match is exact, a linear sum assignment of at most d^3 operations (0.1
    s for 1,024 features on a CPU). Chance is above 0. The derivative is that at the best match.

    Parameters
    ----------
    x, y
        Features (n, dx) and (n, dy), n >= 4. Row i of both is the same sample.

    Returns
    -------
    Array
        Score in [-1, 1]. NaN where all samples of a layer are equal, or a feature is not finite.

    Raises
    ------
    ValueError
        If the shapes do not match.
    TypeError
        If the features are not real numbers.

    References
    ----------
    Li et al. 2016, arXiv:1511.07543.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> y = x + rng.normal(size=(20, 4))
    >>> print(f"{prh_jax.hard_correlation_match(x, y):.2f}")
    0.69
    """
    return HardCorrelationMatch()(x, y)


def permutation_procrustes(x: Any, y: Any, *, centered: bool = True, unit_norm: bool = True) -> Score:
    """Return the distance of two layers after the best reordering of features.

    `score = min_P |X - Y P|` over permutations P. If widths differ, all features of the narrower layer have a
    partner, and the other features are compared with zeros. The score is never below `procrustes_distance`, which
    also rotates. The match is exact, at the cost of `hard_correlation_match`, and the derivative is that at the best
    match.

    Parameters
    ----------
    x, y
        Features (n, dx) and (n, dy), n >= 4. Row i of both is the same sample.
    centered
        True centres the features first.
    unit_norm
        True divides each layer by its Frobenius norm. With False the distance is on the scale of the features. Some
        packages neither centre nor divide.

    Returns
    -------
    Array
        Distance in [0, 2], or from 0 up with unit_norm=False. Smaller is closer. NaN where all samples of a layer are
        equal, or a feature is not finite.

    Raises
    ------
    ValueError
        If the shapes do not match or a setting is out of range.
    TypeError
        If the features are not real numbers.

    References
    ----------
    Williams et al. 2021, arXiv:2110.14739.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> y = x + rng.normal(size=(20, 4))
    >>> print(f"{prh_jax.permutation_procrustes(x, y):.2f}")
    0.78
    """
    return PermutationProcrustes(centered, unit_norm)(x, y)
