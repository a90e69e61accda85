"""Inner products of a layer's samples: the one step whose cost grows with the width, shared by many sketches."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Num

from . import linalg
from .linalg import HIGHEST
from .subspace import left_vectors


class InnerProducts(NamedTuple):
    """`<x_i, x_j> = gram_ij + offset_i + offset_j + square`, of features times `factor`; no width in any shape.

    `gram` is that of the features minus a point near their mean (`square` its squared norm), so that nothing cancels
    where features share a large mean. `degenerate` marks a layer without similarities (see `linalg.is_degenerate`).
    """

    gram: Float[Array, "n n"]
    offset: Float[Array, " n"]
    square: Float[Array, ""]
    factor: Float[Array, ""]
    degenerate: Bool[Array, ""]

    def take(self, samples: Int[Array, " m"]) -> "InnerProducts":
        """The inner products of some of the samples."""
        return self._replace(gram=self.gram[samples[:, None], samples[None, :]], offset=self.offset[samples])

    def ranking(self) -> Float[Array, "n n"]:
        """Similarities that order the samples nearest to each as the inner products do."""
        return self.gram + self.offset[None, :]


class Directions(NamedTuple):
    """The leading left singular vectors of the z-scored features; degenerate too where there are fewer."""

    vectors: Float[Array, "n r"]
    degenerate: Bool[Array, ""]


def near_mean(x: Float[Array, "n d"]) -> Float[Array, "1 d"]:
    """The mean, rounded in each column to a multiple of a power of two of about an eighth of the column's range.

    Near enough to the mean that nothing cancels when it is subtracted, and features of few bits (integers, say) stay
    exact: so that products that are equal stay equal. A constant column gives its value.
    """
    low, high = jnp.min(x, axis=0, keepdims=True), jnp.max(x, axis=0, keepdims=True)
    _, exponent = jnp.frexp(high - low)
    grid = jnp.ldexp(jnp.ones_like(low), jnp.maximum(exponent - 4, jnp.finfo(x.dtype).minexp))
    return jnp.where(high > low, jnp.round(jnp.mean(x, axis=0, keepdims=True) / grid) * grid, low)


@dataclasses.dataclass(frozen=True)
class Products:
    """Makes InnerProducts of the rows as given, or of unit rows (cosines)."""

    unit_rows: bool = False

    def __call__(self, x: Num[Array, "n d"]) -> InnerProducts:
        x, factor = linalg.prescale(x)
        degenerate = linalg.is_degenerate(x)
        if self.unit_rows:
            x, factor = linalg.prescale(linalg.unit_rows(x))
            degenerate = degenerate | linalg.is_degenerate(x)
        x = jnp.where(degenerate, 0, x)  # what is made of it is marked NaN, and gradients stay finite
        center = lax.stop_gradient(near_mean(x))
        shifted = x - center
        offset = jnp.matmul(shifted, center[0], precision=HIGHEST)
        return InnerProducts(linalg.gram(shifted), offset, linalg.inner(center, center), factor, degenerate)


@dataclasses.dataclass(frozen=True)
class ZScores:
    """Makes Directions: columns to mean 0 and standard deviation 1 (with n - 1); a constant column counts as zero."""

    dim: int

    def __call__(self, x: Num[Array, "n d"]) -> Directions:
        n = x.shape[0]
        x = linalg.at_least_float32(x)
        degenerate = linalg.is_degenerate(x)
        x = jnp.where(degenerate, 0, x)
        x = x * linalg.power_of_two(x, axis=0)
        tolerance = 4 * jnp.finfo(x.dtype).eps
        constant = ~(jnp.max(x, axis=0, keepdims=True) - jnp.min(x, axis=0, keepdims=True) > tolerance)
        centered = jnp.where(constant, 0, linalg.center_columns(x))
        variance = jnp.sum(centered * centered, axis=0, keepdims=True) / (n - 1)
        scored = centered / jnp.sqrt(jnp.where(constant, 1, variance))
        vectors, full_rank = left_vectors(scored, self.dim)
        return Directions(vectors, degenerate | ~full_rank)
