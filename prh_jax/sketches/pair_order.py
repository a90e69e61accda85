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

from ..numerics.inversions import entries, packed, share
from ..numerics.packing import packed_places, upper_rows
from .base import Order, Sketcher
from .dissimilarities import Dissimilarity, DissimilaritySketcher
from .inner_products import InnerProducts, SummarizeInnerProducts

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
class PairOrderSketcher(Sketcher):
    """Order of a layer's dissimilarities (see `DissimilaritySketcher`); ValueError for more than MOST samples."""

    dissimilarity: Dissimilarity

    @property
    def summarizer(self) -> SummarizeInnerProducts:
        return DissimilaritySketcher(self.dissimilarity, "raw").summarizer

    def sketch(self, summary: InnerProducts) -> PairOrder:
        n = summary.gram.shape[0]
        if n > MOST:
            raise ValueError(f"Kendall's tau is for at most 5,793 samples, got {n}; compare by spearman instead.")
        matrix, _ = DissimilaritySketcher(self.dissimilarity, "raw").matrix(summary)
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
        bad = summary.degenerate | ~(tied < 1)
        return PairOrder(packed(places, n), packed(mirrored, n), jnp.where(bad, jnp.nan, tied.astype(matrix.dtype)))
