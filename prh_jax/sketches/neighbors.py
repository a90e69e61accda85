"""Nearest neighbours: kNN graphs, what metrics keep beside them, and the sketchers that make them."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Num

from ..numerics import linalg
from ..numerics.linalg import HIGHEST
from .base import Maker, Order, Sketcher
from .inner_products import InnerProducts, Products
from .nearest import _relabel, by_blocks, check_k, nearest, nearest_columns, pairs_fit, query_rows
from .scaling import look_near_mean


class KnnGraph(NamedTuple):
    """Row i: the k samples nearest to sample i, nearest first, itself excluded; all -1 for a degenerate layer.

    Rows of all samples, or of queries alone (see `query_rows`); such a graph cannot be reordered.
    """

    neighbors: Int[Array, "n k"]

    def reorder(self, order: Order) -> "KnnGraph":
        return KnnGraph(_relabel(self.neighbors, order))


class Similarities(NamedTuple):
    """Neighbours, and the cosines of all pairs of samples."""

    neighbors: Int[Array, "n k"]
    matrix: Float[Array, "n n"]

    def reorder(self, order: Order) -> "Similarities":
        return Similarities(_relabel(self.neighbors, order), self.matrix[order[:, None], order[None, :]])


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
class Neighbors(Sketcher):
    """kNN graph of a layer; `normalize` makes rows unit first (cosine), else the dot product of rows as given ranks.

    With `groups`, a number for each sample, no sample is a neighbour of one of its own group. `queries` as in
    `query_rows`: the graph then has the rows of these samples alone.
    """

    k: int
    normalize: bool = True
    groups: tuple[int, ...] | None = None
    queries: int = 0

    @property
    def products(self) -> Products:
        return Products(unit_rows=self.normalize)

    def on_unit_rows(self) -> "Neighbors":
        return dataclasses.replace(self, normalize=False)

    def for_samples(self, n: int, width: int | None = None) -> Sketcher:
        return self if pairs_fit(n) else self.without_pairs(width)

    def without_pairs(self, width: int | None) -> "BlockedNeighbors":
        return BlockedNeighbors(self.k, self.normalize, self.groups, self.queries)

    def excluding(self, groups: tuple[int, ...]) -> "Neighbors":
        return dataclasses.replace(self, groups=groups)

    def reduce(self, products: InnerProducts) -> KnnGraph:
        ranking = products.ranking()
        lists = nearest(ranking, self.k, groups=self.groups)[query_rows(ranking.shape[0], self.queries)]
        return KnnGraph(jnp.where(products.degenerate, -1, lists))


@dataclasses.dataclass(frozen=True)
class BlockedNeighbors(Sketcher):
    """The kNN graph of `Neighbors` for many samples: by blocks of rows, no matrix of all pairs in memory."""

    k: int
    normalize: bool
    groups: tuple[int, ...] | None
    queries: int = 0

    @property
    def products(self) -> "NearestLists":
        return NearestLists(self.k, self.normalize, self.groups, queries=self.queries)

    def without_pairs(self, width: int | None) -> "BlockedNeighbors":
        return self

    def on_unit_rows(self) -> "BlockedNeighbors":
        return dataclasses.replace(self, normalize=False)

    def excluding(self, groups: tuple[int, ...]) -> "BlockedNeighbors":
        return dataclasses.replace(self, groups=groups)

    def reduce(self, products: NearestRows) -> KnnGraph:
        return KnnGraph(jnp.where(products.degenerate, -1, products.neighbors))


@dataclasses.dataclass(frozen=True)
class NearestLists(Maker):
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
        x, columns, center = look_near_mean(x, self.unit_rows)
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
class NeighborSimilarities(Sketcher):
    """kNN graph by cosine, and all cosines; `unit_rows` makes rows unit first. `groups` as in Neighbors."""

    k: int
    unit_rows: bool = True
    groups: tuple[int, ...] | None = None

    @property
    def products(self) -> Products:
        return Products(unit_rows=self.unit_rows)

    def on_unit_rows(self) -> "NeighborSimilarities":
        return dataclasses.replace(self, unit_rows=False)

    def excluding(self, groups: tuple[int, ...]) -> "NeighborSimilarities":
        return dataclasses.replace(self, groups=groups)

    def reduce(self, products: InnerProducts) -> Similarities:
        ranking, bad = products.ranking(), products.degenerate
        neighbors = nearest(lax.stop_gradient(ranking), self.k, groups=self.groups)
        row_part = (products.offset + products.square)[:, None]
        cosines = (ranking + row_part) / products.factor / products.factor
        return Similarities(jnp.where(bad, -1, neighbors), jnp.where(bad, jnp.nan, cosines))
