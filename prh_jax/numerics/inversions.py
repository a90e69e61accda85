"""Inversions of a permutation, counted exactly in m log m steps."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, UInt

LANES, COMPARED = 128, 32
"""Entries of a running sum that are one row of a matrix product; entries that are compared each with each."""


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
    """Sum of counts as a share of all pairs of that number of entries, rounded as floats are.

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

    Bit by bit from the highest, entries that agree in the bits so far are together, in their first order: a 0 is
    inverted with every 1 before it, and goes before them. Groups of COMPARED are compared each with each. m is a
    multiple of LANES.
    """
    m = order.shape[0]
    place, steps = jnp.arange(m, dtype=jnp.int32), (m - 1).bit_length() - (COMPARED - 1).bit_length()

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
    groups = order.reshape(-1, COMPARED)
    later = jnp.triu(jnp.ones((COMPARED, COMPARED), bool), 1)
    rest = (groups[:, :, None] > groups[:, None, :]) & later[None]
    return count + jnp.sum(rest, axis=2, dtype=jnp.int32).reshape(-1)
