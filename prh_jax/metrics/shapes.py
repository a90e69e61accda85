"""Metrics of shape: distances between two layers after the best rotation of one onto the other."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ..numerics import linalg
from ..numerics.derivatives import first_only
from ..numerics.linalg import HIGHEST
from ..sketches.layer_factors import LayerFactor, unit_factor, whitened_factor
from ..sketches.root_matrices import RootSketcher, factor_of
from .base import PairwiseMetric, Score
from .factors import ScoredByFactors

FAR = 0.9
"""Cosines of layers whose distance has its digits from the cosine alone, which takes no singular vectors."""


@jax.custom_jvp
def rotated(a: Float[Array, "n w"], b: Float[Array, "n w"]) -> Float[Array, "n w"]:
    """Return `b Q` with the orthogonal Q that brings it nearest to a: of the SVD `b' a = U S V'`, `Q = U V'`.

    The derivative is that at a fixed Q, which distances after the rotation have, as Q is their optimum.
    """
    return jnp.matmul(b, _rotation(a, b), precision=HIGHEST)


def _rotation(a: Float[Array, "n w"], b: Float[Array, "n w"]) -> Float[Array, "w w"]:
    u, _, v = jnp.linalg.svd(jnp.matmul(b.T, a, precision=HIGHEST))
    return _orthonormal(jnp.matmul(u, v, precision=HIGHEST))


def _orthonormal(vectors: Float[Array, "n m"]) -> Float[Array, "n m"]:
    """Nearly orthonormal columns by a step of Newton's iteration: those of LAPACK err by some units of rounding."""
    products = jnp.matmul(vectors.T, vectors, precision=HIGHEST)
    return 1.5 * vectors - 0.5 * jnp.matmul(vectors, products, precision=HIGHEST)


@rotated.defjvp
def _rotated_jvp(primals, tangents):
    a, b = primals
    fixed = _rotation(first_only(a), first_only(b))
    return rotated(a, b), jnp.matmul(tangents[1], fixed, precision=HIGHEST)


class Rotated(NamedTuple):
    """Two layers, the one of more columns turned so that its first columns meet those of the other as well as they can.

    `a` and `b` (n, m) have those columns, and `rest` has the further columns of the wider layer.
    """

    a: Float[Array, "n m"]
    b: Float[Array, "n m"]
    rest: Float[Array, "n w"]


def turned(a: Float[Array, "n p"], b: Float[Array, "n q"]) -> Rotated:
    """The two layers along the singular directions of `b' a`: as near to each other as `rotated` brings their roots."""
    u, _, v = jnp.linalg.svd(jnp.matmul(b.T, a, precision=HIGHEST), full_matrices=False)
    u, v = _orthonormal(u), _orthonormal(v.T)
    wider, directions = (a, v) if a.shape[1] >= b.shape[1] else (b, u)
    p, q = jnp.matmul(a, v, precision=HIGHEST), jnp.matmul(b, u, precision=HIGHEST)
    inside = p if wider is a else q
    return Rotated(p, q, wider - jnp.matmul(inside, directions.T, precision=HIGHEST))


def nuclear_norm(a: Float[Array, "n p"], b: Float[Array, "n q"]) -> Float[Array, ""]:
    """Sum of the singular values of `a' b`."""
    return jnp.sum(jnp.linalg.svd(jnp.matmul(a.T, b, precision=HIGHEST), compute_uv=False))


def joint_norm(*parts: Float[Array, "n _"]) -> Float[Array, ""]:
    """Frobenius norm of matrices side by side."""
    return linalg.frobenius_norm(jnp.concatenate(parts, axis=1))


@dataclasses.dataclass(frozen=True)
class ShapeMetric(ScoredByFactors, PairwiseMetric):
    """A distance of the roots of two layers' Gram matrices, which have the shape of the features themselves.

    Each pair takes the singular values of an n x n matrix, or of one as wide as the features if these are much fewer
    than samples. Near layers are rotated too: a difference of norms would lose their digits.
    """

    decomposes = True
    larger_is_closer = False
    differentiable = True
    self_score = 0.0

    centered: bool = True

    @property
    def sketcher(self) -> RootSketcher:
        return RootSketcher(self.centered)

    def _invariances(self, *more: str) -> frozenset[str]:
        return frozenset({"orthogonal", *more} | ({"translation"} if self.centered else set()))


@dataclasses.dataclass(frozen=True)
class ProcrustesDistance(ShapeMetric):
    """Distance of the two layers after the best rotation of one onto the other.

    `score = min_Q |X - Y Q|` over orthogonal Q, which is `sqrt(2 - 2 |X' Y|_*)` for X and Y of norm 1. If widths
    differ, zeros fill up the narrower layer. The function `procrustes_distance` has the details.

    Parameters
    ----------
    centered, unit_norm
        As in `procrustes_distance`.
    """

    name = "procrustes_distance"
    source = "Ding et al. 2021, arXiv:2108.01661; Williams et al. 2021, arXiv:2110.14739"

    unit_norm: bool = True

    @property
    def bounds(self) -> tuple[float, float]:
        return (0.0, 2**0.5 if self.unit_norm else float("inf"))

    @property
    def invariances(self) -> frozenset[str]:
        return self._invariances(*(["isotropic_scaling"] if self.unit_norm else []))

    def compare(self, a: Any, b: Any) -> Score:
        def near(p: Any, q: Any) -> Score:
            return linalg.frobenius_norm(p - rotated(p, q))

        return self._distance(factor_of(a), factor_of(b), a.size, b.size, near)

    def of_factors(self, x: Any, y: Any) -> tuple[Score, Any]:
        def near(p: Any, q: Any) -> Score:
            both = turned(p, q)
            return joint_norm(both.a - both.b, both.rest)

        a, b = (unit_factor(z, centered=self.centered) for z in (x, y))
        return self._distance(a.columns, b.columns, a.size, b.size, near), a.sure & b.sure

    def _distance(self, p: Any, q: Any, one: Any, other: Any, near: Callable[[Any, Any], Score]) -> Score:
        """The distance of layers of norm one, or of the norms they had; by `near` where that of norms has no digits."""
        largest = jnp.ones_like(one) if self.unit_norm else jnp.maximum(one, other)
        one, other = (jnp.ones_like(one) if self.unit_norm else size / largest for size in (one, other))
        cosine = nuclear_norm(p, q)

        def far(*_: Any) -> Score:
            return jnp.sqrt(one * one + other * other - 2 * one * other * cosine)

        return largest * lax.cond(cosine < FAR, far, near, p * one, q * other)


@dataclasses.dataclass(frozen=True)
class AngularShapeDistance(ShapeMetric):
    """Angle between the two layers after the best rotation of one onto the other.

    `score = arccos(|X' Y|_*)` for X and Y of Frobenius norm 1, a metric in the mathematical sense. The function
    `angular_shape_distance` has the details.

    Parameters
    ----------
    centered, alpha
        As in `angular_shape_distance`.
    """

    name = "angular_shape_distance"
    source = "Williams et al. 2021, arXiv:2110.14739"
    bounds = (0.0, math.pi / 2)

    alpha: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"{self.name} needs 0 <= alpha <= 1, got {self.alpha!r}.")

    @property
    def invariances(self) -> frozenset[str]:
        whitened = ["column_scaling", "invertible_linear"] if self.alpha == 0 else []
        return self._invariances("isotropic_scaling", *whitened)

    @property
    def sketcher(self) -> RootSketcher:
        return RootSketcher(self.centered, self.alpha)

    def compare(self, a: Any, b: Any) -> Score:
        def near(p: Any, q: Any) -> Score:
            turned = rotated(p, q)
            return 2 * jnp.arctan2(linalg.frobenius_norm(p - turned), linalg.frobenius_norm(p + turned))

        return self._angle(factor_of(a), factor_of(b), near)

    def of_factors(self, x: Any, y: Any) -> tuple[Score, Any]:
        def factor(z: Any) -> LayerFactor:
            if self.alpha == 1:
                return unit_factor(z, centered=self.centered)
            return whitened_factor(z, self.alpha, centered=self.centered)

        def near(p: Any, q: Any) -> Score:
            both = turned(p, q)
            return 2 * jnp.arctan2(joint_norm(both.a - both.b, both.rest), joint_norm(both.a + both.b, both.rest))

        a, b = factor(x), factor(y)
        return self._angle(a.columns, b.columns, near), a.sure & b.sure

    @staticmethod
    def _angle(p: Any, q: Any, near: Callable[[Any, Any], Score]) -> Score:
        """The angle of layers of norm one; by `near` where that of norms has no digits."""
        cosine = nuclear_norm(p, q)
        return lax.cond(cosine < FAR, lambda *_: jnp.arccos(cosine), near, p, q)


@dataclasses.dataclass(frozen=True)
class NormalizedBures(ScoredByFactors, PairwiseMetric):
    """Normalized Bures similarity: cosine of the angle that is the angular shape distance.

    `score = |X' Y|_* / (|X| |Y|) = tr (K^(1/2) L K^(1/2))^(1/2) / sqrt(tr K tr L)`, with X and Y centred, and K and L
    their Gram matrices. The function `normalized_bures` has the details.
    """

    name = "normalized_bures"
    source = "Tang et al. 2020, arXiv:2003.11498; Harvey et al. 2023, arXiv:2311.11436"
    decomposes = True
    differentiable = True
    invariances = frozenset({"orthogonal", "translation", "isotropic_scaling"})

    @property
    def sketcher(self) -> RootSketcher:
        return RootSketcher(centered=True)

    def compare(self, a: Any, b: Any) -> Score:
        return nuclear_norm(factor_of(a), factor_of(b))

    def of_factors(self, x: Any, y: Any) -> tuple[Score, Any]:
        a, b = unit_factor(x), unit_factor(y)
        return nuclear_norm(a.columns, b.columns), a.sure & b.sure


def procrustes_distance(x: Any, y: Any, *, centered: bool = True, unit_norm: bool = True) -> Score:
    """Return the Procrustes distance of two layers: their distance after the best rotation.

    `score = min_Q |X - Y Q|` over orthogonal Q, which is `sqrt(2 - 2 |X' Y|_*)` for X and Y of norm 1. If widths
    differ, zeros fill up the narrower layer. Some packages return the square, or a difference of norms, which loses
    half of the digits where layers are near.

    Parameters
    ----------
    x, y
        Features (n, dx) and (n, dy), n >= 4. Row i of both is the same sample.
    centered
        True centres the features first.
    unit_norm
        True divides each layer by its Frobenius norm. False gives the size-and-shape distance, on the scale of the
        features.

    Returns
    -------
    Array
        Distance in [0, sqrt(2)], or from 0 up with unit_norm=False. Smaller is closer. NaN where all samples of a
        layer are equal, or a feature is not finite.

    Raises
    ------
    ValueError
        If the shapes do not match or a setting is out of range.
    TypeError
        If the features are not real numbers.

    References
    ----------
    Ding et al. 2021, arXiv:2108.01661; Williams et al. 2021, arXiv:2110.14739.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> y = x + rng.normal(size=(20, 4))
    >>> print(f"{prh_jax.procrustes_distance(x, y):.2f}")
    0.73
    """
    return ProcrustesDistance(centered, unit_norm)(x, y)


def angular_shape_distance(x: Any, y: Any, *, centered: bool = True, alpha: float = 1.0) -> Score:
    """Return the angle between two layers after the best rotation.

    `score = arccos(|X' Y|_*)` for X and Y of Frobenius norm 1, a metric in the mathematical sense. It is computed as
    `2 atan2(|X - Y Q|, |X + Y Q|)`, which keeps its digits near 0.

    Parameters
    ----------
    x, y
        Features (n, dx) and (n, dy), n >= 4. Row i of both is the same sample.
    centered
        True centres the features first.
    alpha
        Number in [0, 1]. 1 compares the features as they are and 0 whitens them. Between the two, singular values s
        become `alpha s + (1 - alpha)`, as in netrep. With 0 and equal ranks the cosine of the angle is `mean_cca`.

    Returns
    -------
    Array
        Angle in [0, pi/2] radians. Smaller is closer. NaN where all samples of a layer are equal, or a feature is not
        finite.

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
    >>> print(f"{prh_jax.angular_shape_distance(x, y):.2f}")
    0.75
    """
    return AngularShapeDistance(centered, alpha)(x, y)


def normalized_bures(x: Any, y: Any) -> Score:
    """Return the normalized Bures similarity of two layers.

    `score = |X' Y|_* / (|X| |Y|) = tr (K^(1/2) L K^(1/2))^(1/2) / sqrt(tr K tr L)`, with X and Y centred, and K and L
    their Gram matrices. It is the cosine of `angular_shape_distance`. Chance is high for wide layers, as it is for
    `cka`.

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
    Tang et al. 2020, arXiv:2003.11498; Harvey et al. 2023, arXiv:2311.11436.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> y = x + rng.normal(size=(20, 4))
    >>> print(f"{prh_jax.normalized_bures(x, y):.2f}")
    0.73
    """
    return NormalizedBures()(x, y)
