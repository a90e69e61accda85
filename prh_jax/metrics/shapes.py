"""Metrics of shape: what is left between two layers once one is rotated onto the other as well as it can be."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ..numerics import linalg
from ..numerics.linalg import HIGHEST
from ..sketches.layer_factors import LayerFactor, unit_factor, whitened_factor
from ..sketches.root_matrices import RootSketcher, factor_of
from .base import PairwiseMetric, Score
from .factors import ScoredByFactors

FAR = 0.9
"""Cosines of layers whose distance has its digits from the cosine alone, which takes no singular vectors."""


def rotated(a: Float[Array, "n w"], b: Float[Array, "n w"]) -> Float[Array, "n w"]:
    """`b Q` with the orthogonal Q that brings it nearest to a: of the SVD `b' a = U S V'`, `Q = U V'`.

    Distances after it have the derivative at a fixed Q, as Q is at their optimum.
    """
    u, _, v = jnp.linalg.svd(lax.stop_gradient(jnp.matmul(b.T, a, precision=HIGHEST)))
    return jnp.matmul(b, jnp.matmul(u, v, precision=HIGHEST), precision=HIGHEST)


class Rotated(NamedTuple):
    """Two layers, the one of more columns turned so that its first columns meet those of the other as well as they can.

    `a` and `b` (n, m) have those columns, and `rest` is what the wider layer has beside them.
    """

    a: Float[Array, "n m"]
    b: Float[Array, "n m"]
    rest: Float[Array, "n w"]


def turned(a: Float[Array, "n p"], b: Float[Array, "n q"]) -> Rotated:
    """The two layers along the singular directions of `b' a`: as near to each other as `rotated` brings their roots."""
    u, _, v = jnp.linalg.svd(jnp.matmul(b.T, a, precision=HIGHEST), full_matrices=False)
    wider, directions = (a, v.T) if a.shape[1] >= b.shape[1] else (b, u)
    p, q = jnp.matmul(a, v.T, precision=HIGHEST), jnp.matmul(b, u, precision=HIGHEST)
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

    An n x n matrix is decomposed for every pair. The distance is that of the rotated matrices, not a difference of
    norms: it is exact to rounding where layers are near.
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
    """Distance of the two layers once one is rotated onto the other as well as it can be.

    `score = min_Q |X - Y Q|` over orthogonal Q, `sqrt(2 - 2 |X' Y|_*)` for X, Y of norm 1, so in [0, sqrt(2)]; smaller
    is closer. Widths may differ: the narrower layer is filled up with zeros.

    Settings: `centered`, features are centred first; `unit_norm`, and divided by their Frobenius norm (without it: the
    size-and-shape distance, from 0 up, on the features' own scale). Packages differ: some return the square, and those
    that write it as a difference of norms are wrong in half of the digits where layers are near.
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
    """Angle between the two layers once one is rotated onto the other as well as it can be.

    `score = arccos(|X' Y|_*)` for X, Y of Frobenius norm 1, in [0, pi/2] radians, a metric in the mathematical sense;
    smaller is closer. Found as `2 atan2(|X - Y Q|, |X + Y Q|)`, which keeps its digits near 0.

    Settings: `centered`, features are centred first; `alpha`, in [0, 1]: 1 compares the features, 0 whitens them (the
    angle then has the mean canonical correlation of mean_cca for its cosine, where ranks are equal), between the two
    singular values are `alpha s + (1 - alpha)`, with s of features of norm 1, as in netrep.
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

        p, q = factor_of(a), factor_of(b)
        cosine = nuclear_norm(p, q)
        return lax.cond(cosine < FAR, lambda *_: jnp.arccos(cosine), near, p, q)

    def of_factors(self, x: Any, y: Any) -> tuple[Score, Any]:
        def factor(z: Any) -> LayerFactor:
            if self.alpha == 1:
                return unit_factor(z, centered=self.centered)
            return whitened_factor(z, self.alpha, centered=self.centered)

        def near(p: Any, q: Any) -> Score:
            both = turned(p, q)
            return 2 * jnp.arctan2(joint_norm(both.a - both.b, both.rest), joint_norm(both.a + both.b, both.rest))

        a, b = factor(x), factor(y)
        cosine = nuclear_norm(a.columns, b.columns)
        score = lax.cond(cosine < FAR, lambda *_: jnp.arccos(cosine), near, a.columns, b.columns)
        return score, a.sure & b.sure


@dataclasses.dataclass(frozen=True)
class NormalizedBures(ScoredByFactors, PairwiseMetric):
    """Normalized Bures similarity: cosine of the angle that is the angular shape distance.

    `score = |X' Y|_* / (|X| |Y|) = tr (K^(1/2) L K^(1/2))^(1/2) / sqrt(tr K tr L)`, in [0, 1]; X, Y centred, K, L their
    Gram matrices. High at chance where layers are wide, as CKA is.
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


@dataclasses.dataclass(frozen=True)
class AlignedCosine(ScoredByFactors, PairwiseMetric):
    """Mean cosine of a sample's two rows, once one layer is rotated onto the other as well as it can be.

    `score = mean_i cos(x_i, Q' y_i)`, in [-1, 1]; Q the orthogonal matrix with the least `|X - Y Q|`. Features are not
    centred. NaN where a row is zero (others leave such rows out), or where most are so short beside the longest that
    rounding is a thousandth of the score. Without a gradient, as Q is at no optimum of it.
    """

    name = "aligned_cosine"
    source = "Hamilton et al. 2016, arXiv:1605.09096"
    stand_in = "prh_jax.procrustes_distance"
    decomposes = True
    bounds = (-1.0, 1.0)
    invariances = frozenset({"orthogonal", "isotropic_scaling"})

    @property
    def sketcher(self) -> RootSketcher:
        return RootSketcher(centered=False)

    def compare(self, a: Any, b: Any) -> Score:
        p = factor_of(a)
        q = rotated(p, factor_of(b))
        return self.mean_cosine(jnp.sum(p * q, axis=1), jnp.sum(p * p, axis=1), jnp.sum(q * q, axis=1))

    def of_factors(self, x: Any, y: Any) -> tuple[Score, Any]:
        a, b = (unit_factor(z, centered=False) for z in (x, y))
        both = turned(a.columns, b.columns)
        one, other = (jnp.sum(z.columns * z.columns, axis=1) for z in (a, b))
        return self.mean_cosine(jnp.sum(both.a * both.b, axis=1), one, other), a.sure & b.sure

    @staticmethod
    def mean_cosine(products: Float[Array, " n"], one: Float[Array, " n"], other: Float[Array, " n"]) -> Score:
        """The mean cosine, from each sample's inner product and squared lengths, in layers of Frobenius norm one."""
        n, eps = one.shape[0], jnp.finfo(one.dtype).eps
        # in a root a row of zeros is zero up to rounding
        zero = jnp.minimum(one, other) <= n * (4 * eps) ** 2
        lengths = jnp.where(zero, jnp.nan, jnp.sqrt(one * other))
        # and a short one is rounded as the longest are
        error = jnp.mean(4 * eps / jnp.sqrt(jnp.where(zero, 1, jnp.minimum(one, other))))
        return jnp.where(error < 1e-3, jnp.mean(products / lengths), jnp.nan)


def procrustes_distance(x: Any, y: Any, *, centered: bool = True, unit_norm: bool = True) -> Score:
    """Distance of the two layers once one is rotated onto the other: `ProcrustesDistance(centered, unit_norm)(x, y)`.

    x (n, dx) and y (n, dy) hold one sample a row, in the same order. Range [0, sqrt(2)], smaller is closer.
    Differentiable.
    """
    return ProcrustesDistance(centered, unit_norm)(x, y)


def angular_shape_distance(x: Any, y: Any, *, centered: bool = True, alpha: float = 1.0) -> Score:
    """Angle between the two layers once one is rotated onto the other: `AngularShapeDistance(centered, alpha)(x, y)`.

    x (n, dx) and y (n, dy) hold one sample a row, in the same order. Range [0, pi/2], smaller is closer.
    Differentiable.
    """
    return AngularShapeDistance(centered, alpha)(x, y)


def normalized_bures(x: Any, y: Any) -> Score:
    """Normalized Bures similarity: `NormalizedBures()(x, y)`.

    x (n, dx) and y (n, dy) hold one sample a row, in the same order. Range [0, 1]. Differentiable.
    """
    return NormalizedBures()(x, y)


def aligned_cosine(x: Any, y: Any) -> Score:
    """Mean cosine of a sample's two rows, once one layer is rotated onto the other: `AlignedCosine()(x, y)`.

    x (n, dx) and y (n, dy) hold one sample a row, in the same order. Range [-1, 1].
    """
    return AlignedCosine()(x, y)
