"""The leading directions of a layer's samples: a few eigenvectors of a large Gram matrix, quickly and exactly."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from . import linalg
from .blocks import gram, sum_over_columns, whole
from .derivatives import first_only
from .linalg import HIGHEST
from .varying import varying_as

VECTORS, DEPTH = 16, 8
"""Directions iterated at once, and products with each before the best are picked from all."""


def top_eigenvectors(matrix: Float[Array, "n n"], r: int) -> Float[Array, "n r"]:
    """Eigenvectors of the r largest eigenvalues of a positive matrix, largest first.

    Large matrices in float32 try block Krylov iteration first, which ends within a dozen products where eigenvalues
    fall as those of features do; where it does not settle, and in float64, the whole decomposition is made.
    """
    n = matrix.shape[0]
    if matrix.dtype != jnp.float32 or n < 2 * VECTORS * DEPTH or r > VECTORS:
        return _eigenvectors(matrix, r)
    vectors, settled = iterate_subspace(matrix, r)
    return lax.cond(settled, lambda: vectors, lambda: _eigenvectors(matrix, r))


def _eigenvectors(matrix, r: int):
    return jnp.linalg.eigh(matrix)[1][:, ::-1][:, :r]


def iterate_subspace(matrix, r: int, *, limit: int = 5, tolerance: float = 3e-5):
    """Top r eigenvectors by block Krylov iteration with Ritz vectors, restarted, and whether they settled.

    Each round builds an orthonormal basis of the start block and its products with the matrix (Musco and Musco 2015,
    arXiv:1504.05477) and starts the next from its best vectors. Settled: the root sum of squares of the sines of the
    angles of a round is at most the tolerance. Or its bound by Davis and Kahan, residual / gap, is at most ten times
    that, as the residual's own rounding is so much larger. Scores of r cosines err by less.
    """

    def products(block):
        return jnp.matmul(matrix, block, precision=HIGHEST)

    def without(block, basis):
        return block - jnp.matmul(basis, jnp.matmul(basis.T, block, precision=HIGHEST), precision=HIGHEST)

    def extend(i, spaces):
        """The block that the last product brings, orthogonal to those before, and its own product."""
        basis, image = spaces
        new = lax.dynamic_slice_in_dim(image, (i - 1) * VECTORS, VECTORS, axis=1)
        new, _, _ = lax.while_loop(
            still_inside, lambda state: leave(state, basis), varying_as((new, jnp.zeros((), new.dtype), 0), matrix)
        )
        return put(basis, new, i), put(image, products(new), i)

    def leave(state, basis):
        """The block out of the basis, orthonormal; the least part of a column that was outside and new; passes made."""
        orthonormal, sizes = jnp.linalg.qr(without(state[0], basis))
        return orthonormal, jnp.min(jnp.abs(jnp.diagonal(sizes))), state[2] + 1

    def still_inside(state):
        # Twice is enough, but where a product brings nothing new: what the first leaves is noise, mostly of the basis.
        return (state[2] < 2) | ((state[2] < 3) & ~(state[1] > 0.5))

    def put(space, block, i):
        return lax.dynamic_update_slice_in_dim(space, block, i * VECTORS, axis=1)

    def improve(state):
        old, _, _, count = state
        empty = varying_as(
            jnp.zeros((old.shape[0], VECTORS * DEPTH), old.dtype), matrix
        )  # columns still to come are zero
        start = put(empty, old, 0), put(empty, products(old), 0)
        basis, image = lax.fori_loop(1, DEPTH, extend, start)
        small = jnp.matmul(basis.T, image, precision=HIGHEST)
        values, rotation = jnp.linalg.eigh((small + small.T) / 2)
        values, rotation = values[::-1], rotation[:, ::-1][:, :VECTORS]
        new = jnp.matmul(basis, rotation, precision=HIGHEST)
        rest = jnp.matmul(image, rotation[:, :r], precision=HIGHEST) - new[:, :r] * values[None, :r]
        gap = values[r - 1] - values[r]
        residual = jnp.where(gap > 0, jnp.sqrt(linalg.inner(rest, rest)) / gap, jnp.inf)
        moved = without(old[:, :r], new[:, :r])
        return new, jnp.sqrt(linalg.inner(moved, moved)), residual, count + 1

    def settled(state):
        return (state[1] <= tolerance) | (state[2] <= 10 * tolerance)

    # numbers in the program, not a generator: that compiles slowly, and gives others on other devices
    start = jnp.asarray(np.random.default_rng(0).standard_normal((matrix.shape[0], VECTORS)), matrix.dtype)
    far = jnp.full((), jnp.inf, matrix.dtype)
    state = varying_as((jnp.linalg.qr(start)[0], far, far, 0), matrix)
    state = lax.while_loop(lambda s: ~settled(s) & (s[3] < limit), improve, state)
    return state[0][:, :r], settled(state)


@jax.custom_jvp
def with_derivative(vectors: Float[Array, "n r"], matrix: Float[Array, "n n"]) -> Float[Array, "n r"]:
    """The vectors, orthonormal and of the subspace of a positive matrix's r largest eigenvalues, as they depend on it.

    The derivative is that of the subspace: it needs a gap after eigenvalue r, but not within the first r.
    """
    return vectors


@with_derivative.defjvp
def _with_derivative_jvp(primals, tangents):
    (vectors, matrix), change = primals, tangents[1]
    r = vectors.shape[1]
    values, all_vectors = jnp.linalg.eigh(first_only(matrix))
    values, all_vectors = values[::-1], all_vectors[:, ::-1]
    top, rest = all_vectors[:, :r], all_vectors[:, r:]
    gaps = values[None, :r] - values[r:, None]
    mixing = jnp.matmul(rest.T, jnp.matmul(change, top, precision=HIGHEST), precision=HIGHEST)
    moved = jnp.matmul(rest, jnp.where(gaps > 0, mixing / jnp.where(gaps > 0, gaps, 1), 0), precision=HIGHEST)
    turn = jnp.matmul(top.T, vectors, precision=HIGHEST)  # bases of one subspace differ by a rotation
    return with_derivative(vectors, matrix), jnp.matmul(moved, turn, precision=HIGHEST)


def left_vectors(
    z: Float[Array, "n d"], r: int, *, bfloat16: bool = False
) -> tuple[Float[Array, "n r"], Bool[Array, ""]]:
    """Return the first r left singular vectors of z, and whether it has that many.

    They come from Gram matrices of samples or, if there are fewer, of features. A Gram matrix squares singular values:
    if the r-th is far below the first, rounding would blur it. The directions above it are then taken out of z, of its
    samples and of its features, and the rest is found from the Gram matrix of what remains. Derivatives are those of
    the subspace (see `with_derivative`). `bfloat16` is as in `blocks.gram`.
    """
    (n, d), fixed = z.shape, lax.stop_gradient(z)

    def squared_lengths(vectors):
        """Those of the projections of all columns on each vector, which do not square singular values first."""

        def squares(part):
            return jnp.sum(jnp.matmul(vectors.T, part, precision=HIGHEST) ** 2, axis=1)

        return sum_over_columns(squares, fixed) / d

    def of_samples(remaining, left, _):
        """Eigenvectors of the Gram matrix of samples, and the mean squares of what is projected on vectors."""
        matrix = (gram(fixed, prepare=remaining, bfloat16=bfloat16) - jnp.matmul(left, left.T, precision=HIGHEST)) / d

        def lengths(vectors):
            return jnp.sum(vectors * jnp.matmul(matrix, vectors, precision=HIGHEST), axis=0)

        return top_eigenvectors(matrix, r), lengths

    def of_features(remaining, left, right):
        """The same from products of features: their eigenvectors, seen by the samples."""
        rest = remaining(fixed) - jnp.matmul(left, right.T, precision=HIGHEST)
        axes = top_eigenvectors(gram(rest.T, bfloat16=bfloat16) / d, r)
        vectors = jnp.matmul(rest, axes, precision=HIGHEST)
        norms = jnp.sqrt(jnp.sum(vectors * vectors, axis=0, keepdims=True))

        def lengths(vectors):
            return jnp.sum(jnp.matmul(rest.T, vectors, precision=HIGHEST) ** 2, axis=0) / d

        return vectors / jnp.where(norms > 0, norms, 1), lengths

    def find(state):
        """The vectors, from what those that are known well leave of z; again only where that differs."""
        vectors, energies, known, _, count = state
        # rounding has turned those that are small next to the largest that this pass found
        floor = jnp.maximum(30 * jnp.abs(energies[-1]), 1e-3 * energies[known])
        large = (count > 0) & ((jnp.arange(r) < known) | (energies > floor))
        kept = jnp.where(large[None, :], vectors, 0)

        def without_kept(part):
            inside = jnp.matmul(kept.T, part, precision=HIGHEST)
            return part - jnp.matmul(kept, inside, precision=HIGHEST)

        def remaining(part):
            return lax.cond(count > 0, without_kept, whole, part)

        def still_inside():
            """The part of their directions that rounding leaves in z, in samples (n, r) and in features (d, r)."""
            axes = jnp.linalg.qr(jnp.matmul(fixed.T, kept, precision=HIGHEST))[0]
            axes = jnp.where(large[None, :], axes, 0)

            def seen(part, axes):
                return jnp.matmul(without_kept(part), axes.T, precision=HIGHEST)

            return sum_over_columns(seen, fixed, axes.T), axes

        nothing = varying_as((jnp.zeros((n, r), z.dtype), jnp.zeros((d, r), z.dtype)), fixed)
        small, lengths = (of_features if d < n else of_samples)(
            remaining, *lax.cond(count > 0, still_inside, lambda: nothing)
        )
        known = jnp.sum(large)
        place = jnp.maximum(jnp.arange(r) - known, 0)
        found = jnp.linalg.qr(jnp.where(large[None, :], vectors, small[:, place]))[0]
        energies = lengths(found)
        blurred = (energies[-1] < 0.01 * energies[known]) & (energies[known] > noise**2 * energies[0]) & (count < r)
        energies = lax.cond((count > 0) | blurred, squared_lengths, lambda _: energies, found)
        return found, energies, known, blurred, count + 1

    noise = n * jnp.finfo(z.dtype).eps
    start = varying_as((jnp.zeros((n, r), z.dtype), jnp.zeros(r, z.dtype), 0, jnp.array(True), 0), fixed)
    found, energies, _, _, count = lax.while_loop(lambda state: state[3], find, start)
    sizes = jnp.sqrt(energies)
    full_rank = (energies[0] > 0) & ((count == 1) | (jnp.min(sizes) > noise * jnp.max(sizes)))
    return with_derivative(found, gram(z, bfloat16=bfloat16) / d), full_rank
