"""The samples nearest to each by Euclidean distance, a block of rows at a time."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..numerics import linalg
from .neighbors import SummarizeNearest
from .rounding import rounding_of
from .sample_axis import LOCAL, SampleAxis
from .scaling import Columns


@dataclasses.dataclass(frozen=True)
class SummarizeClosest(SummarizeNearest):
    """Makes NearestRows whose values are `<s_i, s_j> - |s_j|^2 / 2`, which rank samples by their distance from s_i.

    `offset` is `-|s_j|^2 / 2`. Values and offset give the squared distances `-2 (value_ij + offset_i)`.
    """

    unit_rows: bool = False
    groups: tuple[int, ...] | None = None

    def offset_and_margin(
        self,
        x: Float[Array, "n d"],
        shifted: Float[Array, "n d"],
        center: Float[Array, " d"],
        columns: Columns,
        rows: SampleAxis = LOCAL,
    ) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
        """`offset`, and how much two values of a row that differ may have come nearer by rounding."""
        squares = jnp.sum(shifted * shifted, axis=1)
        longest = linalg.safe_sqrt(rows.most(squares[:, None])[0, 0])
        rounding = rounding_of(
            x.shape[1],
            longest,
            linalg.safe_sqrt(linalg.inner(center, center)),
            columns.factor,
            columns.degenerate,
            unit=self.unit_rows or self.normalized,
            bfloat16=self.bfloat16,
        )
        return -squares / 2, rounding.distance_margin(squares, longest) / 2
