"""Inner products of a layer's samples: the one step whose cost grows with the width, shared by many sketches."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from ..numerics import linalg
from ..numerics.blocks import join_blocks, row_blocks, sum_over_columns
from ..numerics.linalg import HIGHEST
from .base import Summarizer
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
    degenerate: Bool[Array, ""]

    def take(self, samples: Int[Array, " m"]) -> "InnerProducts":
        """The inner products of some of the samples."""
        return self._replace(gram=self.gram[samples[:, None], samples[None, :]], offset=self.offset[samples])

    def ranking(self) -> Float[Array, "n n"]:
        """Similarities that order the samples nearest to each as the inner products do."""
        return self.gram + self.offset[None, :]


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
        square = linalg.inner(center, center)
        return InnerProducts(join_blocks(blocks), offset, square, columns.factor, degenerate)
