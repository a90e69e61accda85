"""Nearest neighbours: kNN graphs, further data that metrics keep, and the sketchers that make them."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

from ..numerics import linalg
from ..numerics.backends import choices
from ..numerics.linalg import HIGHEST
from .base import DRAFTED_AT_ONCE, Candidates, Order, SketchContext, Sketcher, Summarizer
from .host_lists import candidates_by_cosine
from .inner_products import SummarizeInnerProducts
from .lists import ListSketcher
from .nearest import by_blocks, candidates_of, check_k, nearest, nearest_columns, query_rows, relabel
from .rounding import own_offset, rounding_of
from .sample_axis import LOCAL, SampleAxis
from .scaling import Columns, near_mean_of


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
    """Remains of the ranking of blocks of rows of `InnerProducts`: each row's largest entries and its mean."""

    neighbors: Int[Array, "n m"]
    values: Float[Array, "n m"]
    margin: Float[Array, " n"]
    means: Float[Array, " n"]
    offset: Float[Array, " n"]
    square: Float[Array, ""]
    factor: Float[Array, ""]
    degenerate: Bool[Array, ""]

    @property
    def candidates(self) -> Candidates:
        return Candidates(self.neighbors, self.values, self.margin)


@dataclasses.dataclass(frozen=True)
class NeighborSketcher(ListSketcher):
    """kNN graph of a layer; `normalize` makes rows unit first (cosine), else the dot product of rows as given ranks.

    With `groups`, a number for each sample, no sample is a neighbour of one of its own group. `queries` as in
    `query_rows`: the graph then has the rows of these samples alone.
    """

    k: int
    normalize: bool = True
    groups: tuple[int, ...] | None = None
    queries: int = 0

    @property
    def unit_rows(self) -> bool:
        return self.normalize

    @property
    def asked(self) -> int:
        return self.queries

    @property
    def summarizer(self) -> Summarizer:
        return SummarizeInnerProducts(unit_rows=self.normalize)

    def specialise(self, context: SketchContext) -> Sketcher:
        own = {
            "normalize": self.normalize and not context.unit_rows,
            "groups": self.groups if context.groups is None else context.groups,
        }
        if not context.avoid_matrix:
            return dataclasses.replace(self, **own)
        return BlockedNeighborSketcher(self.k, queries=self.queries, **own)

    def by_numpy(self, x: Any) -> KnnGraph | None:
        """The graph, made without a program of JAX; None where that is not quicker, or a layer needs its care."""
        n = len(x)
        plain = self.normalize and self.pairwise_matrix and self.groups is None and self.queries == 0
        if not (plain and choices().host_libraries and x.dtype == np.float32 and n <= DRAFTED_AT_ONCE):
            return None
        check_k(n, self.k, None)
        features = np.asarray(x)
        candidates = candidates_by_cosine(features, candidates_of(n, self.k, self.with_self))
        if candidates is None:
            return None
        return KnnGraph(self.settled(candidates, features, float("inf"), normalized=False)[0])  # type: ignore[arg-type]

    def candidates(self, summary: Any) -> Candidates:
        found = nearest(summary.ranking(), self.k, summary.margin(), groups=self.groups)
        return Candidates(*(z[query_rows(summary.gram.shape[0], self.queries)] for z in found))

    def from_candidates(self, summary: Any, candidates: Candidates) -> KnnGraph:
        return KnnGraph(jnp.where(summary.degenerate, -1, candidates.places[:, : self.k]))


@dataclasses.dataclass(frozen=True)
class BlockedNeighborSketcher(NeighborSketcher):
    """The kNN graph of `NeighborSketcher` for many samples: by blocks of rows, no matrix of all pairs in memory."""

    pairwise_matrix = False

    @property
    def summarizer(self) -> Summarizer:
        return SummarizeNearest(self.k, self.normalize, self.groups, queries=self.queries)

    def candidates(self, summary: Any) -> Candidates:
        return summary.candidates


def share_lists(sketchers: Mapping[str, Sketcher]) -> dict[str, Sketcher]:
    """Sketchers of lists that differ in k alone replaced by the one of the longest: its lists begin with theirs."""
    longest: dict[Sketcher, int] = {}
    for sketcher in sketchers.values():
        if isinstance(sketcher, NeighborSketcher):
            kind = dataclasses.replace(sketcher, k=0)
            longest[kind] = max(longest.get(kind, 0), sketcher.k)

    def shared(sketcher: Sketcher) -> Sketcher:
        if not isinstance(sketcher, NeighborSketcher):
            return sketcher
        return dataclasses.replace(sketcher, k=longest[dataclasses.replace(sketcher, k=0)])

    return {key: shared(sketcher) for key, sketcher in sketchers.items()}


@dataclasses.dataclass(frozen=True)
class SummarizeNearest(Summarizer):
    """Makes NearestRows of features: similarities of a block of samples with all, of which k and a few more are kept.

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
        square = linalg.inner(center[0], center[0])
        offset, margin = self.offset_and_margin(x, shifted, center[0], columns)
        factors = shifted.astype(jnp.bfloat16) if self.bfloat16 else shifted
        owner = jnp.arange(n) if self.groups is None else jnp.asarray(self.groups)
        queries, most = query_rows(n, self.queries), candidates_of(n, self.k, self.with_self)

        def block(samples):
            barred = False if self.with_self else owner[samples][:, None] == owner[None, :]
            return nearest_columns(factors[samples], factors, offset, barred, most)

        lists, values, sums = by_blocks(block, jnp.asarray(queries), n)
        return NearestRows(lists, values, margin[queries], sums / n, offset, square, columns.factor, columns.degenerate)

    def offset_and_margin(
        self,
        x: Float[Array, "n d"],
        shifted: Float[Array, "n d"],
        center: Float[Array, " d"],
        columns: Columns,
        rows: SampleAxis = LOCAL,
    ) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
        """`offset` and `margin` of InnerProducts, from features and from those minus a point near their mean."""
        unit, squares = self.unit_rows or self.normalized, jnp.sum(shifted * shifted, axis=1)
        square, factor = linalg.inner(center, center), columns.factor
        longest = linalg.safe_sqrt(rows.most(squares[:, None])[0, 0])
        rounding = rounding_of(
            x.shape[1],
            longest,
            linalg.safe_sqrt(square),
            factor,
            columns.degenerate,
            unit=unit,
            bfloat16=self.bfloat16,
        )
        own = unit and not self.bfloat16
        offset = own_offset(x, squares, square, factor) if own else jnp.matmul(shifted, center, precision=HIGHEST)
        return offset, rounding.margin(squares, longest)


@dataclasses.dataclass(frozen=True)
class NeighborSimilaritySketcher(ListSketcher):
    """kNN graph by cosine, and all cosines; `normalize` makes rows unit first. `groups` as in Neighbors."""

    k: int
    normalize: bool = True
    groups: tuple[int, ...] | None = None

    @property
    def unit_rows(self) -> bool:
        return self.normalize

    @property
    def summarizer(self) -> SummarizeInnerProducts:
        return SummarizeInnerProducts(unit_rows=self.normalize)

    def specialise(self, context: SketchContext) -> "NeighborSimilaritySketcher":
        groups = self.groups if context.groups is None else context.groups
        return dataclasses.replace(self, normalize=self.normalize and not context.unit_rows, groups=groups)

    def candidates(self, summary: Any) -> Candidates:
        return nearest(summary.ranking(), self.k, summary.margin(), groups=self.groups)

    def from_candidates(self, summary: Any, candidates: Candidates) -> Similarities:
        bad, row_part = summary.degenerate, (summary.offset + summary.square)[:, None]
        cosines = (summary.ranking() + row_part) / summary.factor / summary.factor
        # the length of a row is one, or zero up to rounding: a row of zeros is like no other
        zero = jnp.diagonal(cosines) < 0.5
        cosines = jnp.where(zero[:, None] | zero[None, :], 0, cosines)
        return Similarities(jnp.where(bad, -1, candidates.places[:, : self.k]), jnp.where(bad, jnp.nan, cosines))
