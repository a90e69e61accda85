"""What the metrics of neighbour lists share: their settings, their sketch, and counts that stay integers."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from ..linalg import exact_ratio
from ..metric import Metric, Score, check_positive
from ..sketches import KnnGraph, Neighbors
from .sequences import ListComparison


@dataclasses.dataclass(frozen=True)
class NeighborMetric(Metric):
    """A metric of two kNN graphs that sums an integer over samples and divides once."""

    k: int = 10
    normalize: bool = True

    def __post_init__(self):
        check_positive(self.name, k=self.k)

    @property
    def invariances(self) -> frozenset[str]:
        return frozenset({"orthogonal", "isotropic_scaling"} | ({"row_scaling"} if self.normalize else set()))

    @property
    def sketch(self) -> Neighbors:
        return Neighbors(self.k, self.normalize)

    def count(self, a: Int[Array, "n k"], b: Int[Array, "n k"]) -> Int[Array, ""]:
        """The sum over samples, of one pair."""
        raise NotImplementedError

    def count_tile(self, a: Int[Array, "x n k"], b: Int[Array, "y n k"]) -> Int[Array, "x y"]:
        """The sums over samples, of all pairs; the lists of a degenerate layer hold any k samples."""
        raise NotImplementedError

    def largest(self, n: int) -> int:
        """The sum over samples at which the score is 1."""
        return n * self.k

    def compare(self, a: KnnGraph, b: KnnGraph) -> Score:
        return self._score(self.count(a.neighbors, b.neighbors), a.neighbors, b.neighbors)

    def compare_tile(self, a: KnnGraph, b: KnnGraph) -> Float[Array, "x y"]:
        k = a.neighbors.shape[-1]
        lists = (jnp.where(z < 0, jnp.arange(k, dtype=z.dtype)[None, None, :], z) for z in (a.neighbors, b.neighbors))
        counts = self.count_tile(*lists)
        return self._score(counts, a.neighbors[:, None], b.neighbors[None])

    def _score(self, total: Any, a: Any, b: Any) -> Any:
        score = exact_ratio(total, self.largest(a.shape[-2]))
        return jnp.where((a[..., 0, 0] < 0) | (b[..., 0, 0] < 0), jnp.nan, score)


@dataclasses.dataclass(frozen=True)
class ListMetric(NeighborMetric):
    """A metric that compares the two lists of each sample."""

    comparison: ClassVar[ListComparison]

    def count(self, a: Int[Array, "n k"], b: Int[Array, "n k"]) -> Int[Array, ""]:
        n, k = a.shape
        marks = jnp.asarray(self.comparison.marks(k))

        def step(state, entry):
            found = (a == entry[:, None])[:, :, None]
            match = jnp.sum(jnp.where(found, marks, 0), axis=1, dtype=marks.dtype)
            return self.comparison.step(state, tuple(match.T)), None

        state, _ = lax.scan(step, self.comparison.start(k, (n,)), b.T)
        return jnp.sum(self.comparison.result(state, k))

    def count_tile(self, a: Int[Array, "x n k"], b: Int[Array, "y n k"]) -> Int[Array, "x y"]:
        x, n, k = a.shape
        marks = jnp.asarray(self.comparison.marks(k))

        def samples(total, lists):
            """A few samples: a table of the marks of a's lists, looked up at the entries of b's."""
            ours, theirs = lists
            tables = mark_tables(ours, marks, n)

            def step(state, entry):
                return self.comparison.step(state, tuple(table[entry] for table in tables)), None

            count = ours.shape[0]
            rows = theirs.transpose(1, 0, 2) + (jnp.arange(count, dtype=theirs.dtype) * n)[None, :, None]
            state, _ = lax.scan(step, self.comparison.start(k, (count, b.shape[0], x)), rows)
            return total + jnp.sum(self.comparison.result(state, k), axis=0), None

        return scan_samples(samples, jnp.zeros((b.shape[0], x), jnp.int32), a, b).T


def mark_tables(lists: Int[Array, "s k x"], marks: Array, n: int) -> list[Array]:
    """For each word of the marks (k, words) a table (s * n, x): the mark of sample j in list (s, x), or 0."""
    s, k, x = lists.shape
    sample = jnp.arange(s, dtype=lists.dtype)[:, None, None]
    place = ((sample * n + lists) * x + jnp.arange(x, dtype=lists.dtype)[None, None, :]).reshape(-1)
    tables = []
    for word in range(marks.shape[1]):
        values = jnp.broadcast_to(marks[:, word][None, :, None], (s, k, x)).reshape(-1)
        flat = jnp.zeros(s * n * x, marks.dtype)
        table = flat.at[place].set(values, mode="promise_in_bounds", unique_indices=True)
        tables.append(table.reshape(s * n, x))
    return tables


def scan_samples(body: Any, start: Any, a: Int[Array, "x n k"], b: Int[Array, "y n k"]) -> Any:
    """Fold `body(total, (a's lists (s, k, x), b's lists (s, k, y)))` over the samples, a few at a time, layers last."""
    n = a.shape[1]
    # As many samples at once as keep a processor's cache, or a GPU, busy: by the states of all pairs, and by the table.
    states, table = (2**17, 2**22) if jax.default_backend() == "cpu" else (2**24, 2**27)
    size = max(1, min(n, states // (a.shape[0] * b.shape[0]), table // (n * a.shape[0])))
    lists = tuple(z.transpose(1, 2, 0) for z in (a, b))
    whole = n // size * size
    groups = tuple(z[:whole].reshape(-1, size, *z.shape[1:]) for z in lists)
    total, _ = lax.scan(body, start, groups)
    if whole < n:
        total, _ = body(total, tuple(z[whole:] for z in lists))
    return total
