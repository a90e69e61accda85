"""How alike two neighbour lists are, for many pairs at once: a state a pair, and one step for each entry of b's list.

A step learns at which positions of a's list the entry is, as the bits of one machine word for lists of up to 32
entries, of several for longer ones. States have any shape, so that the same steps serve the lists of all samples of one
pair and of all pairs of one sample.
"""

from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np
from jax import lax

Words = tuple[Any, ...]


def word_type(k: int) -> np.dtype:
    """The unsigned type whose words hold the positions of a list of k entries."""
    return np.dtype(np.uint8 if k <= 8 else np.uint16 if k <= 16 else np.uint32)


def position_marks(k: int) -> np.ndarray:
    """Position r as one bit: (k, words); the bits of all positions fill the words one after another."""
    kind = word_type(k)
    bits = 8 * kind.itemsize
    marks = np.zeros((k, -(-k // bits)), kind)
    for position in range(k):
        marks[position, position // bits] = kind.type(1) << kind.type(position % bits)
    return marks


def _all_ones(k: int) -> np.ndarray:
    """The words with exactly the bits of k positions set."""
    return np.bitwise_or.reduce(position_marks(k), axis=0)


def _count(words: Words, k: int) -> Any:
    """Number of bits set among those of k positions."""
    pairs = zip(words, _all_ones(k), strict=True)
    return sum(lax.population_count(word & mask).astype(jnp.int32) for word, mask in pairs)


class ListComparison(Protocol):
    """Compares lists of k entries step by step: `result(step(step(start, words), words) ...)`."""

    def marks(self, k: int) -> np.ndarray:
        """Marks of each position of a's list: (k, words)."""
        ...

    def start(self, k: int, shape: tuple[int, ...]) -> Any:
        """State before the first entry of b."""
        ...

    def step(self, state: Any, match: Words) -> Any:
        """State after an entry of b that is where `match` says: the marks of its position, 0 where it is not."""
        ...

    def result(self, state: Any, k: int) -> Any:
        """An int32 count."""
        ...


class Overlap:
    """Number of entries the two lists share."""

    def marks(self, k: int) -> np.ndarray:
        return np.ones((k, 1), np.uint8 if k < 256 else np.int32)

    def start(self, k: int, shape: tuple[int, ...]) -> Any:
        return jnp.zeros(shape, self.marks(k).dtype)

    def step(self, state: Any, match: Words) -> Any:
        return state + match[0]

    def result(self, state: Any, k: int) -> Any:
        return state.astype(jnp.int32)


class Jaccard(Overlap):
    """Number of entries the two lists share, over the number that either has."""

    def result(self, state: Any, k: int) -> Any:
        shared = super().result(state, k).astype(float)
        return shared / (2 * k - shared)


class RankWeights:
    """Weights of shared entries, by how near to the top and to each other they are, over the most they can be.

    `sum 2 / ((1 + |p - q|) (p + q)) / (1 + 1/2 + ... + 1/m)` with p and q the ranks, from 1, of each of the m shared
    entries; 0 for lists that share none. `jaccard` multiplies by the Jaccard index of the two lists.
    """

    def __init__(self, *, jaccard: bool = False):
        self.jaccard = jaccard

    def marks(self, k: int) -> np.ndarray:
        return np.arange(1, k + 1, dtype=np.int32)[:, None]

    def start(self, k: int, shape: tuple[int, ...]) -> Any:
        return jnp.int32(1), jnp.zeros(shape, jnp.int32), jnp.zeros(shape, float)

    def step(self, state: Any, match: Words) -> Any:
        rank, shared, total = state
        (other,) = match
        found = other > 0
        weight = 2 / (1 + jnp.abs(other - rank)).astype(total.dtype) / (other + rank).astype(total.dtype)
        return rank + 1, shared + found.astype(jnp.int32), total + jnp.where(found, weight, 0)

    def result(self, state: Any, k: int) -> Any:
        _, shared, total = state
        most = jnp.asarray(np.concatenate([[1], np.cumsum(1 / np.arange(1, k + 1))]), total.dtype)
        if self.jaccard:
            fraction = shared.astype(total.dtype)
            total = total * fraction / (2 * k - fraction)
        return total / most[shared]


class CommonSubsequence:
    """Length of the longest common subsequence, bit-parallel (Hyyro 2004): a zero bit marks where the length grows."""

    def marks(self, k: int) -> np.ndarray:
        return position_marks(k)

    def start(self, k: int, shape: tuple[int, ...]) -> Words:
        return tuple(jnp.full(shape, ~np.zeros_like(mask)) for mask in _all_ones(k))

    def step(self, state: Words, match: Words) -> Words:
        carry, after = None, []
        for word, found in zip(state, match, strict=True):
            both = word & found
            total = word + both
            if len(state) > 1:
                over = total < word
                if carry is not None:
                    total = total + carry
                    over = over | (total < carry)
                carry = over.astype(word.dtype)
            after.append(total | (word - both))
        return tuple(after)

    def result(self, state: Words, k: int) -> Any:
        return _count(tuple(~word for word in state), k)


class EditDistance:
    """Levenshtein distance, bit-parallel (Myers 1999): vertical differences +1 and -1 of a column as two words each.

    Lists of up to 16 entries keep both in one word, of twice the size: one array is updated faster than two.
    """

    def marks(self, k: int) -> np.ndarray:
        return position_marks(k)

    def start(self, k: int, shape: tuple[int, ...]) -> Any:
        if k <= 16:
            kind = word_type(k)
            return jnp.full(shape, np.iinfo(kind).max, f"uint{16 * kind.itemsize}")
        ones = tuple(jnp.full(shape, ~np.zeros_like(mask)) for mask in _all_ones(k))
        return ones, tuple(jnp.zeros_like(word) for word in ones)

    def step(self, state: Any, match: Words) -> Any:
        if isinstance(state, tuple):
            return self._column(state, match)
        bits = state.dtype.type(4 * state.dtype.itemsize)
        low = state.dtype.type((1 << int(bits)) - 1)
        (up,), (down,) = self._column(((state & low,), (state >> bits,)), (match[0].astype(state.dtype),))
        return (up & low) | (down << bits)

    def _column(self, state: tuple[Words, Words], match: Words) -> tuple[Words, Words]:
        up, down = [], []
        one = match[0].dtype.type(1)
        last = match[0].dtype.type(8 * match[0].dtype.itemsize - 1)
        grows_in, falls_in = one, None  # the first row grows by one from column to column
        for plus, minus, found in zip(*state, match, strict=True):
            vertical = found | minus
            if falls_in is not None:
                found = found | falls_in
            horizontal = (((found & plus) + plus) ^ plus) | found
            grows, falls = minus | ~(horizontal | plus), plus & horizontal
            shifted_grows, shifted_falls = (grows << one) | grows_in, falls << one
            if falls_in is not None:
                shifted_falls = shifted_falls | falls_in
            grows_in, falls_in = grows >> last, falls >> last
            up.append(shifted_falls | ~(vertical | shifted_grows))
            down.append(shifted_grows & vertical)
        return tuple(up), tuple(down)

    def result(self, state: Any, k: int) -> Any:
        if not isinstance(state, tuple):
            bits = state.dtype.type(4 * state.dtype.itemsize)
            mask = state.dtype.type((1 << k) - 1)
            plus, minus = (lax.population_count(word & mask).astype(jnp.int32) for word in (state, state >> bits))
            return k + plus - minus
        up, down = state
        return k + _count(up, k) - _count(down, k)
