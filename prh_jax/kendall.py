"""Kendall's tau of two layers' dissimilarities: pairs of pairs of samples, counted exactly in N log N steps.

Of N pairs of samples a layer keeps two orders of its dissimilarities, which differ in how equal ones stand: by index,
and the other way round. A pair of pairs that is tied in a layer is so turned round in one of the two: over all
combinations of the orders of two layers it adds as much as it takes away, and what is left is concordant minus
discordant.
"""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, UInt

from . import linalg
from .metric import Order, Score, Sketcher
from .packed import Dissimilarities, Dissimilarity
from .products import InnerProducts, Products

MOST = 5793
"""Samples whose pairs are fewer than 2^24: their counts add up in 32 bits, and floats tell them apart."""
LANES, BLOCK = 128, 32
"""Entries of a running sum that are one row of a matrix product; entries that are compared each with each."""


class PairOrder(NamedTuple):
    """Where the dissimilarity of each pair of samples stands in order, from 0, packed as by `linalg.upper_rows`.

    `places` has equal ones by index, `mirrored` the other way round. `tied` is the share of pairs of pairs that are
    equal, NaN for a degenerate layer.
    """

    places: Int[Array, "n h"]
    mirrored: Int[Array, "n h"]
    tied: Float[Array, ""]

    def reorder(self, order: Order) -> "PairOrder":
        where = linalg.packed_places(order)
        return self._replace(places=self.places.reshape(-1)[where], mirrored=self.mirrored.reshape(-1)[where])


@dataclasses.dataclass(frozen=True)
class PairOrders(Sketcher):
    """Order of a layer's dissimilarities (see `packed.Dissimilarities`); ValueError for more than MOST samples."""

    dissimilarity: Dissimilarity

    @property
    def products(self) -> Products:
        return Dissimilarities(self.dissimilarity, "raw").products

    def reduce(self, products: InnerProducts) -> PairOrder:
        n = products.gram.shape[0]
        if n > MOST:
            raise ValueError(f"Kendall's tau is for at most 5,793 samples, got {n}; compare by spearman instead.")
        matrix, _ = Dissimilarities(self.dissimilarity, "raw").matrix(products)
        values = lax.stop_gradient(entries(linalg.upper_rows(matrix)))
        order = jnp.argsort(values)
        ordered, place = values[order], jnp.arange(values.shape[0], dtype=jnp.int32)
        changes = ordered[1:] != ordered[:-1]
        first = lax.cummax(jnp.where(jnp.pad(changes, (1, 0), constant_values=True), place, 0))
        last = lax.cummin(jnp.where(jnp.pad(changes, (0, 1), constant_values=True), place, place[-1]), reverse=True)
        places, mirrored = (
            jnp.zeros_like(place).at[order].set(z, unique_indices=True) for z in (place, first + last - place)
        )
        # of a group of t equal ones, each has t - 1 others: t (t - 1) / 2 pairs
        tied = share(last - first) / 2
        bad = products.degenerate | ~(tied < 1)
        return PairOrder(packed(places, n), packed(mirrored, n), jnp.where(bad, jnp.nan, tied.astype(matrix.dtype)))


def entries(upper: Array) -> Array:
    """Each pair once, from rows that may have some twice."""
    n, half = upper.shape
    if n % 2:
        return upper.reshape(-1)
    return jnp.concatenate([upper[:, :-1].reshape(-1), upper[:half, -1]])


def packed(values: Int[Array, " pairs"], n: int) -> Int[Array, "n h"]:
    """The rows that `entries` were taken from."""
    if n % 2:
        return values.reshape(n, n // 2)
    whole = n * (n // 2 - 1)
    return jnp.concatenate([values[:whole].reshape(n, -1), jnp.tile(values[whole:], 2)[:, None]], axis=1)


def share(counts: Int[Array, " pairs"]) -> Float[Array, ""]:
    """Sum of counts as a share of all pairs of so many entries, rounded as floats are.

    The sum does not fit into 32 bits: its digits of 8 bits are added on their own.
    """
    many = counts.shape[0]
    kind = jnp.result_type(float)
    digits: list[UInt[Array, ""]] = [jnp.sum((counts >> k) & 255, dtype=jnp.uint32) for k in (0, 8, 16, 24)]
    factors = [2.0**k / (many * (many - 1) / 2) for k in (0, 8, 16, 24)]
    return jnp.sum(jnp.stack([d.astype(kind) * f for d, f in zip(digits, factors, strict=True)]))


def running_sum(bits: Bool[Array, " m"]) -> Int[Array, " m"]:
    """How many bits before each are set, by products of rows with a triangle: exact, and quicker than a scan."""
    rows = bits.reshape(-1, LANES).astype(jnp.float32)
    within = jnp.matmul(rows, jnp.triu(jnp.ones((LANES, LANES), jnp.float32), 1)).astype(jnp.int32)
    totals = within[:, -1] + rows[:, -1].astype(jnp.int32)
    return (within + (jnp.cumsum(totals) - totals)[:, None]).reshape(-1)


def inversions(order: Int[Array, " m"]) -> Int[Array, " m"]:
    """Counts whose sum is the number of inversions, i < j with order_i > order_j, of a permutation of 0 .. m - 1.

    Bit by bit from the highest, entries that agree in the bits so far stand together, in their first order: a 0 is
    inverted with every 1 before it, and goes before them. Groups of BLOCK are compared each with each. m is a multiple
    of LANES.
    """
    m = order.shape[0]
    place, steps = jnp.arange(m, dtype=jnp.int32), (m - 1).bit_length() - (BLOCK - 1).bit_length()

    def step(i, state):
        order, count = state
        half = jnp.left_shift(jnp.int32(1), (m - 1).bit_length() - 1 - i)
        one, start = (order & half) != 0, order & ~(2 * half - 1)
        before = running_sum(one) - start // 2  # half of each earlier group are ones
        zeros = jnp.minimum(half, m - start)
        there = jnp.where(one, start + zeros + before, place - before)
        count = count + jnp.where(one, 0, before)
        return jnp.zeros_like(order).at[there].set(order, unique_indices=True, mode="promise_in_bounds"), count

    order, count = lax.fori_loop(0, steps, step, (order, jnp.zeros_like(order)))
    groups = order.reshape(-1, BLOCK)
    later = jnp.triu(jnp.ones((BLOCK, BLOCK), bool), 1)
    rest = (groups[:, :, None] > groups[:, None, :]) & later[None]
    return count + jnp.sum(rest, axis=2, dtype=jnp.int32).reshape(-1)


def tau(a: PairOrder, b: PairOrder) -> Score:
    """Tau-b: concordant minus discordant pairs of pairs, over the root of those not tied in a times those not in b."""
    first, second = ([entries(z) for z in (side.places, side.mirrored)] for side in (a, b))
    many = first[0].shape[0]
    filling = jnp.arange(many, -(-many // LANES) * LANES, dtype=jnp.int32)  # at the end, and in order

    def discordant(p, q):
        order = jnp.zeros_like(p).at[p].set(q, unique_indices=True, mode="promise_in_bounds")
        return share(inversions(jnp.concatenate([order, filling]))[:many]).astype(a.tied.dtype)

    def add(i, total):
        p, q = jnp.where(i % 2 == 1, first[1], first[0]), jnp.where(i >= 2, second[1], second[0])
        needless = ((i % 2 == 1) & ~(a.tied > 0)) | ((i >= 2) & ~(b.tied > 0))
        return total + lax.cond(needless, lambda *_: jnp.zeros_like(total), discordant, p, q)

    total = lax.fori_loop(0, 4, add, jnp.zeros_like(a.tied))
    count = jnp.where(a.tied > 0, 2, 1) * jnp.where(b.tied > 0, 2, 1)
    return (1 - 2 * total / count.astype(total.dtype)) / jnp.sqrt((1 - a.tied) * (1 - b.tied))
