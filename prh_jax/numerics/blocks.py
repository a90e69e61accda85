"""Wide layers a few columns at a time: what is done to a piece before it is multiplied stays in a processor's cache."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Num, Shaped

from .backends import choices
from .linalg import HIGHEST
from .varying import varying_as

ROWS_PER_BLOCK = 256
"""Rows of the blocks of a Gram matrix, at least."""


def whole(x: Any) -> Any:
    """A piece as it is."""
    return x


def sum_over_columns(body: Callable[..., Any], *arrays: Num[Array, "_ d"]) -> Any:
    """Sum over pieces of columns of `body(*pieces)`, arrays without a width; on accelerators all columns at once."""
    d = arrays[0].shape[1]
    most = choices().columns_per_piece
    if most is None or d <= most:
        return body(*arrays)

    def piece(start, width):
        return body(*(lax.dynamic_slice_in_dim(z, start, width, axis=1) for z in arrays))

    width = _even_width(d, most)
    covered = d // width * width
    rest = piece(covered, d - covered) if covered < d else None
    shapes = jax.eval_shape(body, *(z[:, :width] for z in arrays))
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes) if rest is None else rest
    start = varying_as(zeros, *arrays)

    def step(total, first):
        return jax.tree.map(jnp.add, total, piece(first, width)), None

    return lax.scan(step, start, jnp.arange(0, covered, width))[0]


def _even_width(d: int, most: int) -> int:
    """The widest piece of up to `most` columns that divides d, so that none is left over; `most` if it is narrow."""
    return next((w for w in range(most, most // 4, -1) if d % w == 0), most)


def gram(
    x: Num[Array, "n d"],
    *,
    prepare: Callable[[Num[Array, "n p"]], Float[Array, "n p"]] = whole,
    bfloat16: bool = False,
) -> Float[Array, "n n"]:
    """Gram matrix `z @ z.T` of `z = prepare(x)`, symmetric to the bit.

    `prepare` acts on each column alone: it gets pieces of columns. `bfloat16` rounds z to 8 bits and sums in float32:
    what fast units of accelerators multiply.
    """
    return join_blocks(sum_over_columns(lambda z: row_blocks(prepare(z), bfloat16=bfloat16), x))


def row_blocks(z: Float[Array, "n p"], *, bfloat16: bool = False) -> tuple[Array, ...]:
    """Blocks of rows of `z @ z.T`, each from its diagonal on: products off the diagonal are made once."""
    n, kind = z.shape[0], z.dtype
    z = z.astype(jnp.bfloat16) if bfloat16 else z
    rows = max(ROWS_PER_BLOCK, -(-n // 8)) if n > choices().blocked_gram_above else n
    return tuple(
        jnp.matmul(z[i : i + rows], z[i:].T, precision=HIGHEST, preferred_element_type=kind) for i in range(0, n, rows)
    )


def join_blocks(blocks: tuple[Array, ...]) -> Float[Array, "n n"]:
    """The symmetric matrix whose blocks of rows, from the diagonal on, are given."""
    rows = blocks[0].shape[0]
    joined = []
    for i, block in enumerate(blocks):
        size = block.shape[0]
        corner = block[:, :size]
        corner = jnp.triu(corner) + jnp.triu(corner, 1).T
        before = [blocks[j][:, (i - j) * rows : (i - j) * rows + size].T for j in range(i)]
        joined.append(jnp.concatenate([*before, corner, block[:, size:]], axis=1))
    return jnp.concatenate(joined)


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
