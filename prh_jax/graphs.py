"""Nearest neighbours: kNN graphs, what metrics keep beside them, and the sketchers that make them."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Num

from .metric import Maker, Order, Sketcher
from .numerics import linalg
from .numerics.linalg import HIGHEST
from .products import InnerProducts, Products, look_near_mean

MANY, BLOCK, ENTRIES, GROUP = 8192, 512, 2**26, 64
"""Samples above which no matrix of all pairs is made; rows of a block that is made in its place, and most entries; and
entries of a row whose largest is found first."""


class KnnGraph(NamedTuple):
    """Row i: the k samples nearest to sample i, nearest first, itself excluded; all -1 for a degenerate layer.

    Rows of all samples, or of queries alone (see `query_rows`); such a graph cannot be reordered.
    """

    neighbors: Int[Array, "n k"]

    def reorder(self, order: Order) -> "KnnGraph":
        return KnnGraph(_relabel(self.neighbors, order))


class NeighborKernel(NamedTuple):
    """Neighbours with their kernel values, the layer's alignment with itself, and the factor that undoes prescaling."""

    neighbors: Int[Array, "n k"]
    values: Float[Array, "n k"]
    self_alignment: Float[Array, ""]
    factor: Float[Array, ""]

    def reorder(self, order: Order) -> "NeighborKernel":
        return self._replace(neighbors=_relabel(self.neighbors, order), values=self.values[order])


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


def _relabel(neighbors: Int[Array, "n k"], order: Order) -> Int[Array, "n k"]:
    """Neighbour lists of `features[order]`: row i is old row order[i], and old sample s is now at inverse[s]."""
    n = order.shape[0]
    inverse = jnp.zeros(n, neighbors.dtype).at[order].set(jnp.arange(n, dtype=neighbors.dtype))
    lists = neighbors[order]
    return jnp.where(lists < 0, lists, inverse[jnp.maximum(lists, 0)])


def check_k(n: int, k: int, groups: tuple[int, ...] | None) -> None:
    """ValueError unless each of n samples has k others to choose from."""
    if groups is not None:
        largest = int(np.bincount(np.asarray(groups)).max())
        if k > n - largest:
            raise ValueError(
                f"The largest group has {largest} of {n} samples, which leaves each of them {n - largest} others to "
                f"choose {k} neighbours from. Choose a smaller k or finer groups."
            )
    if not 1 <= k < n:
        raise ValueError(
            f"k nearest neighbours among {n} samples need 1 <= k <= {n - 1}, got k = {k}. Choose a smaller k."
        )


def query_rows(n: int, queries: int) -> np.ndarray:
    """The samples whose lists are made: `queries` of n, drawn by a fixed seed, in order; all for 0."""
    if queries == 0:
        return np.arange(n)
    if not 0 < queries <= n:
        raise ValueError(f"Of {n} samples at most {n} can be queries, got queries = {queries}. Choose fewer.")
    return np.sort(np.random.default_rng(0).permutation(n)[:queries])


def nearest(
    similarities: Float[Array, "n n"], k: int, *, with_self: bool = False, groups: tuple[int, ...] | None = None
) -> Int[Array, "n k"]:
    """Indices of the k largest entries of each row, largest first, ties to the lowest index; the diagonal left out.

    `with_self` lets the diagonal compete; `groups` leaves out the samples of a row's own group.
    """
    n = similarities.shape[0]
    check_k(n, k, groups)
    if groups is not None:
        codes = np.asarray(groups)
        similarities = jnp.where(jnp.asarray(codes[:, None] == codes[None, :]), -jnp.inf, similarities)
    if not with_self:
        similarities = jnp.where(jnp.eye(n, dtype=bool), -jnp.inf, similarities)
    return largest(similarities, k)


def largest(values: Float[Array, "rows n"], k: int) -> Int[Array, "rows k"]:
    """The indices that `lax.top_k` gives, ties to the lowest among them, of long rows several times faster.

    The k largest are within the k groups of the largest maxima: a group left out has k before it, each with an entry
    that is larger, or equal and further ahead.
    """
    n = values.shape[1]
    groups = n // GROUP
    if groups <= 4 * k:
        return lax.top_k(values, k)[1]
    maxima = jnp.max(values[:, : groups * GROUP].reshape(-1, groups, GROUP), axis=2)
    best = jnp.sort(lax.top_k(maxima, k)[1], axis=1)
    places = (best[:, :, None] * GROUP + jnp.arange(GROUP, dtype=best.dtype)[None, None, :]).reshape(-1, k * GROUP)
    rest = jnp.broadcast_to(jnp.arange(groups * GROUP, n, dtype=best.dtype)[None, :], (len(best), n - groups * GROUP))
    places = jnp.concatenate([places, rest], axis=1)
    found = lax.top_k(jnp.take_along_axis(values, places, axis=1), k)[1]
    return jnp.take_along_axis(places, found, axis=1)


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
        return self if n <= MANY else self.without_pairs(width)

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


def nearest_columns(
    rows: Float[Array, "m d"],
    columns: Float[Array, "n d"],
    offset: Float[Array, " n"],
    barred: Bool[Array, "m n"] | bool,
    k: int,
) -> tuple[Int[Array, "m k"], Float[Array, "m k"], Float[Array, " m"]]:
    """The places and values of the k largest entries of `rows columns' + offset` in each row; the sums of all entries.

    Largest first, ties to the lowest place; `barred` entries count as minus infinity, but in the sums.
    """
    similar = jnp.matmul(rows, columns.T, precision=HIGHEST, preferred_element_type=offset.dtype) + offset[None, :]
    ranked = jnp.where(barred, -jnp.inf, similar)
    places = largest(lax.stop_gradient(ranked), k)
    return places, jnp.take_along_axis(ranked, places, axis=1), jnp.sum(similar, axis=1)


def by_blocks(block: Callable[[Any], Any], rows: Int[Array, " rows"], n: int) -> Any:
    """What `block` makes of rows, for all of them: a few at a time, whose products with n others are a small matrix."""
    count = rows.shape[0]
    size = min(count, max(16, min(BLOCK, ENTRIES // n)))
    # the last block is filled up with its last row
    filled = jnp.pad(rows, (0, -count % size), mode="edge").reshape(-1, size)
    return jax.tree.map(lambda z: z.reshape(-1, *z.shape[2:])[:count], lax.map(block, filled))


@dataclasses.dataclass(frozen=True)
class MaskedKernel(Sketcher):
    """Inner products of each sample with its k nearest, for CKNNA.

    `unbiased` leaves the sample itself out of its list; without it the diagonal competes. `row_centered` subtracts from
    each product the mean of its row over all samples, the form of the paper. With `groups`, a number for each sample,
    no sample is in the list of one of its own group, itself included.
    """

    k: int
    unbiased: bool = True
    row_centered: bool = False
    groups: tuple[int, ...] | None = None

    @property
    def products(self) -> Maker:
        return Products()

    def excluding(self, groups: tuple[int, ...]) -> "MaskedKernel":
        return dataclasses.replace(self, groups=groups)

    @property
    def with_self(self) -> bool:
        """Whether a sample may be its own neighbour."""
        return not self.unbiased and self.groups is None

    def for_samples(self, n: int, width: int | None = None) -> "MaskedKernel":
        return self if n <= MANY else self.without_pairs(width)

    def without_pairs(self, width: int | None) -> "BlockedMaskedKernel":
        return BlockedMaskedKernel(**{f.name: getattr(self, f.name) for f in dataclasses.fields(self)})

    def reduce(self, products: InnerProducts) -> NeighborKernel:
        if products.gram.shape[0] < 4:
            raise ValueError(f"CKNNA needs at least 4 samples, got {products.gram.shape[0]}.")
        ranking = products.ranking()
        neighbors = nearest(lax.stop_gradient(ranking), self.k, with_self=self.with_self, groups=self.groups)
        values, means = jnp.take_along_axis(ranking, neighbors, axis=1), jnp.mean(ranking, axis=1)
        return self.keep(neighbors, values, means, products)

    def keep(
        self,
        neighbors: Int[Array, "n k"],
        values: Float[Array, "n k"],
        means: Float[Array, " n"],
        products: InnerProducts | NearestRows,
    ) -> NeighborKernel:
        """The sketch, from the entries of the ranking at the neighbours and the means of its rows."""
        # What the ranking leaves out is the same along each row; it vanishes under row centring.
        row_part = -means if self.row_centered else products.offset + products.square
        values = values + row_part[:, None]
        alignment = self.align(neighbors, values, values)
        bad, factor = products.degenerate, products.factor
        return NeighborKernel(
            jnp.where(bad, -1, neighbors),
            jnp.where(bad, jnp.nan, values),
            jnp.where(bad, jnp.nan, alignment),
            factor * factor,
        )

    def align(self, neighbors: Int[Array, "n k"], a: Float[Array, "n k"], b: Float[Array, "n k"]) -> Float[Array, ""]:
        """Alignment of two n x n matrices A, B that are zero outside the listed entries, from the entries alone.

        Row-centred: `sum_ij A_ij B_ij`. Else HSIC as the reference writes it for matrices that are not symmetric:
        unbiased `(<A, B'> + S_A S_B / ((n-1)(n-2)) - 2 c_A r_B / (n-2)) / (n (n-3))`, biased `tr(A H B H)`, where
        S are totals, r row sums and c column sums.
        """
        if self.row_centered:
            return linalg.inner(a, b)
        n = neighbors.shape[0]
        rows_a, rows_b = jnp.sum(a, axis=1), jnp.sum(b, axis=1)
        # B'_ij = B_ji: look for i in the list of each of its neighbours j.
        mutual = neighbors[neighbors] == jnp.arange(n, dtype=neighbors.dtype)[:, None, None]
        transposed = jnp.sum(jnp.where(mutual, b[neighbors], 0), axis=2)
        return self.combine(
            linalg.inner(a, transposed),
            jnp.sum(rows_a) * jnp.sum(rows_b),
            linalg.inner(a, rows_b[neighbors]),
            linalg.inner(b, rows_a[neighbors]),
            n,
        )

    def combine(self, product, totals, columns_a_rows_b, columns_b_rows_a, n: int):
        """HSIC from `<A, B'>`, `S_A S_B`, `c_A r_B` and `c_B r_A` (see `align`)."""
        if self.unbiased:
            crossed = 2 * columns_a_rows_b / (n - 2)
            return (product + totals / float((n - 1) * (n - 2)) - crossed) / float(n * (n - 3))
        return product - (columns_a_rows_b + columns_b_rows_a) / n + totals / float(n * n)


@dataclasses.dataclass(frozen=True)
class BlockedMaskedKernel(MaskedKernel):
    """`MaskedKernel` for many samples: by blocks of rows, no matrix of all pairs in memory."""

    @property
    def products(self) -> NearestLists:
        return NearestLists(self.k, False, self.groups, self.with_self)

    def for_samples(self, n: int, width: int | None = None) -> "MaskedKernel":
        return self

    def reduce(self, products: NearestRows) -> NeighborKernel:
        return self.keep(products.neighbors, products.values, products.means, products)


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
