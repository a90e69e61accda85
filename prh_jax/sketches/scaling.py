"""A look at a layer before products are made: scale, mean, and whether it is degenerate."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Num

from ..numerics import linalg
from .sample_axis import LOCAL, SampleAxis


class Columns(NamedTuple):
    """Summary of a layer's columns: ranges of its columns, a factor that makes products safe, the means times it.

    `factor` is the power of two that brings the largest magnitude into [0.5, 1), `trimmed` the means without the least
    and the largest value of each column, times it. `degenerate` marks a layer without
    similarities: a value is not finite, or all rows are equal up to rounding.
    """

    low: Float[Array, "1 d"]
    high: Float[Array, "1 d"]
    factor: Float[Array, ""]
    trimmed: Float[Array, "1 d"]
    degenerate: Bool[Array, ""]


def column_ranges(x: Float[Array, "n d"], rows: SampleAxis = LOCAL) -> Columns:
    """Columns of a layer, from three passes over it; no gradient flows."""
    x = lax.stop_gradient(x)
    low, high = rows.least(x), rows.most(x)
    factor = linalg.power_of_two(jnp.concatenate([low, high]))
    mean = rows.mean(x * factor)
    finite = jnp.all(jnp.isfinite(mean))  # on CPU a maximum may pass a NaN over; a sum does not
    first = rows.first(x)
    spread = jnp.max(jnp.maximum(high - first, first - low))
    wide = spread > 4 * jnp.finfo(x.dtype).eps * jnp.max(jnp.maximum(-low, high))
    n = rows.count(x)
    # where there are at least three: of fewer, nothing would be left
    trimmed = mean + (2 * mean - (low + high) * factor) / max(n - 2, 1) if n > 2 else mean
    return Columns(low, high, factor, trimmed, ~(finite & wide))


def near_mean(columns: Columns) -> Float[Array, "1 d"]:
    """The mean without each column's largest and least value, times the factor, rounded to a coarse grid.

    One sample far from all others does not move it. The grid is a power of two, about an eighth of a column's range. It
    is near enough to the mean that nothing cancels when it is subtracted, and features of few bits (such as integers)
    stay exact: so that products that are equal stay equal. A constant column gives its value.
    """
    low, high = columns.low * columns.factor, columns.high * columns.factor
    exponent = linalg.exponent_of(high - low)
    grid = linalg.two_to(jnp.maximum(exponent - 4, jnp.finfo(low.dtype).minexp), low.dtype)
    return jnp.where(high > low, jnp.round(columns.trimmed / grid) * grid, low)


def near_mean_of(
    x: Num[Array, "n d"], unit_rows: bool, row_centered: bool = False, rows: SampleAxis = LOCAL
) -> tuple[Float[Array, "n d"], Columns, Float[Array, "1 d"]]:
    """Return features as floats, the ranges of their columns, and a point near the mean, zero if degenerate.

    Rows have mean zero and length one if so asked. Results of a degenerate layer are marked NaN: zeros keep
    gradients finite.
    """
    x = linalg.at_least_float32(x)
    columns = column_ranges(x, rows)
    if unit_rows:
        given = columns.degenerate
        x = jnp.where(given, 0, x)  # the derivative of a row's length would be NaN
        if row_centered:
            x = linalg.centered_rows(x)
        x = linalg.unit_rows(x)
        columns = column_ranges(x, rows)
        columns = columns._replace(degenerate=given | columns.degenerate)
    return x, columns, jnp.where(columns.degenerate, 0, near_mean(columns))


def scale_columns(
    x: Num[Array, "n d"], *, centered: bool, rows: SampleAxis = LOCAL
) -> tuple[Float[Array, "n d"], Columns]:
    """Features times their factor, zero if degenerate, with columns of mean zero if so asked; and a summary."""
    x = linalg.at_least_float32(x)
    columns = column_ranges(x, rows)
    z = jnp.where(columns.degenerate, 0, x * columns.factor)
    if centered:
        z = z - jnp.where(columns.degenerate, 0, near_mean(columns))
        z = z - rows.mean(z)
    return z, columns


def z_scores(x: Num[Array, "n d"]) -> tuple[Float[Array, "n d"], Columns]:
    """Columns to mean 0 and standard deviation 1 (with n - 1), constant ones zero; and the summary of its columns."""
    x = linalg.at_least_float32(x)
    columns = column_ranges(x)
    factor = linalg.power_of_two(jnp.concatenate([columns.low, columns.high]), axis=0)
    spread = (columns.high - columns.low) * factor
    skipped = columns.degenerate | ~(spread > 4 * jnp.finfo(x.dtype).eps)
    z = jnp.where(skipped, 0, x * factor)
    # The mean twice, as the first is itself rounded.
    first = jnp.mean(z, axis=0, keepdims=True)
    centered = (z - first) - jnp.mean(z - first, axis=0, keepdims=True)
    variance = jnp.sum(centered * centered, axis=0, keepdims=True) / (z.shape[0] - 1)
    return centered / jnp.sqrt(jnp.where(skipped, 1, variance)), columns
