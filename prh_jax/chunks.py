"""A long axis a few rows at a time: one program for all chunks."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped

COMPARED_AT_ONCE = 1024
"""Layers times orders of one side that are compared in one go: enough to fill a matrix product or a table's reader."""


def in_chunks(body: Callable[[Any], Any], rows: Shaped[Array, "rows ..."], size: int) -> Any:
    """`body` over the rows, at most `size` at a time in equal chunks, the last filled up."""
    count = rows.shape[0]
    chunks = -(-count // size)
    size = -(-count // chunks)
    filled = jnp.concatenate([rows, jnp.repeat(rows[-1:], chunks * size - count, axis=0)])
    out = jax.lax.map(body, filled.reshape(chunks, size, *rows.shape[1:]))
    return out.reshape(-1, *out.shape[2:])[:count]
