"""Nearest neighbours: kNN graphs, what metrics keep beside them, and the sketchers that make them."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Num

from ..numerics import linalg
from ..numerics.linalg import HIGHEST
from .base import Order, SketchContext, Sketcher, Summarizer
from .inner_products import InnerProducts, SummarizeInnerProducts
from .nearest import by_blocks, check_k, nearest, nearest_columns, query_rows, relabel
from .scaling import near_mean_of


class KnnGraph(NamedTuple):
    """Row i: the k samples nearest to sample i, nearest first, itself excluded; all -1 for a degenerate layer.

    Rows of all samples, or of queries alone (see `query_rows`); such a graph cannot be reordered.
    """

    neighbors: Int[Array, "n k"]

    def reorder(self, order: Order) -> "KnnGraph":
        return KnnGraph(relabel(self.neighbors, order))


class Similarities(NamedTuple):
    """Neighbours, and the cosines of all pairs of samples."""

    neighbors: Int[Array, "n k"]
    matrix: Float[Array, "n n"]

    def reorder(self, order: Order) -> "Similarities":
        return Similarities(relabel(self.neighbors, order), self.matrix[order[:, None], order[None, :]])


class NearestRows(NamedTuple):
    """What blocks of rows of `InnerProducts` leave of their ranking: each row's k largest entries, and its mean."""

    neighbors: Int[Array, "n k"]
    values: Float[Array, "n k"]
    means: Float[Array, " n"]
    offset: Float[Array, " n"]
    square: Float[Array, ""]
    factor: Float[Array, ""]
    degenerate: Bool[Array, ""]


@dataclasses.dataclass(frozen=True)
class NeighborSketcher(Sketcher):
    """kNN graph of a layer; `normalize` makes rows unit first (cosine), else the dot product of rows as given ranks.

    With `groups`, a number for each sample, no sample is a neighbour of one of its own group. `queries` as in
    `query_rows`: the graph then has the rows of these samples alone.
    """

    k: int
    normalize: bool = True
    groups: tuple[int, ...] | None = None
    queries: int = 0

    @property
    def summarizer(self) -> SummarizeInnerProducts:
        return SummarizeInnerProducts(unit_rows=self.normalize)

    def specialise(self, context: SketchContext) -> Sketcher:
        own = {
            "normalize": self.normalize and not context.unit_rows,
            "groups": self.groups if context.groups is None else context.groups,
        }
        if not context.avoid_matrix:
            return dataclasses.replace(self, **own)
        return BlockedNeighborSketcher(self.k, queries=self.queries, **own)

    def sketch(self, summary: InnerProducts) -> KnnGraph:
        ranking = summary.ranking()
        lists = nearest(ranking, self.k, groups=self.groups)[query_rows(ranking.shape[0], self.queries)]
        return KnnGraph(jnp.where(summary.degenerate, -1, lists))


@dataclasses.dataclass(frozen=True)
class BlockedNeighborSketcher(Sketcher):
    """The kNN graph of `NeighborSketcher` for many samples: by blocks of rows, no matrix of all pairs in memory."""

    pairwise_matrix = False

    k: int
    normalize: bool
    groups: tuple[int, ...] | None
    queries: int = 0

    @property
    def summarizer(self) -> "SummarizeNearest":
        return SummarizeNearest(self.k, self.normalize, self.groups, queries=self.queries)

    def sketch(self, summary: NearestRows) -> KnnGraph:
        return KnnGraph(jnp.where(summary.degenerate, -1, summary.neighbors))


@dataclasses.dataclass(frozen=True)
class SummarizeNearest(Summarizer):
    """Makes NearestRows of features: similarities of a block of samples with all, of which the k largest are kept.

    `queries` as in `query_rows`: rows of these samples alone.
    """

    k: int
    unit_rows: bool
    groups: tuple[int, ...] | None
    with_self: bool = False
    queries: int = 0

    def __call__(self, x: Num[Array, "n d"]) -> NearestRows:
        n = x.shape[0]
        check_k(n, self.k, self.groups)
        x, columns, center = near_mean_of(x, self.unit_rows)
        shifted = jnp.where(columns.degenerate, 0, x * columns.factor - center)
        offset = jnp.matmul(shifted, center[0], precision=HIGHEST)
        factors = shifted.astype(jnp.bfloat16) if self.bfloat16 else shifted
        owner = jnp.arange(n) if self.groups is None else jnp.asarray(self.groups)

        def block(samples):
            barred = False if self.with_self else owner[samples][:, None] == owner[None, :]
            return nearest_columns(factors[samples], factors, offset, barred, self.k)

        lists, values, sums = by_blocks(block, jnp.asarray(query_rows(n, self.queries)), n)
        square = linalg.inner(center[0], center[0])
        return NearestRows(lists, values, sums / n, offset, square, columns.factor, columns.degenerate)


@dataclasses.dataclass(frozen=True)
class NeighborSimilaritySketcher(Sketcher):
    """kNN graph by cosine, and all cosines; `unit_rows` makes rows unit first. `groups` as in Neighbors."""

    k: int
    unit_rows: bool = True
    groups: tuple[int, ...] | None = None

    @property
    def summarizer(self) -> SummarizeInnerProducts:
        return SummarizeInnerProducts(unit_rows=self.unit_rows)

    def specialise(self, context: SketchContext) -> "NeighborSimilaritySketcher":
        groups = self.groups if context.groups is None else context.groups
        return dataclasses.replace(self, unit_rows=self.unit_rows and not context.unit_rows, groups=groups)

    def sketch(self, summary: InnerProducts) -> Similarities:
        ranking, bad = summary.ranking(), summary.degenerate
        neighbors = nearest(lax.stop_gradient(ranking), self.k, groups=self.groups)
        row_part = (summary.offset + summary.square)[:, None]
        cosines = (ranking + row_part) / summary.factor / summary.factor
        return Similarities(jnp.where(bad, -1, neighbors), jnp.where(bad, jnp.nan, cosines))
