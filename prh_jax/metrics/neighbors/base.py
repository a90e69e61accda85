"""Base of the metrics of neighbour lists: their settings, their sketch, and counts that stay integers."""

import dataclasses
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Num

from ...numerics.linalg import exact_ratio
from ...numerics.varying import varying_as
from ...sketches.neighbors import KnnGraph, NeighborSketcher
from ..base import Metric, Score, check_positive, compared
from ..kernels import TileKernel
from .comparisons import ListComparison
from .lists import any_lists, compact_lists, scan_samples, table_of, table_rows

UNROLL = 5
"""Entries of b's lists compared in one pass over the states: less overhead a pass, and compiling stays quick."""


@dataclasses.dataclass(frozen=True)
class NeighborMetric(Metric):
    """A metric of two kNN graphs that sums an integer over samples and divides once."""

    stand_in = "prh_jax.soft_mutual_knn or prh_jax.cknna"

    k: int = 10
    normalize: bool = True

    def __post_init__(self):
        super().__post_init__()
        check_positive(self.name, k=self.k)

    @property
    def invariances(self) -> frozenset[str]:
        return frozenset({"orthogonal", "isotropic_scaling"} | ({"row_scaling"} if self.normalize else set()))

    @property
    def sketcher(self) -> NeighborSketcher:
        return NeighborSketcher(self.k, self.normalize)

    def count(self, a: Int[Array, "n k"], b: Int[Array, "n k"]) -> Num[Array, ""]:
        """The sum over samples, of one pair."""
        raise NotImplementedError

    def count_tile(self, a: Int[Array, "x n k"], b: Int[Array, "y n k"]) -> Num[Array, "x y"]:
        """The sums over samples, of all pairs; any numbers for a degenerate layer, whose lists hold -1."""
        raise NotImplementedError

    def largest(self, n: int) -> int:
        """The sum over samples at which the score is 1."""
        return n * self.k

    def nearest(self, graph: KnnGraph) -> Int[Array, "... n k"]:
        """The k nearest of lists that may be longer, where metrics of several k share them."""
        return graph.neighbors[..., : self.k]

    def compare(self, a: KnnGraph, b: KnnGraph) -> Score:
        ours, theirs = self.nearest(a), self.nearest(b)
        return self.share(self.count(ours, theirs), ours, theirs)

    def alone(self, x: Any, y: Any) -> Any:
        graphs = [self.sketcher.by_numpy(z) for z in (x, y)]
        return None if any(graph is None for graph in graphs) else compared(*graphs, metric=self)

    @property
    def tile_kernel(self) -> TileKernel:
        return CountKernel(self)

    def share(self, total: Any, a: Any, b: Any) -> Any:
        """The score, from the sum over samples; NaN where a layer is degenerate, and its lists hold -1."""
        score = exact_ratio(total, self.largest(a.shape[-2]))
        return jnp.where((a[..., 0, 0] < 0) | (b[..., 0, 0] < 0), jnp.nan, score)


@dataclasses.dataclass(frozen=True)
class CountKernel(TileKernel):
    """All pairs of a tile by the metric's own count of them."""

    def tile(self, a: KnnGraph, b: KnnGraph) -> Float[Array, "x y"]:
        ours, theirs = self.metric.nearest(a), self.metric.nearest(b)
        return self.metric.share(self.metric.count_tile(ours, theirs), ours[:, None], theirs[None])


@dataclasses.dataclass(frozen=True)
class ListMetric(NeighborMetric):
    """A metric that compares the two lists of each sample.

    For numbers of samples at which not all lists can be made, `queries` of them, drawn by a fixed seed, are asked for
    their neighbours among all: an unbiased estimate, whose standard error falls with the root of their number.
    """

    comparison: ClassVar[ListComparison]
    kind: ClassVar[Any] = jnp.int32
    """Type of the sum over samples."""

    queries: int = dataclasses.field(default=0, kw_only=True)

    def __post_init__(self):
        super().__post_init__()
        if self.queries < 0:
            raise ValueError(f"{self.name} needs queries >= 0, 0 for all samples, got {self.queries}.")

    @property
    def sketcher(self) -> NeighborSketcher:
        return NeighborSketcher(self.k, self.normalize, queries=self.queries)

    @property
    def permutable(self) -> bool:
        return not self.queries

    def count(self, a: Int[Array, "n k"], b: Int[Array, "n k"]) -> Num[Array, ""]:
        n, k = a.shape
        marks = jnp.asarray(self.comparison.marks(k))

        def step(state, entry):
            found = (a == entry[:, None])[:, :, None]
            match = jnp.sum(jnp.where(found, marks, 0), axis=1, dtype=marks.dtype)
            return self.comparison.step(state, tuple(match.T)), None

        state, _ = lax.scan(step, varying_as(self.comparison.start(k, (n,)), a, b), b.T)
        return jnp.sum(self.comparison.result(state, k), dtype=self.kind)

    def count_tile(self, a: Int[Array, "x n k"], b: Int[Array, "y n k"]) -> Num[Array, "x y"]:
        x, _, k = a.shape
        marks = jnp.asarray(self.comparison.marks(k))
        a, b, size = compact_lists(a, b, always=self.queries > 0)

        def samples(total, lists):
            """A few samples: a table of the marks of a's lists, looked up at the entries of b's."""
            # here, where they are at hand: a pass over all lists took a third of the time
            (ours,), (theirs,) = jax.tree.map(partial(any_lists, axis=1), lists)
            values = (jnp.broadcast_to(word[None, :, None], ours.shape) for word in marks.T)
            tables = [table_of(ours, value, size) for value in values]

            def step(state, entry):
                return self.comparison.step(state, tuple(table[entry] for table in tables)), None

            start = varying_as(self.comparison.start(k, (ours.shape[0], b.shape[0], x)), a, b)
            state, _ = lax.scan(step, start, table_rows(theirs, size), unroll=UNROLL)
            return total + jnp.sum(self.comparison.result(state, k), axis=0, dtype=self.kind), None

        total = varying_as(jnp.zeros((b.shape[0], x), self.kind), a, b)
        return scan_samples(samples, total, (a,), (b,), size)[0].T


@dataclasses.dataclass(frozen=True)
class FractionMetric(ListMetric):
    """A metric whose comparison of two lists is a fraction, in JAX's default float: the score is their mean."""

    kind = float

    def share(self, total: Any, a: Any, b: Any) -> Any:
        return jnp.where((a[..., 0, 0] < 0) | (b[..., 0, 0] < 0), jnp.nan, total / a.shape[-2])
