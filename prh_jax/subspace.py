"""The leading directions of a layer's samples: a few eigenvectors of a large Gram matrix, quickly and exactly."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Num

from . import linalg, pieces
from .linalg import HIGHEST

BLOCK, DEPTH = 16, 8
"""Directions iterated at once, and products with each before the best are picked from all."""


@jax.custom_jvp
def top_eigenvectors(matrix: Float[Array, "n n"], rank: Float[Array, " r"]) -> Float[Array, "n r"]:
    """Eigenvectors of the largest eigenvalues of a positive matrix, largest first; as many as `rank` has entries.

    Large matrices in float32 try block Krylov iteration first, which ends within a dozen products where eigenvalues
    fall as those of features do; where it does not settle, and in float64, the whole decomposition is made. The
    derivative is that of the subspace they span: it needs a gap after eigenvalue r, but not within the first r.
    """
    n, r = matrix.shape[0], rank.shape[0]
    if matrix.dtype != jnp.float32 or n < 4 * BLOCK * DEPTH or r > BLOCK:
        return _eigenvectors(matrix, r)
    vectors, settled = iterate_subspace(matrix, r)
    return lax.cond(settled, lambda: vectors, lambda: _eigenvectors(matrix, r))


def _eigenvectors(matrix, r: int):
    return jnp.linalg.eigh(matrix)[1][:, ::-1][:, :r]


def iterate_subspace(matrix, r: int, *, limit: int = 5, tolerance: float = 3e-5):
    """Top r eigenvectors by block Krylov iteration with Ritz vectors, restarted, and whether they settled.

    Each round builds an orthonormal basis of the start block and its products with the matrix (Musco and Musco 2015,
    arXiv:1504.05477) and starts the next from its best vectors. Settled: the root sum of squares of the sines of the
    angles that the subspace moved by in a round is at most the tolerance; or its bound by Davis and Kahan, residual /
    gap, is at most ten times that, as the residual's own rounding is so much larger. Scores of r cosines err by less.
    """

    def products(block):
        return jnp.matmul(matrix, block, precision=HIGHEST)

    def without(block, basis):
        return block - jnp.matmul(basis, jnp.matmul(basis.T, block, precision=HIGHEST), precision=HIGHEST)

    def extend(i, spaces):
        """The block that the last product brings, orthogonal to those before, and its own product."""
        basis, image = spaces
        new = lax.dynamic_slice_in_dim(image, (i - 1) * BLOCK, BLOCK, axis=1)
        # Three times: where a product brings nothing new, the first leaves noise that is mostly within the basis.
        new = lax.fori_loop(0, 3, lambda _, block: jnp.linalg.qr(without(block, basis))[0], new)
        return put(basis, new, i), put(image, products(new), i)

    def put(space, block, i):
        return lax.dynamic_update_slice_in_dim(space, block, i * BLOCK, axis=1)

    def improve(state):
        old, _, _, count = state
        empty = jnp.zeros((old.shape[0], BLOCK * DEPTH), old.dtype)  # columns still to come are zero
        start = put(empty, old, 0), put(empty, products(old), 0)
        basis, image = lax.fori_loop(1, DEPTH, extend, start)
        small = jnp.matmul(basis.T, image, precision=HIGHEST)
        values, rotation = jnp.linalg.eigh((small + small.T) / 2)
        values, rotation = values[::-1], rotation[:, ::-1][:, :BLOCK]
        new = jnp.matmul(basis, rotation, precision=HIGHEST)
        rest = jnp.matmul(image, rotation[:, :r], precision=HIGHEST) - new[:, :r] * values[None, :r]
        gap = values[r - 1] - values[r]
        residual = jnp.where(gap > 0, jnp.sqrt(linalg.inner(rest, rest)) / gap, jnp.inf)
        moved = without(old[:, :r], new[:, :r])
        return new, jnp.sqrt(linalg.inner(moved, moved)), residual, count + 1

    def settled(state):
        return (state[1] <= tolerance) | (state[2] <= 10 * tolerance)

    # numbers in the program, not a generator: that compiles slowly, and gives others on other devices
    start = jnp.asarray(np.random.default_rng(0).standard_normal((matrix.shape[0], BLOCK)), matrix.dtype)
    far = jnp.full((), jnp.inf, matrix.dtype)
    state = (jnp.linalg.qr(start)[0], far, far, 0)
    state = lax.while_loop(lambda s: ~settled(s) & (s[3] < limit), improve, state)
    return state[0][:, :r], settled(state)


@top_eigenvectors.defjvp
def _top_eigenvectors_jvp(primals, tangents):
    matrix, rank = primals
    change = tangents[0]
    r = rank.shape[0]
    values, vectors = jnp.linalg.eigh(matrix)
    values, vectors = values[::-1], vectors[:, ::-1]
    top, rest = vectors[:, :r], vectors[:, r:]
    gaps = values[None, :r] - values[r:, None]
    mixing = jnp.matmul(rest.T, jnp.matmul(change, top, precision=HIGHEST), precision=HIGHEST)
    safe = jnp.where(gaps > 0, gaps, 1)
    return top, jnp.matmul(rest, jnp.where(gaps > 0, mixing / safe, 0), precision=HIGHEST)


def left_vectors(
    x: Num[Array, "n d"],
    r: int,
    *columns: Float[Array, "1 d"],
    prepare: Callable[..., Any] = pieces.whole,
    bfloat16: bool = False,
) -> tuple[Float[Array, "n r"], Bool[Array, ""]]:
    """The first r left singular vectors of `prepare(x, *columns)`, and whether it has that many; by Gram matrices.

    A Gram matrix squares singular values: where the r-th is far below the first, rounding would blur it. The directions
    above it are then taken out of x, and the rest is found from the Gram matrix of what remains. Derivatives are those
    of the subspace (see `top_eigenvectors`). `prepare` and `bfloat16` as in `pieces.gram`.
    """
    matrix = pieces.gram(x, *columns, prepare=prepare, bfloat16=bfloat16) / x.shape[1]
    plain = top_eigenvectors(matrix, jnp.zeros(r, matrix.dtype))
    fixed, vectors = lax.stop_gradient(((x, *columns), plain))
    energies = jnp.sum(vectors * jnp.matmul(lax.stop_gradient(matrix), vectors, precision=HIGHEST), axis=0)
    found, full_rank = lax.cond(
        energies[-1] < 0.01 * energies[0],
        lambda arrays, v: _without_largest(arrays, v, prepare),
        lambda _, v: (v, jnp.array(True)),
        fixed,
        vectors,
    )
    full_rank = full_rank & (energies[0] > 0)
    # Vectors of one subspace are as good as others: turned to those that carry the derivative, they differ little.
    u, _, v = jnp.linalg.svd(jnp.matmul(found.T, vectors, precision=HIGHEST))
    turned = jnp.matmul(found, jnp.matmul(u, v, precision=HIGHEST), precision=HIGHEST)
    return plain + lax.stop_gradient(turned - plain), full_rank


def _energies(arrays, vectors, prepare):
    """Squared lengths of the projections of all columns on each vector; they do not square singular values first."""

    def squares(*z):
        return jnp.sum(jnp.matmul(vectors.T, prepare(*z), precision=HIGHEST) ** 2, axis=1)

    return pieces.sum_over_columns(squares, *arrays)


def _without_largest(arrays, vectors, prepare):
    """The top vectors again: the largest as they are, the rest from what the largest leave; whether there are all."""
    (n, d), r = arrays[0].shape, vectors.shape[1]
    energies = _energies(arrays, vectors, prepare)
    large = energies > 30 * jnp.abs(energies[-1])
    kept = jnp.where(large[None, :], vectors, 0)

    def remaining(*z):
        z = prepare(*z)
        return z - jnp.matmul(kept, jnp.matmul(kept.T, z, precision=HIGHEST), precision=HIGHEST)

    small = top_eigenvectors(pieces.gram(*arrays, prepare=remaining) / d, jnp.zeros(r, vectors.dtype))
    place = jnp.maximum(jnp.arange(r) - jnp.sum(large), 0)
    found = jnp.linalg.qr(jnp.where(large[None, :], vectors, small[:, place]))[0]
    sizes = jnp.sqrt(_energies(arrays, found, prepare))
    return found, jnp.min(sizes) > n * jnp.finfo(sizes.dtype).eps * jnp.max(sizes)
