"""The k largest entries of rows of similarities, and the samples that are nearest."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from ..numerics.backends import choices
from ..numerics.linalg import HIGHEST
from .base import Candidates, Order

EXTRA = 6
"""Samples that are looked at beyond the k nearest, so that one that rounding put behind them is seen; with the usual 10
they are 16, as many as quick kernels for GPUs find."""

ROWS_PER_BLOCK, ENTRIES, GROUP = 512, 2**26, 64
"""Rows of a block that is made in place of a matrix of all pairs, and its most entries; and entries of a row whose
largest is found first."""


def relabel(neighbors: Int[Array, "n k"], order: Order) -> Int[Array, "n k"]:
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


def candidates_of(n: int, k: int, with_self: bool) -> int:
    """How many candidates for a list of k are looked at."""
    return min(k + EXTRA, n - 1 + with_self)


def nearest(
    similarities: Float[Array, "n n"],
    k: int,
    margin: Float[Array, " n"],
    *,
    with_self: bool = False,
    groups: tuple[int, ...] | None = None,
    where: Bool[Array, " n"] | None = None,
) -> Candidates:
    """The largest entries of each row, k and a few more, largest first, ties to the lowest index.

    The diagonal is left out, unless `with_self` lets it compete; `groups` leaves out the samples of a row's own group,
    `where` those that do not count. No gradient flows.
    """
    n = similarities.shape[0]
    check_k(n, k, groups)
    similarities = lax.stop_gradient(similarities)
    if groups is not None:
        codes = np.asarray(groups)
        similarities = jnp.where(jnp.asarray(codes[:, None] == codes[None, :]), -jnp.inf, similarities)
    if where is not None:
        similarities = jnp.where(where[None, :], similarities, -jnp.inf)
    if not with_self:
        similarities = jnp.where(jnp.eye(n, dtype=bool), -jnp.inf, similarities)
    places = largest(similarities, candidates_of(n, k, with_self))
    return Candidates(places, jnp.take_along_axis(similarities, places, axis=1), margin)


def largest(values: Float[Array, "rows n"], k: int) -> Int[Array, "rows k"]:
    """The indices that `lax.top_k` gives, ties to the lowest among them, of long rows several times faster."""
    if values.shape[1] // GROUP <= 4 * k or k <= choices().one_level_top_k:
        return first_places(values, k)
    return in_two_levels(values, k)


def in_two_levels(values: Float[Array, "rows n"], k: int) -> Int[Array, "rows k"]:
    """The indices that `lax.top_k` gives, from the maxima of groups of entries.

    The k largest are within the k groups of the largest maxima: a group left out has k before it, each with an entry
    that is larger, or equal and further ahead.
    """
    n = values.shape[1]
    groups = n // GROUP
    if groups <= k:
        return first_places(values, k)
    maxima = jnp.max(values[:, : groups * GROUP].reshape(-1, groups, GROUP), axis=2)
    best = jnp.sort(lax.top_k(maxima, k)[1], axis=1)
    places = (best[:, :, None] * GROUP + jnp.arange(GROUP, dtype=best.dtype)[None, None, :]).reshape(-1, k * GROUP)
    rest = jnp.broadcast_to(jnp.arange(groups * GROUP, n, dtype=best.dtype)[None, :], (len(best), n - groups * GROUP))
    places = jnp.concatenate([places, rest], axis=1)
    found = first_places(jnp.take_along_axis(values, places, axis=1), k)
    return jnp.take_along_axis(places, found, axis=1)


def first_places(values: Float[Array, "rows m"], k: int) -> Int[Array, "rows k"]:
    """`lax.top_k`, whose result stays whole: where a part of it is taken XLA sorts whole rows, thirty times as long."""
    return lax.optimization_barrier(lax.top_k(values, k)[1])


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
    """Results of `block` for all rows: a few at a time, whose products with n others are a small matrix."""
    count = rows.shape[0]
    size = min(count, max(16, min(ROWS_PER_BLOCK, ENTRIES // n)))
    # the last block is filled up with its last row
    filled = jnp.pad(rows, (0, -count % size), mode="edge").reshape(-1, size)
    return jax.tree.map(lambda z: z.reshape(-1, *z.shape[2:])[:count], lax.map(block, filled))
