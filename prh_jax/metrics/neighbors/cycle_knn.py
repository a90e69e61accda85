"""Cycle kNN: whether a step to a neighbour in one layer and a step in the other lead back."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int

from ...numerics.varying import varying_as
from ..base import Score
from .base import NeighborMetric

TABLE, LINE = 2**26, 16
"""Words of the largest table of holders, which covers a block of the samples if n is large; and words that its rows are
longer by, a cache's line. Rows a power of two apart would share few places of a cache."""


@dataclasses.dataclass(frozen=True)
class CycleKnn(NeighborMetric):
    """Share of samples that are a neighbour, in x, of one of their neighbours in y.

    `score = mean_i [exists j in knn_y(i): i in knn_x(j)]`, with knn the k nearest samples. The function `cycle_knn`
    has the details.

    Parameters
    ----------
    k, normalize, swapped
        As in `cycle_knn`.
    """

    name = "cycle_knn"
    source = "Huh et al. 2024, arXiv:2405.07987"
    symmetric = False
    self_score = None

    swapped: bool = False

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

    The layers of a for which i is in list j are the bits of words (j, i): what a list of b closes is their union.
    """
    layers, n, _ = a.shape
    words = -(-layers // 32)
    # Layer by layer, as the lists lie: turning them, so that a holder's layers are written together, costs more.
    layer = jnp.arange(layers, dtype=a.dtype)[:, None, None]
    holder = jnp.arange(n, dtype=a.dtype)[None, :, None]
    bit = jnp.left_shift(jnp.uint32(1), (layer % 32).astype(jnp.uint32))
    bits = jnp.broadcast_to(bit, a.shape).reshape(-1)
    position = jnp.arange(8, dtype=jnp.uint32)[None, None, None, :]
    field = jnp.arange(0, 32, 8, dtype=jnp.uint32)[None, None, :, None]
    # Blocks are of whole groups, the last one filled up with samples that no list of a holds.
    more = -(-LINE // words)
    room = max(1, TABLE // (n * words) - more)
    size = min(n, room, 32)
    block = min(-(-n // size), room // size) * size
    blocks = -(-n // block)
    b = jnp.pad(b, ((0, 0), (0, blocks * block - n), (0, 0)))
    row = block + more

    def samples(total, first):
        """A block of samples i."""
        own = a - first
        inside = (own >= 0) & (own < block)
        place = jnp.where(inside, (holder * row + own) * words + layer // 32, n * row * words).reshape(-1)
        # Each bit is set once, so that a sum is a union.
        held = jnp.zeros(n * row * words, jnp.uint32).at[place].add(bits, mode="drop").reshape(n * row, words)

        def group(total, column):
            entries = lax.dynamic_slice_in_dim(b, first + column, size, axis=1)
            found = held[entries * row + column + jnp.arange(size, dtype=a.dtype)[None, :, None]]
            union = lax.reduce(found, np.uint32(0), lax.bitwise_or, (2,))
            # Bits p, p + 8, p + 16, p + 24 of a word are counted at once, a byte each: a group has 32 samples or fewer.
            fields = jnp.sum((union[..., None] >> position) & jnp.uint32(0x01010101), axis=1, dtype=jnp.uint32)
            counts = (fields[:, :, None] >> field) & jnp.uint32(255)
            return total + counts.astype(jnp.int32).reshape(total.shape), None

        return lax.scan(group, total, jnp.arange(0, block, size, dtype=a.dtype))[0], None

    total = varying_as(jnp.zeros((b.shape[0], words * 32), jnp.int32), a, b)
    total, _ = lax.scan(samples, total, jnp.arange(0, blocks * block, block, dtype=a.dtype))
    return total[:, :layers].T


def cycle_knn(x: Any, y: Any, *, k: int = 10, normalize: bool = True, swapped: bool = False) -> Score:
    """Return the share of samples that are a neighbour, in x, of one of their neighbours in y.

    `score = mean_i [exists j in knn_y(i): i in knn_x(j)]`, with knn the k nearest samples. The score is not
    symmetric.

    Parameters
    ----------
    x, y
        Features (n, dx) and (n, dy), n >= 4. Row i of both is the same sample.
    k
        Number of neighbours of each sample, 1 <= k < n.
    normalize
        True takes neighbours by cosine similarity, False by the dot product of rows as they are.
    swapped
        True exchanges the two layers, as the measuring script of the reference does.

    Returns
    -------
    Array
        Score in [0, 1]. NaN where all samples of a layer are equal, or a feature is not finite.

    Raises
    ------
    ValueError
        If the shapes do not match or a setting is out of range.
    TypeError
        If the features are not real numbers, or `jax.grad` asks for a derivative, which the metric lacks.

    References
    ----------
    Huh et al. 2024, arXiv:2405.07987.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> y = x + rng.normal(size=(20, 4))
    >>> print(f"{prh_jax.cycle_knn(x, y, k=3):.2f}")
    0.85
    """
    return CycleKnn(k, normalize, swapped)(x, y)
