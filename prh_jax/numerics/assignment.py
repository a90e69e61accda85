"""The best one-to-one match of two layers' features: the linear sum assignment problem, solved exactly inside JAX.

By shortest augmenting paths with dual prices (Jonker and Volgenant 1987; Crouse 2016, doi:10.1109/TAES.2016.140952): a
feature after another is matched, and earlier matches give way along the cheapest path. Each step is one pass over the
features of a side, about 20 d steps for d features that are not related, fewer where they are.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from .varying import varying_as


def best_match(gain: Float[Array, "w w"], first: Int[Array, ""], second: Int[Array, ""]) -> Int[Array, " w"]:
    """For each feature of the first layer its partner in the second, with the largest sum of gains; a permutation.

    Only the first features, up to a number, of a side are real, the others fill up: all of the narrower layer are
    matched with real ones of the wider, those left over with what fills up. No gradient flows; what is not finite
    counts as 0.
    """
    w = gain.shape[0]
    gain = lax.stop_gradient(gain)
    gain = jnp.where(jnp.isfinite(gain), gain, 0)
    narrower = jnp.minimum(first, second)
    gain = jnp.where(first > second, gain.T, gain)
    place = jnp.arange(w, dtype=jnp.int32)
    cost = jnp.where(place[None, :] < jnp.maximum(first, second), -gain, jnp.inf)
    nobody = jnp.full(w, -1, jnp.int32)

    def match(row, state):
        """Match a row, by the cheapest path to a column that nobody owns."""
        price_of_row, price, owner = state

        def extend(path):
            """From the row that owns the nearest column so far, look at all columns, and go on to the nearest."""
            visitor, length, far, before, seen, _ = path
            reach = length + cost[visitor] - price_of_row[visitor] - price
            nearer = ~seen & (reach < far)
            far, before = jnp.where(nearer, reach, far), jnp.where(nearer, visitor, before)
            ahead = jnp.where(seen, jnp.inf, far)
            nearest = jnp.argmin(ahead).astype(jnp.int32)
            return owner[nearest], ahead[nearest], far, before, seen.at[nearest].set(True), nearest

        none = jnp.full(w, jnp.inf, cost.dtype), nobody, jnp.zeros(w, bool), jnp.int32(0)
        start = (jnp.asarray(row, jnp.int32), jnp.zeros((), cost.dtype), *none)
        start = varying_as(start, gain)
        _, length, far, before, seen, end = lax.while_loop(lambda path: path[0] >= 0, extend, start)
        change = jnp.where(seen, length - far, 0)
        price_of_row = price_of_row.at[jnp.where(seen & (owner >= 0), owner, w)].add(change, mode="drop")

        def give_way(state):
            """The row before takes the column, and loses the one that it had."""
            owner, column, _ = state
            taker = before[column]
            return owner.at[column].set(taker), jnp.argmax(owner == taker).astype(jnp.int32), taker

        owner, _, _ = lax.while_loop(
            lambda state: state[2] != row, give_way, (owner, end, varying_as(jnp.int32(-1), gain))
        )
        return price_of_row.at[row].add(length), price - change, owner

    zeros = jnp.zeros(w, cost.dtype)
    _, _, owner = lax.fori_loop(0, narrower, match, varying_as((zeros, zeros, nobody), gain))
    left = owner < 0
    owner = jnp.where(left, narrower + jnp.cumsum(left, dtype=jnp.int32) - 1, owner)
    return jnp.where(first > second, owner, jnp.zeros_like(owner).at[owner].set(place, unique_indices=True))


def best_match_on_host(
    gain: Float[np.ndarray, "p q"],
) -> tuple[Int[np.ndarray, " least"], Int[np.ndarray, " least"]]:
    """The entries, one a row and column, with the largest sum of gains: by scipy, quicker for a single pair."""
    from scipy.optimize import linear_sum_assignment  # slow to import, and needed here alone

    return linear_sum_assignment(gain, maximize=True)
