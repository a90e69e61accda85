"""Cycle kNN: does a step to a neighbour in one layer and back in the other come home?"""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int

from ..metric import Score
from .neighbors import NeighborMetric

TABLE = 2**26
"""Words of the largest table of holders: it covers a block of the samples where n is large."""


@dataclasses.dataclass(frozen=True)
class CycleKnn(NeighborMetric):
    """Share of samples that are a neighbour, in x, of one of their neighbours in y.

    `score = mean_i [exists j in knn_y(i): i in knn_x(j)]`, in [0, 1]; not symmetric.

    Settings: `k`, 1 <= k < n; `normalize`, cosine neighbours or dot products of rows as given; `swapped` exchanges the
    two layers, which is how the reference's measuring script calls it.
    """

    name = "cycle_knn"
    source = "Huh et al. 2024, arXiv:2405.07987"

    swapped: bool = False

    @property
    def symmetric(self) -> bool:
        return False

    @property
    def self_score(self) -> None:
        return None

    def largest(self, n: int) -> int:
        return n

    def count(self, a: Int[Array, "n k"], b: Int[Array, "n k"]) -> Int[Array, ""]:
        if self.swapped:
            a, b = b, a
        home = jnp.arange(a.shape[0], dtype=a.dtype)[:, None, None]
        return jnp.sum(jnp.any(a[b] == home, axis=(1, 2)), dtype=jnp.int32)

    def count_tile(self, a: Int[Array, "x n k"], b: Int[Array, "y n k"]) -> Int[Array, "x y"]:
        return closed_cycles(b, a).T if self.swapped else closed_cycles(a, b)


def closed_cycles(a: Int[Array, "x n k"], b: Int[Array, "y n k"]) -> Int[Array, "x y"]:
    """Number of samples i with a sample j in list i of b whose list in a holds i, for all pairs of layers.

    The layers of a for which i is in list j are the bits of words (i, j): what a list of b closes is their union.
    """
    layers, n, k = a.shape
    words = -(-layers // 32)
    layer = jnp.arange(layers, dtype=jnp.int32)[:, None, None]
    bit = jnp.left_shift(jnp.uint32(1), (layer % 32).astype(jnp.uint32))
    bits = jnp.broadcast_to(bit, a.shape).reshape(-1)
    column = jnp.arange(n, dtype=jnp.int32)[None, :, None] * words + layer // 32
    position = jnp.arange(words * 32, dtype=jnp.uint32)[None, :] % 32
    block = min(n, max(1, TABLE // (n * words)))

    def samples(total, step):
        first, lists = step
        row = a.astype(jnp.int32) - first
        inside = (row >= 0) & (row < block)
        place = jnp.where(inside, row * (n * words) + column, block * n * words).reshape(-1)
        # Each bit is set once, so that a sum is a union.
        holders = jnp.zeros(block * n * words, jnp.uint32).at[place].add(bits, mode="drop")

        def sample(total, step):
            rows, entries = step

            def union(found, entry):
                return found | rows[entry], None

            found, _ = lax.scan(union, jnp.zeros((b.shape[0], words), jnp.uint32), entries)
            closed = (jnp.repeat(found, 32, axis=1) >> position) & jnp.uint32(1)
            return total + closed.astype(jnp.int32), None

        return lax.scan(sample, total, (holders.reshape(block, n, words), lists))[0], None

    # The last block is filled up with samples that no list of a holds.
    blocks = -(-n // block)
    lists = jnp.pad(b.transpose(1, 2, 0), ((0, blocks * block - n), (0, 0), (0, 0))).reshape(blocks, block, k, -1)
    start = jnp.zeros((b.shape[0], words * 32), jnp.int32)
    total, _ = lax.scan(samples, start, (jnp.arange(blocks, dtype=jnp.int32) * block, lists))
    return total[:, :layers].T


def cycle_knn(x: Any, y: Any, *, k: int = 10, normalize: bool = True, swapped: bool = False) -> Score:
    """Share of samples that are a neighbour, in x, of one of their neighbours in y: `CycleKnn(...)(x, y)`.

    x (n, dx) and y (n, dy) hold one sample a row, in the same order. Range [0, 1]. ValueError unless 1 <= k < n.
    """
    return CycleKnn(k, normalize, swapped)(x, y)
