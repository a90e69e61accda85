"""Sketches of a statistic of one layer, in one number or a curve, whatever the other layer's samples are."""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Array, Bool, Float, Int, Num

from ..numerics import linalg
from ..numerics.exact_neighbors import Ranking
from ..numerics.linalg import HIGHEST
from ..runtime.host import quick_jit
from .base import Candidates, Order, SketchContext, Sketcher, Summarizer
from .inner_products import InnerProducts, SummarizeInnerProducts
from .lists import ListSketcher
from .nearest import nearest
from .on_host import cosine_of_rows, mean_on_host
from .scaling import scale_columns

TEMPERATURES = np.logspace(-1, 1, 256)
"""At which heat is looked at."""


class LayerStatistic(NamedTuple):
    """Statistic of one layer; NaN for a degenerate layer. The order of its samples changes nothing."""

    value: Float[Array, "*shape"]

    def reorder(self, order: Order) -> "LayerStatistic":
        return self


class MeanRow(NamedTuple):
    """Length of the mean row, of features times `factor`, and the mean cosine of a row with it."""

    length: Float[Array, ""]
    cosine: Float[Array, ""]
    factor: Float[Array, ""]
    degenerate: Bool[Array, ""]


@dataclasses.dataclass(frozen=True)
class SummarizeMeanRow(Summarizer):
    """Makes Mean of features; `bfloat16` changes nothing."""

    def __call__(self, x: Num[Array, "n d"]) -> MeanRow:
        z, columns = scale_columns(x, centered=False)
        mean = jnp.mean(z, axis=0, keepdims=True)
        length = linalg.safe_sqrt(linalg.inner(mean, mean))
        # a mean of zero up to rounding has no direction
        lost = length <= 4 * jnp.finfo(z.dtype).eps * jnp.sqrt(linalg.inner(z, z) / z.shape[0])
        cosines = jnp.matmul(linalg.unit_rows(z), linalg.unit_rows(mean)[0], precision=HIGHEST)
        cosine = jnp.where(lost, jnp.nan, jnp.mean(cosines))
        return MeanRow(length, cosine, columns.factor, columns.degenerate)


@dataclasses.dataclass(frozen=True)
class MagnitudeSketcher(Sketcher):
    """Length of the mean row."""

    @property
    def summarizer(self) -> SummarizeMeanRow:
        return SummarizeMeanRow()

    def sketch(self, summary: MeanRow) -> LayerStatistic:
        return LayerStatistic(jnp.where(summary.degenerate, jnp.nan, summary.length / summary.factor))

    def on_host(self, x: Float[np.ndarray, "n d"]) -> float | None:
        """The length by numpy, of a layer without need of care; else None."""
        mean = mean_on_host(x)
        return None if mean is None else float(np.linalg.norm(mean))


@dataclasses.dataclass(frozen=True)
class ConcentricitySketcher(Sketcher):
    """Mean cosine of a row with the mean row; a row of zeros counts as 0, and without a mean it is NaN."""

    @property
    def summarizer(self) -> SummarizeMeanRow:
        return SummarizeMeanRow()

    def sketch(self, summary: MeanRow) -> LayerStatistic:
        return LayerStatistic(jnp.where(summary.degenerate, jnp.nan, summary.cosine))

    def on_host(self, x: Float[np.ndarray, "n d"]) -> float | None:
        """The mean cosine by numpy, of a layer without need of care; else None."""
        mean = mean_on_host(x)
        return None if mean is None else cosine_of_rows(x, mean)


@dataclasses.dataclass(frozen=True)
class UniformitySketcher(Sketcher):
    """`log mean_ij exp(-t |x_i - x_j|^2)`, over all i and j, equal ones too."""

    t: float

    @property
    def summarizer(self) -> SummarizeInnerProducts:
        return SummarizeInnerProducts()

    def sketch(self, summary: InnerProducts) -> LayerStatistic:
        squares = linalg.squared_distances(summary.gram)
        # of large features the square of the factor, by which a compiler may divide at once, is zero
        apart = jnp.where(squares > 0, squares / summary.factor / summary.factor, 0)
        near = jnp.exp(-self.t * apart)
        return LayerStatistic(jnp.where(summary.degenerate, jnp.nan, jnp.log(jnp.mean(near))))


@dataclasses.dataclass(frozen=True)
class HeatTraceSketcher(ListSketcher):
    """`h(t) / n = mean_i exp(-t l_i)` at all TEMPERATURES, l the eigenvalues of a graph's normalised Laplacian.

    The graph joins each sample with its k nearest by Euclidean distance, whichever of two has the other.
    """

    k: int
    groups: tuple[int, ...] | None = None

    @property
    def summarizer(self) -> SummarizeInnerProducts:
        return SummarizeInnerProducts()

    def specialise(self, context: SketchContext) -> "HeatTraceSketcher":
        return self if context.groups is None else dataclasses.replace(self, groups=context.groups)

    @property
    def ranking(self) -> Ranking:
        return "distance"

    @property
    def ordered(self) -> bool:
        return False  # a graph of all that are in the list

    def candidates(self, summary: Any) -> Candidates:
        squares = linalg.squared_distances(summary.gram)
        return nearest(-squares, self.k, summary.distance_margin(), groups=self.groups)

    def from_candidates(self, summary: Any, candidates: Candidates) -> LayerStatistic:
        return self.of_graph(candidates.places[:, : self.k], summary.degenerate, summary.gram.dtype)

    def relist(self, sketch: LayerStatistic, lists: Any, changed: Any, exact: Any) -> LayerStatistic:
        return jax.device_get(_of_graph(lists, sketcher=self, kind=sketch.value.dtype))

    def of_graph(self, lists: Int[Array, "n k"], degenerate: Any, kind: Any) -> LayerStatistic:
        """The sketch, from the lists that make the graph."""
        n = lists.shape[0]
        rows = jnp.broadcast_to(jnp.arange(n, dtype=lists.dtype)[:, None], lists.shape)
        edges = jnp.zeros((n, n), kind).at[rows, lists].set(1)
        edges = jnp.maximum(edges, edges.T)
        inverse = 1 / jnp.sqrt(jnp.sum(edges, axis=1))
        laplacian = jnp.eye(n, dtype=edges.dtype) - edges * inverse[:, None] * inverse[None, :]
        values = jnp.linalg.eigvalsh(laplacian)
        heat = jnp.exp(-jnp.asarray(TEMPERATURES, values.dtype)[:, None] * values[None, :])
        return LayerStatistic(jnp.where(degenerate, jnp.nan, jnp.mean(heat, axis=1)))

    def on_host(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " t"] | None:
        """The trace by eigenvalues of the host, as JAX finds vectors too on a CPU; None for a degenerate layer."""
        candidates, degenerate = _candidates(x, sketcher=self)
        if degenerate:
            return None
        lists, _ = self.settled(candidates, x, float("inf"), normalized=False)
        edges = np.zeros((len(lists), len(lists)), np.float32)
        np.put_along_axis(edges, lists, 1, axis=1)
        edges = np.maximum(edges, edges.T)
        inverse = 1 / np.sqrt(edges.sum(axis=1))
        laplacian = np.eye(len(lists), dtype=np.float32) - edges * inverse[:, None] * inverse[None, :]
        values = scipy.linalg.eigvalsh(laplacian, overwrite_a=True, check_finite=False)
        return np.exp(-TEMPERATURES.astype(np.float32)[:, None] * values[None, :]).mean(axis=1)


@partial(quick_jit, static_argnames=("sketcher",))
def _candidates(x: Any, *, sketcher: HeatTraceSketcher) -> tuple[Candidates, Bool[Array, ""]]:
    """The candidates for the lists of a layer, and whether it is degenerate; compiled once for each shape."""
    summary = sketcher.summarizer(x)
    return sketcher.candidates(summary), summary.degenerate


@partial(jax.jit, static_argnames=("sketcher", "kind"))
def _of_graph(lists: Any, *, sketcher: HeatTraceSketcher, kind: Any) -> LayerStatistic:
    return sketcher.of_graph(lists, False, kind)
