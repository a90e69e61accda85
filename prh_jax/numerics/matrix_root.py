"""The root of a layer's Gram matrix: all of a layer but the axes of its feature space, and no singular value squared.

    root = (x x')^(1/2) = U S U'      of x = U S V', (n, n) whatever the width

Shapes are compared by it (`x' y` and `root_x root_y` have the same singular values), and its spectral functions are the
projector on the span of the features and the hat matrix of ridge regression. Derivatives are written out: they need no
gap between singular values, and are those along which the rank stays what it is.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .derivatives import first_only
from .linalg import HIGHEST


def _product(*factors: Float[Array, "_ _"]) -> Float[Array, "_ _"]:
    result = factors[0]
    for factor in factors[1:]:
        result = jnp.matmul(result, factor, precision=HIGHEST)
    return result


def left_singular(x: Float[Array, "n d"]) -> tuple[Float[Array, "n m"], Float[Array, " m"]]:
    """Left singular vectors and singular values; of a wide x those of its triangular factor."""
    vectors, values, _ = jnp.linalg.svd(narrowed(x), full_matrices=False)
    return vectors, values


def narrowed(x: Float[Array, "n d"]) -> Float[Array, "n m"]:
    """A matrix with the Gram matrix of x and no more columns than rows: x, or the triangular factor of a wide one."""
    return x if x.shape[1] <= x.shape[0] else jnp.linalg.qr(x.T, mode="r").T


@jax.custom_jvp
def gram_root(x: Float[Array, "n d"]) -> tuple[Float[Array, "n n"], Float[Array, " m"]]:
    """`(x x')^(1/2)`, and the singular values of x that it is made from, without a gradient."""
    vectors, values = left_singular(x)
    root = _product(vectors * values[None, :], vectors.T)
    return (root + root.T) / 2, values


@gram_root.defjvp
def _gram_root_jvp(primals, tangents):
    (x,), (change,) = primals, tangents
    u, s = left_singular(x)
    root = _product(u * s[None, :], u.T)
    kept = s > max(x.shape) * jnp.finfo(s.dtype).eps * s[:1]
    safe = jnp.where(kept, s, 1)
    # dx V, by the right singular vectors V = x' U / S
    moved = jnp.where(kept[None, :], _product(change, x.T, u) / safe[None, :], 0)
    within = _product(u.T, moved)
    outside = moved - _product(u, within)
    both = s[:, None] + s[None, :]
    # root dR + dR root = dx x' + x dx'
    mixing = (within * s[None, :] + within.T * s[:, None]) / jnp.where(both > 0, both, 1)
    side = _product(outside, u.T)
    moved = _product(u, jnp.where(both > 0, mixing, 0), u.T) + side + side.T
    return ((root + root.T) / 2, s), (moved, jnp.zeros_like(s))


@partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def hat_matrix(
    root: Float[Array, "n n"], floor: Float[Array, ""], ridge: float = 0.0, variance: float = 1.0
) -> Float[Array, "n n"]:
    """`K (K + ridge)^-1` of `K = root^2`: what predicts by ridge regression; with 0 the projector on the span of K.

    Singular values (eigenvalues of the root) of at most `floor` of the largest count as zero. `variance` keeps the
    leading directions only: as few as hold this share of the sum of squared singular values.
    """
    u, _, _, weights = _spectrum(root, floor, ridge, variance)
    hat = _product(u * weights[None, :], u.T)
    return (hat + hat.T) / 2


def _spectrum(root, floor, ridge: float, variance: float):
    """Eigenvectors, eigenvalues, which are kept, and the hat matrix's eigenvalues; the largest first."""
    values, u = jnp.linalg.eigh(root)
    values, u = values[::-1], u[:, ::-1]
    kept = values > floor * values[:1]
    kept, weights = hat_weights(values, kept, ridge, variance)
    return u, values, kept, weights


def hat_weights(
    values: Float[Array, " m"], kept: Bool[Array, " m"], ridge: float = 0.0, variance: float = 1.0
) -> tuple[Bool[Array, " m"], Float[Array, " m"]]:
    """Which singular values, the largest first, hold the share of variance; and the hat matrix's eigenvalues."""
    squares = jnp.where(kept, values, 0) ** 2
    if variance < 1:
        before = jnp.cumsum(squares) - squares
        kept = kept & (before < variance * jnp.sum(squares))
    return kept, jnp.where(kept, squares / jnp.where(kept, squares + ridge, 1), 0)


@hat_matrix.defjvp
def _hat_matrix_jvp(ridge, variance, primals, tangents):
    (root, floor), (change, _) = primals, tangents
    u, values, kept, weights = _spectrum(first_only(root), floor, ridge, variance)
    a, b = values[:, None], values[None, :]
    one, other = kept[:, None], kept[None, :]
    # divided differences of v^2 / (v^2 + ridge) between two that are kept; 0 where the projector keeps both
    both = ridge * (a + b) / jnp.where(one & other, (a * a + ridge) * (b * b + ridge), 1)
    apart = jnp.where(one != other, a - b, 1)
    across = (weights[:, None] - weights[None, :]) / jnp.where(apart == 0, 1, apart)
    slopes = jnp.where(one & other, both, jnp.where(one != other, across, 0))
    return hat_matrix(root, floor, ridge, variance), _product(u, slopes * _product(u.T, change, u), u.T)
