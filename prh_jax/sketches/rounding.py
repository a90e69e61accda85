"""Rounding errors of similarities: their bounds, and a way to avoid the largest."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from ..numerics import linalg


class Rounding(NamedTuple):
    """Bounds of errors in `gram_ij + offset_j` of a layer, all negative where nobody asks for them.

    Attributes
    ----------
    products
        Error of `<s_i, s_j>`, in units of `|s_i| |s_j|`.
    rows
        Error of a row `s_i`, each feature of which was rounded before.
    offset
        Error of `offset_j`.
    """

    products: Float[Array, ""]
    rows: Float[Array, ""]
    offset: Float[Array, ""]

    def margin(self, squares: Float[Array, " n"], longest: Float[Array, ""]) -> Float[Array, " n"]:
        """How much two entries of row i that differ may have come nearer, from `|s_i|^2` and the largest `|s_j|`."""
        lengths, longest = linalg.safe_sqrt(lax.stop_gradient(squares)), lax.stop_gradient(longest)
        error = self.products * lengths * longest + self.rows * (lengths + 2 * longest) + self.offset
        return jnp.where(self.products < 0, -1, 2 * error)

    def distance_margin(self, squares: Float[Array, " n"], longest: Float[Array, ""]) -> Float[Array, " n"]:
        """The same of squared distances."""
        reach = linalg.safe_sqrt(lax.stop_gradient(squares)) + lax.stop_gradient(longest)
        error = self.products * reach * reach + 4 * self.rows * reach
        return jnp.where(self.products < 0, -1, 2 * error)


def rounding_of(
    width: int,
    longest: Float[Array, ""],
    from_center: Float[Array, ""],
    factor: Float[Array, ""],
    degenerate: Bool[Array, ""],
    *,
    unit: bool,
    bfloat16: bool,
) -> Rounding:
    """The bounds for rows `s_i = x_i factor - c`; none for a degenerate layer, or if rows are rounded to `bfloat16`.

    The rounding of a sum of d products is taken as at most `2 sqrt(d) + 2` units of `|s_i| |s_j|`. This is six standard
    deviations where every partial sum has the sign of the last, so that errors are largest (Higham and Mary 2019,
    doi:10.1137/18M1226312).

    Parameters
    ----------
    width
        Number of features d.
    longest
        The largest `|s_i|`.
    from_center
        `|c|`.
    factor
        Factor that features were multiplied by.
    unit
        Whether rows had length one before, so that the offset is `own_offset`; it is `<s_j, c>` else.
    """
    unit_roundoff = jnp.finfo(longest.dtype).eps / 2
    products = jnp.full_like(longest, (2 * width**0.5 + 2) * unit_roundoff)
    # a unit row was divided by its length, each feature of another was rounded when c was taken off
    rows = 2 * unit_roundoff * (factor if unit else longest)
    offset = products * longest * (longest / 2 if unit else from_center)
    if not unit:
        offset = offset + rows * from_center
    known = ~(degenerate | bfloat16)
    return Rounding(*(lax.stop_gradient(jnp.where(known, z, -1)) for z in (products, rows, offset)))


def own_offset(
    x: Float[Array, "n d"], squares: Float[Array, " n"], square: Float[Array, ""], factor: Float[Array, ""]
) -> Float[Array, " n"]:
    """`<s_i, c>` of unit rows `x_i factor = s_i + c`, from their lengths: `(|x_i factor|^2 - |s_i|^2 - |c|^2) / 2`.

    Where rows are much alike, this holds digits that the product with c loses: a rounding of a row that changes its
    length changes nothing here.

    Parameters
    ----------
    x
        Rows of length one, or zero, up to rounding.
    squares
        `|s_i|^2`.
    square
        `|c|^2`.
    factor
        A power of two.
    """
    lengths = jnp.where(jnp.any(x != 0, axis=1), factor * factor, 0)
    return ((lengths - square) - squares) / 2
