"""Linear Gram matrices of so many samples that their features are smaller: kept as factors, compared in feature space.

`<F F', G G'> = |F' G|^2`: a pair costs `2 n d_x d_y` operations and no n x n matrix ever exists.
"""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from ..numerics import linalg
from ..numerics.linalg import HIGHEST
from .base import Maker, Order, Sketcher
from .sample_axis import HERE, Rows
from .scaling import scaled


class Factor(NamedTuple):
    """Features F with columns of mean zero, filled up with zeros to one width, such that `F F'` has Frobenius norm one.

    The other fields are those of `sketches.Gram`, of that matrix.
    """

    columns: Float[Array, "n w"]
    diagonal: Float[Array, " n"]
    inverse_norm: Float[Array, ""]
    unbiased_norm: Float[Array, ""]

    def reorder(self, order: Order) -> "Factor":
        return self._replace(columns=self.columns[order], diagonal=self.diagonal[order])


class Centered(NamedTuple):
    """Features times `factor`, with columns of mean zero, filled up with zeros to one width."""

    columns: Float[Array, "n w"]
    factor: Float[Array, ""]
    degenerate: Bool[Array, ""]


@dataclasses.dataclass(frozen=True)
class Centering(Maker):
    """Makes Centered of features; `bfloat16` changes nothing."""

    width: int

    def __call__(self, x: Num[Array, "n d"], rows: Rows = HERE) -> Centered:
        z, columns = scaled(x, centered=True, rows=rows)
        return Centered(jnp.pad(z, ((0, 0), (0, self.width - x.shape[1]))), columns.factor, columns.degenerate)


@dataclasses.dataclass(frozen=True)
class CenteredFactor(Sketcher):
    """The factor of `CenteredGram`, the linear one, for layers of at most `width` features."""

    width: int

    @property
    def products(self) -> Centering:
        return Centering(self.width)

    def without_pairs(self, width: int | None) -> "CenteredFactor":
        return self

    def reduce(self, products: Centered, rows: Rows = HERE) -> Factor:
        z = rows.held(products.columns)
        squares = factor_product(z, z, rows)
        bad = products.degenerate | ~(squares > 0)
        inverse = 1 / jnp.sqrt(jnp.where(bad, 1, squares))
        columns = jnp.where(bad, jnp.nan, z * jnp.sqrt(inverse))
        diagonal = rows.gather(jnp.sum(columns * columns, axis=1))
        trace, squared = jnp.sum(diagonal), linalg.inner(diagonal, diagonal)
        unbiased = linalg.u_centered((1 - squared) / 2, squared, trace * trace, diagonal.shape[0])
        norm = jnp.where(unbiased > 0, jnp.sqrt(jnp.where(unbiased > 0, unbiased, 1)), jnp.nan)
        return Factor(columns, diagonal, products.factor**2 * inverse, norm)


def factor_product(a: Float[Array, "n w"], b: Float[Array, "n w"], rows: Rows = HERE) -> Float[Array, ""]:
    """`<a a', b b'>`, as `|a' b|^2`."""
    cross = rows.total(jnp.matmul(a.T, b, precision=HIGHEST))
    return linalg.inner(cross, cross)
