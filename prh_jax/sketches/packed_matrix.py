"""One symmetric matrix by its upper half and its diagonal."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..numerics import linalg
from ..numerics.packing import pack_upper, unpack_upper
from .base import Order


class PackedMatrix(NamedTuple):
    """A symmetric matrix by its upper half (see `linalg.pack_upper`) and its diagonal, and one number beside it."""

    upper: Float[Array, "n h"]
    diagonal: Float[Array, " n"]
    size: Float[Array, ""]

    def reorder(self, order: Order) -> "PackedMatrix":
        matrix = unpack_upper(self.upper)[order[:, None], order[None, :]]
        return self._replace(upper=pack_upper(matrix), diagonal=self.diagonal[order])

    def matrix(self) -> Float[Array, "n n"]:
        """The matrix itself."""
        return unpack_upper(self.upper) + jnp.diag(self.diagonal)


def pack(matrix: Float[Array, "n n"], size: Float[Array, ""], bad: Bool[Array, ""]) -> PackedMatrix:
    """A symmetric matrix packed; NaN where `bad`."""
    parts = pack_upper(matrix), jnp.diagonal(matrix), size
    return PackedMatrix(*(jnp.where(bad, jnp.nan, part) for part in parts))


def squared_norm(matrix: Float[Array, "n m"]) -> Float[Array, ""]:
    """Sum of squared entries."""
    return linalg.inner(matrix, matrix)
