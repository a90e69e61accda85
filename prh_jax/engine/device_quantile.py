"""Order statistics of magnitudes where the features are: exact, by bisection of their bits."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, UInt

from .quantile import at_position, quantile_of

MOST = 2**31 - 1
"""Values that can be counted."""


def row_quantiles(layers: Sequence[jax.Array], q: float) -> np.ndarray:
    """The values of `quantile.row_quantiles`, to the bit, for layers on a device."""
    position = q * (sum(x.shape[1] for x in layers) - 1)
    return quantile_of(np.stack(_statistics(tuple(layers), int(position), whole=False), axis=1), position)


def order_statistic(layers: Sequence[jax.Array], rank: int) -> float:
    """The magnitude at position `rank` of all sorted |values|."""
    return float(at_position(np.asarray(_statistics(tuple(layers), rank, whole=True)[0]))[0])


@partial(jax.jit, static_argnames=("rank", "whole"))
def _statistics(
    layers: tuple[Float[Array, "n _"], ...], rank: int, *, whole: bool
) -> tuple[UInt[Array, " rows"], UInt[Array, " rows"]]:
    """The magnitudes, as the bits of float32, at `rank` and the next of each row of layers side by side, or of all.

    Bits of magnitudes sort as the magnitudes do. The largest number that at most `rank` values lie below is found bit
    by bit: each bit reads the values once, at the speed of memory. A sort would move them.
    """
    narrow = all(x.dtype == jnp.bfloat16 for x in layers)
    kind, bits = (jnp.uint16, 15) if narrow else (jnp.uint32, 31)
    same = layers if narrow else [x.astype(jnp.float32) for x in layers]
    codes = jnp.concatenate([lax.bitcast_convert_type(x, kind) & kind(2**bits - 1) for x in same], axis=1)
    codes = codes.reshape(1, -1) if whole else codes
    rank = min(rank, codes.shape[1] - 1)

    def next_bit(i, low):
        higher = low | (kind(1) << (bits - 1 - i).astype(kind))
        below = jnp.sum(codes < higher[:, None], axis=1, dtype=jnp.int32)
        return jnp.where(below <= rank, higher, low)

    low = lax.fori_loop(0, bits, next_bit, jnp.zeros(len(codes), kind))
    reached = jnp.sum(codes <= low[:, None], axis=1, dtype=jnp.int32)
    above = jnp.min(jnp.where(codes > low[:, None], codes, kind(2**bits - 1)), axis=1)
    last = rank + 1 >= codes.shape[1]
    high = low if last else jnp.where(rank + 1 < reached, low, above)
    shift = jnp.uint32(16 if narrow else 0)
    return low.astype(jnp.uint32) << shift, high.astype(jnp.uint32) << shift
