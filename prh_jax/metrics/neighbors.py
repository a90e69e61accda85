"""What the metrics of neighbour lists share: their settings, their sketch, and counts that stay integers."""

import dataclasses
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Num

from ..metric import Metric, Score, check_positive
from ..numerics.linalg import exact_ratio
from ..sketches.neighbors import KnnGraph, Neighbors
from .sequences import ListComparison

AT_ONCE = (2**18, 2**25)
"""Numbers at hand while lists are numbered anew: what a processor's cache holds, or what keeps a GPU busy."""

UNROLL = 5
"""Entries of b's lists compared in one pass over the states: less overhead a pass, and compiling stays quick."""


@dataclasses.dataclass(frozen=True)
class NeighborMetric(Metric):
    """A metric of two kNN graphs that sums an integer over samples and divides once."""

    k: int = 10
    normalize: bool = True

    def __post_init__(self):
        super().__post_init__()
        check_positive(self.name, k=self.k)

    @property
    def invariances(self) -> frozenset[str]:
        return frozenset({"orthogonal", "isotropic_scaling"} | ({"row_scaling"} if self.normalize else set()))

    @property
    def sketch(self) -> Neighbors:
        return Neighbors(self.k, self.normalize)

    def count(self, a: Int[Array, "n k"], b: Int[Array, "n k"]) -> Num[Array, ""]:
        """The sum over samples, of one pair."""
        raise NotImplementedError

    def count_tile(self, a: Int[Array, "x n k"], b: Int[Array, "y n k"]) -> Num[Array, "x y"]:
        """The sums over samples, of all pairs; any numbers for a degenerate layer, whose lists hold -1."""
        raise NotImplementedError

    def largest(self, n: int) -> int:
        """The sum over samples at which the score is 1."""
        return n * self.k

    def compare(self, a: KnnGraph, b: KnnGraph) -> Score:
        return self._score(self.count(a.neighbors, b.neighbors), a.neighbors, b.neighbors)

    def compare_tile(self, a: KnnGraph, b: KnnGraph) -> Float[Array, "x y"]:
        counts = self.count_tile(a.neighbors, b.neighbors)
        return self._score(counts, a.neighbors[:, None], b.neighbors[None])

    def _score(self, total: Any, a: Any, b: Any) -> Any:
        score = exact_ratio(total, self.largest(a.shape[-2]))
        return jnp.where((a[..., 0, 0] < 0) | (b[..., 0, 0] < 0), jnp.nan, score)


@dataclasses.dataclass(frozen=True)
class ListMetric(NeighborMetric):
    """A metric that compares the two lists of each sample.

    Of so many samples that not all lists can be made, `queries` of them, drawn by a fixed seed, are asked for their
    neighbours among all: an unbiased estimate, whose standard error falls with the root of their number.
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
    def sketch(self) -> Neighbors:
        return Neighbors(self.k, self.normalize, queries=self.queries)

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

        state, _ = lax.scan(step, self.comparison.start(k, (n,)), b.T)
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

            start = self.comparison.start(k, (ours.shape[0], b.shape[0], x))
            state, _ = lax.scan(step, start, table_rows(theirs, size), unroll=UNROLL)
            return total + jnp.sum(self.comparison.result(state, k), axis=0, dtype=self.kind), None

        return scan_samples(samples, jnp.zeros((b.shape[0], x), self.kind), (a,), (b,), size)[0].T


@dataclasses.dataclass(frozen=True)
class FractionMetric(ListMetric):
    """A metric whose comparison of two lists is a fraction, in JAX's default float: the score is their mean."""

    kind = float

    def _score(self, total: Any, a: Any, b: Any) -> Any:
        return jnp.where((a[..., 0, 0] < 0) | (b[..., 0, 0] < 0), jnp.nan, total / a.shape[-2])


def any_lists(neighbors: Int[Array, "..."], axis: int = -1) -> Int[Array, "..."]:
    """Neighbour lists (along an axis) with those of a degenerate layer (-1) replaced by any k samples: safe to index
    with."""
    return jnp.where(
        neighbors < 0, lax.broadcasted_iota(neighbors.dtype, neighbors.shape, axis % neighbors.ndim), neighbors
    )


def compact_lists(
    a: Int[Array, "x n k"], b: Int[Array, "y n k"], *, always: bool = False
) -> tuple[Int[Array, "x n k"], Int[Array, "y n k"], int]:
    """Both sides' lists with the samples of each row numbered anew, and how many numbers there are.

    Few samples keep their numbers, which are below n. Of many a table of a's lists would be nearly empty: a sample's
    number is then a place (any one) at which it stands among all entries of a's lists in that row, and one number is
    that of all that are in none of them. `always`: lists hold numbers of more samples than have lists, however large.
    """
    layers, n, k = a.shape
    most = layers * k
    if 8 * (most + 1) >= n and not always:
        return a, b, n
    at_once = AT_ONCE[0] if jax.default_backend() == "cpu" else AT_ONCE[1]
    rows = max(1, min(n, at_once // (most if always else n)))
    groups = -(-n // rows)
    filled = [jnp.pad(z, ((0, 0), (0, groups * rows - n), (0, 0))) for z in (a, b)]

    def numbered(places, start):
        """The numbers in a few rows."""
        lists = (any_lists(lax.dynamic_slice_in_dim(z, start, rows, axis=1)) for z in filled)
        ours, theirs = (z.transpose(1, 0, 2).reshape(rows, -1) for z in lists)
        if always:  # how many samples there are is not known: no place for each
            ours_sorted = jnp.sort(ours, axis=1)
            own, others = (jax.vmap(jnp.searchsorted)(ours_sorted, z).astype(ours.dtype) for z in (ours, theirs))
            found = jnp.take_along_axis(ours_sorted, jnp.minimum(others, most - 1), axis=1)
        else:
            row = jnp.arange(rows, dtype=ours.dtype)[:, None] * n
            place = lax.broadcasted_iota(ours.dtype, ours.shape, 1)
            places = places.at[(row + ours).reshape(-1)].set(place.reshape(-1), mode="promise_in_bounds")
            own, others = places[row + ours], places[row + theirs]
            # What stands at a place left from rows before is another sample: places need not be cleared.
            found = jnp.take_along_axis(ours, others, axis=1)
        return places, (own, jnp.where(found == theirs, others, most))

    places = jnp.zeros(0 if always else rows * n, a.dtype)
    _, numbers = lax.scan(numbered, places, jnp.arange(0, groups * rows, rows, dtype=a.dtype))
    a, b = (z.reshape(groups * rows, -1, k)[:n].transpose(1, 0, 2) for z in numbers)
    return a, b, most + 1


def table_of(lists: Int[Array, "s k x"], values: Array, n: int) -> Array:
    """Table (s * n, x): the value of sample j in list (s, x), or 0 where it is not listed; values are (s, k, x)."""
    s, _, x = lists.shape
    sample = jnp.arange(s, dtype=lists.dtype)[:, None, None]
    place = (sample * n + lists) * x + jnp.arange(x, dtype=lists.dtype)[None, None, :]
    flat = jnp.zeros(s * n * x, values.dtype)
    # One flat index an entry: a scatter over several axes took five times as long.
    flat = flat.at[place.reshape(-1)].set(values.reshape(-1), mode="promise_in_bounds", unique_indices=True)
    return flat.reshape(s * n, x)


def table_rows(lists: Int[Array, "s k y"], n: int) -> Int[Array, "k s y"]:
    """Rows of the table of each sample at which the entries of its lists stand, entry by entry."""
    return lists.transpose(1, 0, 2) + (jnp.arange(lists.shape[0], dtype=lists.dtype) * n)[None, :, None]


def scan_samples(body: Any, start: Any, a: tuple[Array, ...], b: tuple[Array, ...], rows: int) -> tuple[Any, Any]:
    """Fold `body(total, (a, b)) -> (total, out)` over the samples, a few at a time.

    Arrays come as (layers, n, k) and are handed on as (samples, k, layers). Outputs, (samples, ...), are put together.
    A sample's table has so many `rows`.
    """
    layers_a, n, _ = a[0].shape
    # As many samples at once as keep a processor's cache, or a GPU, busy: by the states of all pairs, and by the table.
    states, table = (2**14, 2**22) if jax.default_backend() == "cpu" else (2**24, 2**27)
    size = max(1, min(n, states // (layers_a * b[0].shape[0]), table // (rows * layers_a)))
    lists = jax.tree.map(lambda z: z.transpose(1, 2, 0), (a, b))
    whole = n // size * size
    groups = jax.tree.map(lambda z: z[:whole].reshape(-1, size, *z.shape[1:]), lists)
    total, out = lax.scan(body, start, groups)
    out = jax.tree.map(lambda z: z.reshape(whole, *z.shape[2:]), out)
    if whole < n:
        total, rest = body(total, jax.tree.map(lambda z: z[whole:], lists))
        out = jax.tree.map(lambda z, more: jnp.concatenate([z, more]), out, rest)
    return total, out
