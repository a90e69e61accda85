"""Longest common subsequence and edit distance of many pairs of neighbour lists at once.

Lists of up to 32 entries fit one machine word a pair, and a whole column of the dynamic programme is a few bit
operations; longer lists take the programme row by row, with a running maximum or minimum along the row.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int

WORD = 32


def _matches(a, b):
    """For each position of b, the positions of a with the same entry, as bits: (k, n) uint32."""
    bit = jnp.left_shift(jnp.uint32(1), jnp.arange(a.shape[1], dtype=jnp.uint32))
    equal = a[:, :, None] == b[:, None, :]
    return jnp.sum(jnp.where(equal, bit[None, :, None], jnp.uint32(0)), axis=1, dtype=jnp.uint32).T


def _low_bits(k: int):
    return jnp.uint32((1 << k) - 1)


def lcs_length(a: Int[Array, "n k"], b: Int[Array, "n k"]) -> Int[Array, " n"]:
    """Length of the longest common subsequence of each row of a with the same row of b."""
    return _lcs_words(a, b) if a.shape[1] <= WORD else _lcs_rows(a, b)


def edit_distance(a: Int[Array, "n k"], b: Int[Array, "n k"]) -> Int[Array, " n"]:
    """Levenshtein distance of each row of a to the same row of b."""
    return _edit_words(a, b) if a.shape[1] <= WORD else _edit_rows(a, b)


def _lcs_words(a, b):
    """Bit-parallel LCS (Hyyro 2004): a zero bit of `state` marks a row where the length grows."""

    def step(state, match):
        both = state & match
        return (state + both) | (state - both), None

    n, k = a.shape
    state, _ = lax.scan(step, jnp.full(n, 0xFFFFFFFF, jnp.uint32), _matches(a, b))
    return lax.population_count(~state & _low_bits(k)).astype(jnp.int32)


def _edit_words(a, b):
    """Bit-parallel Levenshtein distance (Myers 1999, Hyyro 2003): vertical differences +1 and -1 as two words."""
    n, k = a.shape
    last = jnp.uint32(1 << (k - 1))

    def step(carry, match):
        up, down, distance = carry
        vertical = match | down
        horizontal = (((match & up) + up) ^ up) | match
        grows = down | ~(horizontal | up)
        falls = up & horizontal
        distance = distance + (grows & last != 0).astype(jnp.int32) - (falls & last != 0).astype(jnp.int32)
        grows = (grows << jnp.uint32(1)) | jnp.uint32(1)
        falls = falls << jnp.uint32(1)
        return (falls | ~(vertical | grows), grows & vertical, distance), None

    start = (jnp.full(n, 0xFFFFFFFF, jnp.uint32), jnp.zeros(n, jnp.uint32), jnp.full(n, k, jnp.int32))
    (_, _, distance), _ = lax.scan(step, start, _matches(a, b))
    return distance


def _lcs_rows(a, b):
    n, k = a.shape

    def step(row, entry):
        shifted = jnp.pad(row[:, :-1], ((0, 0), (1, 0)))
        found = jnp.where(entry[:, None] == b, shifted + 1, row)
        return lax.cummax(jnp.maximum(found, row), axis=1), None

    row, _ = lax.scan(step, jnp.zeros((n, k), jnp.int32), a.T)
    return row[:, -1]


def _edit_rows(a, b):
    n, k = a.shape
    column = jnp.arange(k + 1, dtype=jnp.int32)[None, :]

    def step(row, entry):
        replaced = row[:, :-1] + (entry[:, None] != b).astype(jnp.int32)
        inner = jnp.minimum(replaced, row[:, 1:] + 1)
        candidates = jnp.concatenate([row[:, :1] + 1, inner], axis=1)
        # An insertion costs one per column: compare the candidates with that slope taken out.
        return lax.cummin(candidates - column, axis=1) + column, None

    row, _ = lax.scan(step, jnp.broadcast_to(column, (n, k + 1)), a.T)
    return row[:, -1]
