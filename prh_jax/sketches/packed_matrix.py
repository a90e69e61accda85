"""One symmetric matrix by its upper half and its diagonal."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..numerics import linalg
from ..numerics.packing import pack_upper, unpack_upper
from .base import Order


def unpacked(packed: Any) -> Float[Array, "n n"]:
    """The symmetric matrix whose upper half and diagonal a sketch holds."""
    return unpack_upper(packed.upper) + jnp.diag(packed.diagonal)


def reordered(packed: Any, order: Order) -> Any:
    """The same for samples in another order."""
    matrix = unpack_upper(packed.upper)[order[:, None], order[None, :]]
    return packed._replace(upper=pack_upper(matrix), diagonal=packed.diagonal[order])


class PackedMatrix(NamedTuple):
    """A symmetric matrix by its upper half (see `pack_upper`) and its diagonal, and one number next to it."""

    upper: Float[Array, "n h"]
    diagonal: Float[Array, " n"]
    size: Float[Array, ""]

    def reorder(self, order: Order) -> "PackedMatrix":
        return reordered(self, order)

    def matrix(self) -> Float[Array, "n n"]:
        """The matrix itself."""
        return unpacked(self)


def pack(matrix: Float[Array, "n n"], size: Float[Array, ""], bad: Bool[Array, ""]) -> PackedMatrix:
    """A symmetric matrix packed; NaN where `bad`."""
    parts = pack_upper(matrix), jnp.diagonal(matrix), size
    return PackedMatrix(*(jnp.where(bad, jnp.nan, part) for part in parts))


def squared_norm(matrix: Float[Array, "n m"]) -> Float[Array, ""]:
    """Sum of squared entries."""
    return linalg.inner(matrix, matrix)
