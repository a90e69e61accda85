"""Sketches of the span of a layer as an orthonormal basis, for layers with far fewer features than samples.

Other layers have the projector on the span as their sketch (`HatSketcher`), which is n x n for every width.
"""

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from ..numerics.matrix_root import hat_weights, left_singular
from .base import Order, SketchContext, Sketcher, Summarizer
from .feature_columns import fill_up
from .root_matrices import DirectionSketcher, HatSketcher, rank_floor
from .scaling import scale_columns


class Span(NamedTuple):
    """Orthonormal columns that span a layer, filled up with zeros, and their number; NaN for a degenerate layer."""

    columns: Float[Array, "n w"]
    size: Float[Array, ""]

    def reorder(self, order: Order) -> "Span":
        return self._replace(columns=self.columns[order])


class LeftSingular(NamedTuple):
    """Left singular vectors and singular values of centred features, the largest first, filled up with zeros.

    A singular value of at most `floor` times the largest counts as zero.
    """

    vectors: Float[Array, "n w"]
    values: Float[Array, " w"]
    floor: Float[Array, ""]
    degenerate: Bool[Array, ""]

    @property
    def samples(self) -> int:
        return self.vectors.shape[0]


@dataclasses.dataclass(frozen=True)
class SummarizeSingular(Summarizer):
    """Makes a LeftSingular of `width` columns from features; `bfloat16` has no effect."""

    width: int

    def __call__(self, x: Num[Array, "n d"]) -> LeftSingular:
        z, columns = scale_columns(x, centered=True)
        vectors, values = left_singular(z)
        values = jnp.pad(values, (0, self.width - values.shape[0]))
        return LeftSingular(fill_up(vectors, z.shape[0], self.width), values, rank_floor(z), columns.degenerate)


@dataclasses.dataclass(frozen=True)
class SpanSketcher(DirectionSketcher):
    """Makes a basis of the leading directions that hold a share of a layer's variance; of all directions if it is 1."""

    variance: float = 1.0
    width: int = 0

    @property
    def summarizer(self) -> SummarizeSingular:
        return SummarizeSingular(self.width)

    def sketch(self, summary: LeftSingular) -> Span:
        values = summary.values
        kept, _ = hat_weights(values, values > summary.floor * values[:1], variance=self.variance)
        bad = summary.degenerate | ~kept[0]
        columns = jnp.where(kept[None, :], summary.vectors, 0)
        return Span(*(jnp.where(bad, jnp.nan, part) for part in (columns, jnp.sum(kept, dtype=values.dtype))))


@dataclasses.dataclass(frozen=True)
class ProjectorSketcher(HatSketcher):
    """Makes the projector on the span of a layer. In a study of narrow layers a `SpanSketcher` makes a basis instead.

    With a basis, each pair takes less time.
    """

    def specialise(self, context: SketchContext) -> Sketcher:
        # a basis has derivatives only if no two singular values are equal; those of the projector are written out
        narrow = None if context.derived else context.narrow
        return self if narrow is None else SpanSketcher(self.variance, narrow)


def basis_of(sketch: Any) -> Float[Array, "n w"]:
    """A matrix for each layer; the product of two has the canonical correlations of the layers as singular values."""
    return sketch.columns if isinstance(sketch, Span) else sketch.matrix()
