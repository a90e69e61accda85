"""Nearest neighbours with their inner products: what CKNNA keeps of a layer."""

import dataclasses
from collections.abc import Iterable
from functools import partial, reduce
from operator import add
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..numerics import linalg
from ..numerics.exact_neighbors import ExactFeatures
from .base import Candidates, Order, SketchContext, Summarizer
from .inner_products import InnerProducts, SummarizeInnerProducts
from .lists import ListSketcher
from .masks import at_least
from .nearest import nearest, relabel
from .neighbors import NearestRows, SummarizeNearest

LOST = 1e-4
"""Part of a layer's alignment with itself that rounding may have, beyond which CKNNA is unknown."""


class NeighborKernel(NamedTuple):
    """Neighbours with their kernel values, the layer's alignment with itself, and the factor that undoes prescaling."""

    neighbors: Int[Array, "n k"]
    values: Float[Array, "n k"]
    self_alignment: Float[Array, ""]
    factor: Float[Array, ""]

    def reorder(self, order: Order) -> "NeighborKernel":
        return self._replace(neighbors=relabel(self.neighbors, order), values=self.values[order])


@dataclasses.dataclass(frozen=True)
class NeighborKernelSketcher(ListSketcher):
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
    def summarizer(self) -> Summarizer:
        return SummarizeInnerProducts()

    @property
    def ordered(self) -> bool:
        return False  # sums over neighbours

    @property
    def with_self(self) -> bool:
        """Whether a sample may be its own neighbour."""
        return not self.unbiased and self.groups is None

    def specialise(self, context: SketchContext) -> "NeighborKernelSketcher":
        groups = self.groups if context.groups is None else context.groups
        kind = BlockedNeighborKernelSketcher if context.avoid_matrix else NeighborKernelSketcher
        return kind(self.k, self.unbiased, self.row_centered, groups)

    def candidates(self, summary: Any) -> Candidates:
        if summary.gram.shape[0] < 4:
            raise ValueError(f"CKNNA needs at least 4 samples, got {summary.gram.shape[0]}.")
        ranking = summary.ranking()
        return nearest(ranking, self.k, summary.margin(), with_self=self.with_self, groups=self.groups)

    def from_candidates(self, summary: Any, candidates: Candidates) -> NeighborKernel:
        ranking, neighbors = summary.ranking(), candidates.places[:, : self.k]
        values, means = jnp.take_along_axis(ranking, neighbors, axis=1), jnp.mean(ranking, axis=1)
        return self.keep(neighbors, values, means, summary)

    def masked(self, summary: InnerProducts, where: Bool[Array, " n"]) -> NeighborKernel:
        """The sketch of the samples that count; the others have values of zero."""
        ranking, n = summary.ranking(), at_least(where, 4)
        found = nearest(ranking, self.k, summary.margin(), with_self=self.with_self, where=where)
        neighbors = found.places[:, : self.k]
        values = jnp.take_along_axis(ranking, neighbors, axis=1)
        means = jnp.sum(jnp.where(where[None, :], ranking, 0), axis=1) / n.astype(ranking.dtype)
        return self.keep(neighbors, values, means, summary, where)

    def relist(
        self,
        sketch: NeighborKernel,
        lists: Int[np.ndarray, "n k"],
        changed: Int[np.ndarray, " m"],
        exact: ExactFeatures,
    ) -> NeighborKernel:
        values = np.array(sketch.values)
        # the sketch has the square of the factor that features are multiplied by
        products = exact.products(changed, lists[changed], centered=self.row_centered)
        values[changed] = products * float(sketch.factor)
        alignment = np.asarray(_self_alignment(lists, values, sketcher=self))
        return sketch._replace(neighbors=lists, values=values, self_alignment=alignment)

    def keep(
        self,
        neighbors: Int[Array, "n k"],
        values: Float[Array, "n k"],
        means: Float[Array, " n"],
        products: InnerProducts | NearestRows,
        where: Bool[Array, " n"] | None = None,
    ) -> NeighborKernel:
        """The sketch, from the entries of the ranking at the neighbours and the means of its rows."""
        # What the ranking leaves out is the same along each row; it vanishes under row centring.
        row_part = -means if self.row_centered else products.offset + products.square
        values, n = values + row_part[:, None], None
        if where is not None:
            values, n = jnp.where(where[:, None], values, 0), at_least(where, 4)
        alignment = self.own_alignment(neighbors, values, n)
        bad, factor = products.degenerate, products.factor
        return NeighborKernel(
            jnp.where(bad, -1, neighbors),
            jnp.where(bad, jnp.nan, values),
            jnp.where(bad, jnp.nan, alignment),
            factor * factor,
        )

    def own_alignment(
        self, neighbors: Int[Array, "n k"], values: Float[Array, "n k"], n: Int[Array, ""] | None = None
    ) -> Float[Array, ""]:
        """Alignment of a layer with itself; NaN where its terms cancel and rounding is a LOST part of what is left."""
        terms = self.terms(neighbors, values, values, n)
        alignment, size = _total(terms), _total(jnp.abs(term) for term in terms)
        lost = jnp.finfo(values.dtype).eps * size > LOST * jnp.abs(alignment)
        return jnp.where(lost, jnp.nan, alignment)

    def align(
        self,
        neighbors: Int[Array, "n k"],
        a: Float[Array, "n k"],
        b: Float[Array, "n k"],
        n: Int[Array, ""] | None = None,
    ) -> Float[Array, ""]:
        """Alignment of two n x n matrices A, B that are zero outside the listed entries, from the entries alone.

        Row-centred: `sum_ij A_ij B_ij`. Else HSIC as the reference writes it for matrices that are not symmetric:
        unbiased `(<A, B'> + S_A S_B / ((n-1)(n-2)) - 2 c_A r_B / (n-2)) / (n (n-3))`, biased `tr(A H B H)`, where
        S are totals, r row sums and c column sums.
        """
        return _total(self.terms(neighbors, a, b, n))

    def terms(
        self,
        neighbors: Int[Array, "n k"],
        a: Float[Array, "n k"],
        b: Float[Array, "n k"],
        n: Int[Array, ""] | None = None,
    ) -> tuple[Any, ...]:
        """Terms of the sum that is `align`; n samples count, all by default, and the others have entries of zero."""
        if self.row_centered:
            return (linalg.inner(a, b),)
        count = neighbors.shape[0]
        rows_a, rows_b = jnp.sum(a, axis=1), jnp.sum(b, axis=1)
        # B'_ij = B_ji: look for i in the list of each of its neighbours j.
        mutual = neighbors[neighbors] == jnp.arange(count, dtype=neighbors.dtype)[:, None, None]
        transposed = jnp.sum(jnp.where(mutual, b[neighbors], 0), axis=2)
        return self.hsic_terms(
            linalg.inner(a, transposed),
            jnp.sum(rows_a) * jnp.sum(rows_b),
            linalg.inner(a, rows_b[neighbors]),
            linalg.inner(b, rows_a[neighbors]),
            count if n is None else n.astype(a.dtype),
        )

    def combine(self, product, totals, columns_a_rows_b, columns_b_rows_a, n: int):
        """HSIC from `<A, B'>`, `S_A S_B`, `c_A r_B` and `c_B r_A` (see `align`)."""
        return _total(self.hsic_terms(product, totals, columns_a_rows_b, columns_b_rows_a, n))

    def hsic_terms(self, product, totals, columns_a_rows_b, columns_b_rows_a, n: Any) -> tuple[Any, ...]:
        """Terms of the sum that is HSIC."""
        if self.unbiased:
            n = 1.0 * n  # the product of integers would not fit into 32 bits
            pairs = n * (n - 3)
            crossed = 2 * columns_a_rows_b / (n - 2)
            return product / pairs, totals / ((n - 1) * (n - 2)) / pairs, -crossed / pairs
        return product, -(columns_a_rows_b + columns_b_rows_a) / n, totals / (1.0 * n * n)


@dataclasses.dataclass(frozen=True)
class BlockedNeighborKernelSketcher(NeighborKernelSketcher):
    """`NeighborKernelSketcher` for many samples: by blocks of rows, no matrix of all pairs in memory."""

    pairwise_matrix = False

    @property
    def summarizer(self) -> SummarizeNearest:
        return SummarizeNearest(self.k, False, self.groups, self.with_self)

    def candidates(self, summary: Any) -> Candidates:
        return summary.candidates

    def from_candidates(self, summary: Any, candidates: Candidates) -> NeighborKernel:
        return self.keep(summary.neighbors[:, : self.k], summary.values[:, : self.k], summary.means, summary)


def _total(terms: Iterable[Any]) -> Any:
    return reduce(add, terms)


@partial(jax.jit, static_argnames=("sketcher",))
def _self_alignment(lists: Any, values: Any, *, sketcher: NeighborKernelSketcher) -> Array:
    return sketcher.own_alignment(lists, values)
