"""Symmetric matrices by their upper half: rows of equal length, for any n."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from .backends import choices
from .blocks import COMPARED_AT_ONCE, in_chunks
from .linalg import HIGHEST
from .varying import varying_as


def pack_upper(matrix: Float[Array, "n n"]) -> Float[Array, "n h"]:
    """Each pair of a symmetric matrix once, as a rectangle: row i holds entries (i, i + 1 ... i + n/2), wrapped around.

    For even n the last column meets each pair twice and is divided by sqrt(2): so that always
    `<A, B> = 2 <pack(A), pack(B)> + <diag A, diag B>`.
    """
    upper = upper_rows(matrix)
    return upper if matrix.shape[0] % 2 else upper.at[:, -1].multiply(0.5**0.5)


def upper_rows(matrix: Float[Array, "n n"]) -> Float[Array, "n h"]:
    """The rows of `pack_upper` with entries as they are: for even n the last column has each of its pairs twice."""
    n = matrix.shape[0]
    twice = jnp.concatenate([matrix, matrix], axis=1).reshape(-1)
    # rows of 2n + 1 entries start one further each: the diagonal comes under column 0
    return jnp.pad(twice, (0, n)).reshape(n, 2 * n + 1)[:, 1 : n // 2 + 1]


def unpack_upper(upper: Float[Array, "n h"]) -> Float[Array, "n n"]:
    """The symmetric matrix that `pack_upper` packed, with zeros on its diagonal."""
    n, half = upper.shape
    if n % 2 == 0:
        upper = upper.at[:, -1].multiply(2**0.5)
    first, second = jnp.arange(n)[:, None], jnp.arange(n)[None, :]
    ahead = (second - first) % n
    near = ahead <= half
    entries = upper[jnp.where(near, first, second), jnp.maximum(jnp.where(near, ahead, n - ahead) - 1, 0)]
    return jnp.where(ahead == 0, 0, entries)


def packed_places(order: Int[Array, " n"]) -> Int[Array, "n h"]:
    """Where `pack_upper` put the entry at each place of the packed matrix once samples are reordered."""
    n = order.shape[0]
    half = n // 2
    first = jnp.broadcast_to(order[:, None], (n, half))
    later = (jnp.arange(n, dtype=order.dtype)[:, None] + jnp.arange(1, half + 1, dtype=order.dtype)[None, :]) % n
    second = order[later]
    ahead = (second - first) % n
    return jnp.where(ahead <= half, first * half + ahead - 1, second * half + n - ahead - 1)


def order_inner(
    a: Float[Array, "x n h"], b: Float[Array, "y n h"], orders: Int[Array, "orders n"]
) -> Float[Array, "orders x y"]:
    """Inner products of packed matrices of all pairs, with the samples of b reordered by each order.

    Layers last: what an order picks are whole rows, and a few orders are the columns of one matrix product.
    """
    (x, n, half), y = a.shape, b.shape[0]
    if n % 2 == 0:  # a pair that the packing meets twice may come to stand where it is met once, and the reverse
        a, b = a.at[..., -1].multiply(0.5**0.5), b.at[..., -1].multiply(2**0.5)
    a, b = a.reshape(x, n * half).T, b.reshape(y, n * half).T
    # pieces of whole rows of the packed matrix: a processor's cache holds them, a GPU is kept busy
    rows = next(r for r in range(max(1, min(n, choices().order_piece // half)), 0, -1) if n % r == 0)

    def some(chunk):
        places = jax.vmap(packed_places)(chunk).reshape(len(chunk), -1, rows * half)

        def step(total, part):
            entries, where = part
            picked = b.at[where.T].get(mode="promise_in_bounds").reshape(rows * half, -1)
            return total + jnp.matmul(entries.T, picked, precision=HIGHEST), None

        start = varying_as(jnp.zeros((x, len(chunk) * y), a.dtype), a, b)
        parts = a.reshape(-1, rows * half, x), places.transpose(1, 0, 2)
        return lax.scan(step, start, parts)[0].reshape(x, len(chunk), y).transpose(1, 0, 2)

    return in_chunks(some, orders, max(1, COMPARED_AT_ONCE // y))
