"""Sketches that are features themselves, for what asks which feature is which: matches, and weights of axes.

They are as large as the features, filled up with zeros to the width of the widest layer of a study, so that they stack
as others do; the number of real columns is next to them.
"""

import dataclasses
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from ..numerics import linalg
from ..numerics.linalg import HIGHEST
from ..numerics.matrix_root import left_singular
from .base import Order, SketchContext, Sketcher, Summarizer
from .scaling import scale_columns, z_scores

ColumnForm = Literal["given", "centered", "standard"]


class FeatureColumns(NamedTuple):
    """Features with columns of length one ("standard"), or of Frobenius norm one; `count` of the columns are real.

    `size` is the norm that was divided by; NaN throughout for a degenerate layer.
    """

    columns: Float[Array, "n w"]
    count: Int[Array, ""]
    size: Float[Array, ""]

    def reorder(self, order: Order) -> "FeatureColumns":
        return self._replace(columns=self.columns[order])


class KeptColumns(NamedTuple):
    """Features times `factor`, filled up with zeros; `width` columns are real."""

    columns: Float[Array, "n w"]
    count: Int[Array, ""]
    factor: Float[Array, ""]
    degenerate: Bool[Array, ""]


class Axes(NamedTuple):
    """Orthonormal axes of the samples, and what features lie along each: `vectors @ loadings` are the centred features.

    `vectors` beyond the rank are zero; NaN throughout for a degenerate layer.
    """

    vectors: Float[Array, "n m"]
    loadings: Float[Array, "m w"]
    rank: Int[Array, ""]

    def reorder(self, order: Order) -> "Axes":
        return self._replace(vectors=self.vectors[order])


class Decomposition(NamedTuple):
    """Left singular vectors and singular values of centred features, and the features along the vectors."""

    vectors: Float[Array, "n m"]
    values: Float[Array, " m"]
    loadings: Float[Array, "m w"]
    degenerate: Bool[Array, ""]


@dataclasses.dataclass(frozen=True)
class SummarizeColumns(Summarizer):
    """Makes Kept of features as given, with columns of mean zero, or z-scored; `bfloat16` changes nothing."""

    form: ColumnForm
    width: int | None

    def __call__(self, x: Num[Array, "n d"]) -> KeptColumns:
        if self.form == "standard":
            z, columns = z_scores(x)
        else:
            z, columns = scale_columns(x, centered=self.form == "centered")
        count = jnp.asarray(x.shape[1], jnp.int32)
        return KeptColumns(fill_up(z, z.shape[0], self.width), count, columns.factor, columns.degenerate)


@dataclasses.dataclass(frozen=True)
class SummarizeDecomposition(Summarizer):
    """Makes Decomposed of features; `bfloat16` changes nothing."""

    width: int | None

    def __call__(self, x: Num[Array, "n d"]) -> Decomposition:
        z, columns = scale_columns(x, centered=True)
        vectors, values = left_singular(z)
        loadings = jnp.matmul(vectors.T, z, precision=HIGHEST)
        n, most = x.shape[0], min(x.shape[0], self.width or x.shape[1])
        vectors, loadings = fill_up(vectors, n, most), fill_up(loadings, most, self.width)
        return Decomposition(vectors, jnp.pad(values, (0, most - values.shape[0])), loadings, columns.degenerate)


def fill_up(z: Float[Array, "_ _"], rows: int, columns: int | None) -> Float[Array, "_ _"]:
    """A matrix with zeros below and to the right of it, of a number of rows and columns (as many as it has if None)."""
    columns = z.shape[1] if columns is None else columns
    return jnp.pad(z, ((0, rows - z.shape[0]), (0, columns - z.shape[1])))


@dataclasses.dataclass(frozen=True)
class ColumnSketcher(Sketcher):
    """Features of a layer, of Frobenius norm one: as "given", "centered", or "standard": each column of length one."""

    form: ColumnForm
    width: int | None = None

    @property
    def summarizer(self) -> SummarizeColumns:
        return SummarizeColumns(self.form, self.width)

    def specialise(self, context: SketchContext) -> "ColumnSketcher":
        return self if context.width is None else dataclasses.replace(self, width=context.width)

    def sketch(self, summary: KeptColumns) -> FeatureColumns:
        z, bad = summary.columns, summary.degenerate
        if self.form == "standard":
            norm = jnp.full_like(summary.factor, (z.shape[0] - 1.0) ** 0.5)
        else:
            squares = linalg.inner(z, z)
            bad = bad | ~(squares > 0)
            norm = jnp.sqrt(jnp.where(bad, 1, squares))
        columns, size = (jnp.where(bad, jnp.nan, part) for part in (z / norm, norm / summary.factor))
        return FeatureColumns(columns, summary.count, size)


@dataclasses.dataclass(frozen=True)
class AxesSketcher(Sketcher):
    """Axes of a layer. Singular values below n eps of the largest count as zero."""

    width: int | None = None

    @property
    def summarizer(self) -> SummarizeDecomposition:
        return SummarizeDecomposition(self.width)

    def specialise(self, context: SketchContext) -> "AxesSketcher":
        return self if context.width is None else dataclasses.replace(self, width=context.width)

    def sketch(self, summary: Decomposition) -> Axes:
        values = summary.values
        kept = values > summary.vectors.shape[0] * jnp.finfo(values.dtype).eps * values[:1]
        bad = summary.degenerate | ~kept[0]
        vectors, loadings = (
            jnp.where(bad, jnp.nan, jnp.where(mask, z, 0))
            for mask, z in ((kept[None, :], summary.vectors), (kept[:, None], summary.loadings))
        )
        return Axes(vectors, loadings, jnp.sum(kept, dtype=jnp.int32))


def same_width(a: FeatureColumns, b: FeatureColumns) -> tuple[Any, Any]:
    """Columns of both, filled up to one width, where they were sketched without a word of the widest layer."""
    width = max(a.columns.shape[1], b.columns.shape[1])
    return tuple(fill_up(side.columns, side.columns.shape[0], width) for side in (a, b))  # type: ignore[return-value]
