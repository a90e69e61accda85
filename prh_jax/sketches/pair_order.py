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
from jaxtyping import Array, Float, Int

from ..metric import Score
from ..numerics.inversions import LANES, entries, inversions, packed, share
from ..numerics.packing import packed_places, upper_rows
from .base import Order, Sketcher
from .dissimilarities import Dissimilarities, Dissimilarity
from .inner_products import InnerProducts, Products

MOST = 5793
"""Samples whose pairs are fewer than 2^24: their counts add up in 32 bits, and floats tell them apart."""


class PairOrder(NamedTuple):
    """Where the dissimilarity of each pair of samples stands in order, from 0, packed as by `linalg.upper_rows`.

    `places` has equal ones by index, `mirrored` the other way round. `tied` is the share of pairs of pairs that are
    equal, NaN for a degenerate layer.
    """

    places: Int[Array, "n h"]
    mirrored: Int[Array, "n h"]
    tied: Float[Array, ""]

    def reorder(self, order: Order) -> "PairOrder":
        where = packed_places(order)
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
        values = lax.stop_gradient(entries(upper_rows(matrix)))
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
