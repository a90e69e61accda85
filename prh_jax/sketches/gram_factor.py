"""Linear Gram matrices of many samples, kept as factors and compared in feature space.

`<F F', G G'> = |F' G|^2`: a pair costs `2 n d_x d_y` operations and no n x n matrix ever exists.
"""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from ..numerics import linalg
from ..numerics.linalg import HIGHEST
from .base import Order, Sketcher, Summarizer
from .sample_axis import LOCAL, SampleAxis
from .scaling import scale_columns


class GramFactor(NamedTuple):
    """Features F with columns of mean zero, filled up with zeros to one width, such that `F F'` has Frobenius norm one.

    The other fields are those of `Gram`, of that matrix; `unbiased_norm` is NaN more often, as products of features do
    not leave out the diagonal.
    """

    columns: Float[Array, "n w"]
    diagonal: Float[Array, " n"]
    inverse_norm: Float[Array, ""]
    unbiased_norm: Float[Array, ""]

    def reorder(self, order: Order) -> "GramFactor":
        return self._replace(columns=self.columns[order], diagonal=self.diagonal[order])


class CenteredColumns(NamedTuple):
    """Features times `factor`, with columns of mean zero, filled up with zeros to one width."""

    columns: Float[Array, "n w"]
    factor: Float[Array, ""]
    degenerate: Bool[Array, ""]


@dataclasses.dataclass(frozen=True)
class SummarizeCentered(Summarizer):
    """Makes Centered of features; `bfloat16` changes nothing."""

    width: int

    def __call__(self, x: Num[Array, "n d"], rows: SampleAxis = LOCAL) -> CenteredColumns:
        z, columns = scale_columns(x, centered=True, rows=rows)
        return CenteredColumns(jnp.pad(z, ((0, 0), (0, self.width - x.shape[1]))), columns.factor, columns.degenerate)


@dataclasses.dataclass(frozen=True)
class GramFactorSketcher(Sketcher):
    """The factor of `GramSketcher`, the linear one, for layers of at most `width` features."""

    pairwise_matrix = False

    width: int

    @property
    def summarizer(self) -> SummarizeCentered:
        return SummarizeCentered(self.width)

    def sketch(self, summary: CenteredColumns, rows: SampleAxis = LOCAL) -> GramFactor:
        z = rows.held(summary.columns)
        squares = factor_product(z, z, rows)
        bad = summary.degenerate | ~(squares > 0)
        inverse = 1 / jnp.sqrt(jnp.where(bad, 1, squares))
        columns = jnp.where(bad, jnp.nan, z * jnp.sqrt(inverse))
        own = rows.gather(jnp.sum(columns * columns, axis=1))
        n = own.shape[0]
        # of H diag(e) H the diagonal is (1 - 2/n) e + sum(e) / n^2
        diagonal = linalg.own_diagonal((own - jnp.sum(own) / (n * (n - 1.0))) / (1 - 2 / n), None, n)
        # the norm of the whole is one: what rounding leaves of a small part of it is no score
        unbiased = 1 - linalg.inner(diagonal, diagonal)
        known = unbiased > 1000 * jnp.finfo(unbiased.dtype).eps
        norm = jnp.where(known, jnp.sqrt(jnp.where(known, unbiased, 1)), jnp.nan)
        return GramFactor(columns, diagonal, summary.factor**2 * inverse, norm)


def factor_product(a: Float[Array, "n w"], b: Float[Array, "n w"], rows: SampleAxis = LOCAL) -> Float[Array, ""]:
    """`<a a', b b'>`, as `|a' b|^2`."""
    cross = rows.total(jnp.matmul(a.T, b, precision=HIGHEST))
    return linalg.inner(cross, cross)
