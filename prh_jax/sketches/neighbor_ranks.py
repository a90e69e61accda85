"""For each sample the ranks of all others by distance, and the nearest samples."""

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Num

from ..numerics import linalg
from ..numerics.backends import choices
from ..numerics.exact_neighbors import BLOCK, ExactFeatures, settle
from .base import Order, SketchContext, Sketcher, staged
from .inner_products import InnerProducts, SummarizeInnerProducts
from .nearest import EXTRA, check_k, relabel


class NeighborRanks(NamedTuple):
    """Neighbours, and the rank of each sample in each row: 1 for the nearest, n for the row's own sample.

    Neighbours of a degenerate layer are -1.
    """

    neighbors: Int[Array, "n k"]
    ranks: Int[Array, "n n"]

    def reorder(self, order: Order) -> "NeighborRanks":
        return NeighborRanks(relabel(self.neighbors, order), self.ranks[order[:, None], order[None, :]])


@dataclasses.dataclass(frozen=True)
class NeighborRankSketcher(Sketcher):
    """Ranks of all samples by Euclidean distance, equally near ones by their numbers, and the k nearest.

    On a CPU the host ranks by float64 arithmetic on the features: its sort is several times as fast as that of JAX.
    Under `jax.jit`, and on accelerators, distances are those of float32. `groups` puts the samples of a row's own group
    last, in any order.
    """

    k: int
    groups: tuple[int, ...] | None = None

    @property
    def summarizer(self) -> SummarizeInnerProducts:
        return SummarizeInnerProducts()

    def specialise(self, context: SketchContext) -> Sketcher:
        check_k(context.n, self.k, context.groups or self.groups)
        return dataclasses.replace(self, groups=self.groups if context.groups is None else context.groups)

    def sketch(self, summary: InnerProducts) -> NeighborRanks:
        n = summary.gram.shape[0]
        check_k(n, self.k, self.groups)
        nearness = jnp.where(self._barred(n), -jnp.inf, -linalg.squared_distances(summary.gram))
        order = jnp.argsort(-nearness, axis=1, stable=True).astype(jnp.int32)
        rows, rank = jnp.arange(n)[:, None], jnp.arange(1, n + 1, dtype=rank_type(n))
        ranks = jnp.zeros((n, n), rank_type(n)).at[rows, order].set(rank[None, :], unique_indices=True)
        return NeighborRanks(jnp.where(summary.degenerate, -1, order[:, : self.k]), ranks)

    def draft(self, summary: InnerProducts) -> tuple[NeighborRanks, Bool[Array, ""] | None]:
        if not choices().host_libraries:
            return self.sketch(summary), None
        n = summary.gram.shape[0]
        check_k(n, self.k, self.groups)
        empty = NeighborRanks(jnp.full((n, self.k), -1, jnp.int32), jnp.zeros((n, n), rank_type(n)))
        return empty, ~summary.degenerate

    def settle(
        self, sketch: NeighborRanks, doubt: Any, x: Num[np.ndarray, "n d"], threshold: float, *, normalized: bool
    ) -> NeighborRanks:
        if not bool(doubt):
            return sketch
        n = len(x)
        exact = ExactFeatures(x, "distance", normalized, threshold, self.groups)
        neighbors, ranks = np.empty((n, self.k), np.int32), np.empty((n, n), rank_type(n))
        rank = np.arange(1, n + 1, dtype=rank_type(n))[None, :]
        for start in range(0, n, rows := max(1, BLOCK // n)):
            part = slice(start, min(start + rows, n))
            order = nearest_first(exact, np.arange(part.start, part.stop))
            neighbors[part] = order[:, : self.k]
            np.put_along_axis(ranks[part], order, rank, axis=1)
        return NeighborRanks(neighbors, ranks)  # type: ignore[arg-type]  # of numpy: the engine keeps sketches on the host

    def __call__(self, x: Num[Array, "n d"]) -> Any:
        return self.sketch(self.summarizer(x)) if staged(x) else super().__call__(x)

    def _barred(self, n: int) -> Bool[Array, "n n"]:
        if self.groups is None:
            return jnp.eye(n, dtype=bool)
        codes = jnp.asarray(self.groups)
        return codes[:, None] == codes[None, :]


def rank_type(n: int) -> Any:
    """The narrowest type that holds ranks from 1 to n."""
    return np.int16 if n < 2**15 else np.int32


def nearest_first(exact: ExactFeatures, samples: Int[np.ndarray, " m"]) -> Int[np.ndarray, "m n"]:
    """All samples in the order of their distance from each of some; those that float64 finds equal by their numbers."""
    nearness, errors = exact.similarities(samples)
    order = np.argsort(-nearness, axis=1, kind="stable")
    ordered = np.take_along_axis(nearness, order, axis=1)
    with np.errstate(invalid="ignore"):  # minus infinity less itself
        unsure = ordered[:, :-1] - ordered[:, 1:] <= 2 * errors[:, None]
    edge = np.zeros((len(samples), 1), bool)
    rows, columns = np.nonzero(np.append(unsure, edge, axis=1) | np.append(edge, unsure, axis=1))
    if not len(rows):
        return order
    # a run of samples in doubt stays where it is: its members are put in order among themselves
    run = np.cumsum(np.append(edge, ~unsure, axis=1), axis=1)[rows, columns]
    members = order[rows, columns]
    keys, errors = exact.keys(samples[rows], members)
    again = np.lexsort((-keys, run, rows))
    keys, errors, run, members, owner = keys[again], errors[again], run[again], members[again], rows[again]
    apart = (owner[1:] != owner[:-1]) | (run[1:] != run[:-1]) | (keys[:-1] - keys[1:] > errors[1:] + errors[:-1])
    level = np.cumsum(np.append(False, apart))
    order[rows, columns] = members[np.lexsort((members, level))]
    return order


def nearest_on_host(x: Num[np.ndarray, "n d"], k: int) -> Int[np.ndarray, "n k"]:
    """The k nearest samples of each, by float64 arithmetic, without a sort of all samples."""
    samples, exact = np.arange(len(x)), ExactFeatures(x, "distance", False)
    nearness, errors = exact.similarities(samples)
    some = min(k + EXTRA, len(x) - 1)
    places = np.sort(np.argpartition(nearness, -some, axis=1)[:, -some:], axis=1)
    values = np.take_along_axis(nearness, places, axis=1)
    first = np.argsort(-values, axis=1, kind="stable")
    places, values = (np.take_along_axis(z, first, axis=1) for z in (places, values))
    changed, settled = settle(places, values, 2 * errors, samples, k, exact)
    places[changed, :k] = settled
    return places[:, :k]


def ranks_on_host(x: Num[np.ndarray, "n d"], lists: Int[np.ndarray, "n k"]) -> Int[np.ndarray, "n k"]:
    """The ranks of the samples in lists, one of each row at a time: those that are nearer are counted."""
    samples, exact = np.arange(len(x)), ExactFeatures(x, "distance", False)
    nearness, errors = exact.similarities(samples)
    ranks = np.empty(lists.shape, np.int64)
    for c, column in enumerate(lists.T):
        apart = nearness - np.take_along_axis(nearness, column[:, None], axis=1)
        ranks[:, c] = 1 + np.count_nonzero(apart > 2 * errors[:, None], axis=1)
        apart[samples, column] = np.inf
        rows, others = np.nonzero(np.abs(apart) <= 2 * errors[:, None])
        if len(rows):
            own, own_errors = exact.keys(rows, column[rows])
            theirs, their_errors = exact.keys(rows, others)
            gap, error = theirs - own, own_errors + their_errors
            before = (gap > error) | ((np.abs(gap) <= error) & (others < column[rows]))
            np.add.at(ranks[:, c], rows, before)
    return ranks
