"""Inner products of a layer's samples: the one step whose cost grows with the width, shared by many sketches."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from ..numerics import linalg
from ..numerics.blocks import join_blocks, row_blocks, sum_over_columns
from ..numerics.linalg import HIGHEST
from .base import Summarizer
from .rounding import Rounding, own_offset, rounding_of
from .scaling import near_mean_of


class InnerProducts(NamedTuple):
    """`<x_i, x_j> = gram_ij + offset_i + offset_j + square`, of features times `factor`; no width in any shape.

    `gram` is that of the features minus a point near their mean (`square` its squared norm), so that nothing cancels
    where features share a large mean. `degenerate` marks a layer without similarities (see `column_ranges`).
    """

    gram: Float[Array, "n n"]
    offset: Float[Array, " n"]
    square: Float[Array, ""]
    factor: Float[Array, ""]
    rounding: Rounding
    degenerate: Bool[Array, ""]

    def take(self, samples: Int[Array, " m"]) -> "InnerProducts":
        """The inner products of some of the samples."""
        return self._replace(gram=self.gram[samples[:, None], samples[None, :]], offset=self.offset[samples])

    def ranking(self) -> Float[Array, "n n"]:
        """Similarities that order the samples nearest to each as the inner products do."""
        return self.gram + self.offset[None, :]

    def margin(self) -> Float[Array, " n"]:
        """How much two entries of each row of the ranking that differ may have come nearer by rounding."""
        squares = jnp.diagonal(self.gram)
        return self.rounding.margin(squares, linalg.safe_sqrt(jnp.max(squares)))

    def distance_margin(self) -> Float[Array, " n"]:
        """The same of squared distances."""
        squares = jnp.diagonal(self.gram)
        return self.rounding.distance_margin(squares, linalg.safe_sqrt(jnp.max(squares)))


@dataclasses.dataclass(frozen=True)
class SummarizeInnerProducts(Summarizer):
    """Makes InnerProducts of the rows as given, or of unit rows (cosines); `bfloat16` as in `blocks.gram`.

    `row_centered` subtracts each row's mean before it is made unit: cosines are Pearson correlations then.
    """

    unit_rows: bool = False
    row_centered: bool = False

    def __call__(self, x: Num[Array, "n d"]) -> InnerProducts:
        x, columns, center = near_mean_of(x, self.unit_rows, self.row_centered)
        degenerate = columns.degenerate

        def products(z, center):
            shifted = jnp.where(degenerate, 0, z * columns.factor - center)
            offset = jnp.matmul(shifted, center[0], precision=HIGHEST)
            return row_blocks(shifted, bfloat16=self.bfloat16), offset

        blocks, offset = sum_over_columns(products, x, center)
        gram, square = join_blocks(blocks), linalg.inner(center, center)
        unit, squares = self.unit_rows or self.normalized, jnp.diagonal(gram)
        if unit and not self.bfloat16:
            offset = own_offset(x, squares, square, columns.factor)
        longest, from_center = linalg.safe_sqrt(jnp.max(squares)), linalg.safe_sqrt(square)
        rounding = rounding_of(
            x.shape[1], longest, from_center, columns.factor, degenerate, unit=unit, bfloat16=self.bfloat16
        )
        return InnerProducts(gram, offset, square, columns.factor, rounding, degenerate)
