"""Inner products of a layer's samples: the one step whose cost grows with the width, shared by many sketches."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Num

from .metric import Maker
from .numerics import linalg
from .numerics.blocks import join_blocks, row_blocks, sum_over_columns
from .numerics.linalg import HIGHEST
from .numerics.matrix_root import gram_root
from .numerics.subspace import left_vectors
from .rows import HERE, Rows


class InnerProducts(NamedTuple):
    """`<x_i, x_j> = gram_ij + offset_i + offset_j + square`, of features times `factor`; no width in any shape.

    `gram` is that of the features minus a point near their mean (`square` its squared norm), so that nothing cancels
    where features share a large mean. `degenerate` marks a layer without similarities (see `look_at`).
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


class Root(NamedTuple):
    """Root of the Gram matrix of the features times `factor` (see `roots`)."""

    root: Float[Array, "n n"]
    factor: Float[Array, ""]
    degenerate: Bool[Array, ""]


class Columns(NamedTuple):
    """What a look at a layer tells: ranges of its columns, a factor that makes products safe, the means times it.

    `factor` is the power of two that brings the largest magnitude into [0.5, 1). `degenerate` marks a layer without
    similarities: a value is not finite, or all rows are equal up to rounding.
    """

    low: Float[Array, "1 d"]
    high: Float[Array, "1 d"]
    factor: Float[Array, ""]
    mean: Float[Array, "1 d"]
    degenerate: Bool[Array, ""]


def look_at(x: Float[Array, "n d"], rows: Rows = HERE) -> Columns:
    """Columns of a layer, from three passes over it; no gradient flows."""
    x = lax.stop_gradient(x)
    low, high = rows.least(x), rows.most(x)
    factor = linalg.power_of_two(jnp.concatenate([low, high]))
    mean = rows.mean(x * factor)
    finite = jnp.all(jnp.isfinite(mean))  # on CPU a maximum may pass a NaN over; a sum does not
    first = rows.first(x)
    spread = jnp.max(jnp.maximum(high - first, first - low))
    wide = spread > 4 * jnp.finfo(x.dtype).eps * jnp.max(jnp.maximum(-low, high))
    return Columns(low, high, factor, mean, ~(finite & wide))


def near_mean(columns: Columns) -> Float[Array, "1 d"]:
    """The mean times the factor, rounded in each column to a multiple of a power of two, about an eighth of its range.

    Near enough to the mean that nothing cancels when it is subtracted, and features of few bits (integers, say) stay
    exact: so that products that are equal stay equal. A constant column gives its value.
    """
    low, high = columns.low * columns.factor, columns.high * columns.factor
    _, exponent = jnp.frexp(high - low)
    grid = jnp.ldexp(jnp.ones_like(low), jnp.maximum(exponent - 4, jnp.finfo(low.dtype).minexp))
    return jnp.where(high > low, jnp.round(columns.mean / grid) * grid, low)


def look_near_mean(
    x: Num[Array, "n d"], unit_rows: bool, row_centered: bool = False, rows: Rows = HERE
) -> tuple[Float[Array, "n d"], Columns, Float[Array, "1 d"]]:
    """Features as floats, with rows of mean zero and of length one if so asked; their columns; and the point near the
    mean, zero if degenerate.

    What is made of a degenerate layer is marked NaN: zeros keep gradients finite.
    """
    x = linalg.at_least_float32(x)
    columns = look_at(x, rows)
    if unit_rows:
        given = columns.degenerate
        x = jnp.where(given, 0, x)  # the derivative of a row's length would be NaN
        if row_centered:
            x = linalg.centered_rows(x)
        x = linalg.unit_rows(x)
        columns = look_at(x, rows)
        columns = columns._replace(degenerate=given | columns.degenerate)
    return x, columns, jnp.where(columns.degenerate, 0, near_mean(columns))


def scaled(x: Num[Array, "n d"], *, centered: bool, rows: Rows = HERE) -> tuple[Float[Array, "n d"], Columns]:
    """Features times their factor, zero if degenerate, with columns of mean zero if so asked; and what a look told."""
    x = linalg.at_least_float32(x)
    columns = look_at(x, rows)
    z = jnp.where(columns.degenerate, 0, x * columns.factor)
    if centered:
        z = z - jnp.where(columns.degenerate, 0, near_mean(columns))
        z = z - rows.mean(z)
    return z, columns


@dataclasses.dataclass(frozen=True)
class Products(Maker):
    """Makes InnerProducts of the rows as given, or of unit rows (cosines); `bfloat16` as in `pieces.gram`.

    `row_centered` subtracts each row's mean before it is made unit: cosines are Pearson correlations then.
    """

    unit_rows: bool = False
    row_centered: bool = False

    def __call__(self, x: Num[Array, "n d"]) -> InnerProducts:
        x, columns, center = look_near_mean(x, self.unit_rows, self.row_centered)
        degenerate = columns.degenerate

        def products(z, center):
            shifted = jnp.where(degenerate, 0, z * columns.factor - center)
            offset = jnp.matmul(shifted, center[0], precision=HIGHEST)
            return row_blocks(shifted, bfloat16=self.bfloat16), offset

        blocks, offset = sum_over_columns(products, x, center)
        square = linalg.inner(center, center)
        return InnerProducts(join_blocks(blocks), offset, square, columns.factor, degenerate)


def z_scores(x: Num[Array, "n d"]) -> tuple[Float[Array, "n d"], Columns]:
    """Columns to mean 0 and standard deviation 1 (with n - 1), constant ones zero; and what a look told."""
    x = linalg.at_least_float32(x)
    columns = look_at(x)
    factor = linalg.power_of_two(jnp.concatenate([columns.low, columns.high]), axis=0)
    spread = (columns.high - columns.low) * factor
    skipped = columns.degenerate | ~(spread > 4 * jnp.finfo(x.dtype).eps)
    z = jnp.where(skipped, 0, x * factor)
    # The mean twice, as the first is itself rounded.
    first = jnp.mean(z, axis=0, keepdims=True)
    centered = (z - first) - jnp.mean(z - first, axis=0, keepdims=True)
    variance = jnp.sum(centered * centered, axis=0, keepdims=True) / (z.shape[0] - 1)
    return centered / jnp.sqrt(jnp.where(skipped, 1, variance)), columns


@dataclasses.dataclass(frozen=True)
class ZScores(Maker):
    """Makes Directions: columns to mean 0 and standard deviation 1 (with n - 1); a constant column counts as zero."""

    dim: int

    def __call__(self, x: Num[Array, "n d"]) -> Directions:
        z, columns = z_scores(x)
        vectors, full_rank = left_vectors(z, self.dim, bfloat16=self.bfloat16)
        return Directions(vectors, columns.degenerate | ~full_rank)


@dataclasses.dataclass(frozen=True)
class Roots(Maker):
    """Makes the Root of features, with columns of mean zero or as given; `bfloat16` changes nothing."""

    centered: bool = True

    def __call__(self, x: Num[Array, "n d"]) -> Root:
        z, columns = scaled(x, centered=self.centered)
        return Root(gram_root(z), columns.factor, columns.degenerate)
