"""Kendall's tau of two layers' dissimilarities: pairs of pairs of samples, counted exactly in N log N steps.

Of N pairs of samples a layer keeps two orders of its dissimilarities, which differ in the order of equal ones: by
index, and the other way round. A pair of pairs that is tied in a layer is turned round in one of the two. Over all
combinations of the orders of two layers it adds as much as it takes away, and what is left is concordant minus
discordant.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Num

from ..numerics.inversions import entries, packed, share
from ..numerics.packing import packed_places, upper_rows
from .base import Order, Sketcher
from .dissimilarities import Dissimilarity, DissimilaritySketcher
from .inner_products import InnerProducts, SummarizeInnerProducts
from .ranks import exact_levels, in_doubt

MOST = 5793
"""Samples whose pairs are fewer than 2^24: their counts add up in 32 bits, and floats tell them apart."""


class PairOrder(NamedTuple):
    """Where the dissimilarity of each pair of samples has in order, from 0, packed as by `linalg.upper_rows`.

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
        return self.draft(summary)[0]

    def draft(self, summary: InnerProducts) -> tuple[PairOrder, Bool[Array, ""]]:
        n = summary.gram.shape[0]
        if n > MOST:
            raise ValueError(f"Kendall's tau is for at most 5,793 samples, got {n}; compare by spearman instead.")
        dissimilarities = DissimilaritySketcher(self.dissimilarity, "ranks")
        undefined = dissimilarities.undefined(summary)
        matrix, margins = dissimilarities.order_matrix(summary)
        margins = entries(upper_rows(margins))
        made, order, ordered = order_pairs(matrix, undefined)
        return made, in_doubt(ordered, margins[order]) & ~undefined

    def settle(
        self, sketch: PairOrder, doubt: Any, x: Num[np.ndarray, "n d"], threshold: float, *, normalized: bool
    ) -> PairOrder:
        if not bool(doubt):
            return sketch
        levels = exact_levels(self.dissimilarity, x, threshold, normalized=normalized)
        # of fewer than 2^24 pairs float32 tells the levels apart
        return jax.device_get(_from_levels(levels.astype(sketch.tied.dtype)))


def order_pairs(matrix: Float[Array, "n n"], degenerate: Any) -> tuple[PairOrder, Int[Array, " m"], Float[Array, " m"]]:
    """The order of a symmetric matrix's entries off the diagonal; which entries it has one after another, and these."""
    n = matrix.shape[0]
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
    bad = degenerate | ~(tied < 1)
    made = PairOrder(packed(places, n), packed(mirrored, n), jnp.where(bad, jnp.nan, tied.astype(matrix.dtype)))
    return made, order, ordered


@jax.jit
def _from_levels(levels: Any) -> PairOrder:
    return order_pairs(levels, False)[0]
