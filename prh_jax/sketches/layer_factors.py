"""Factors of a layer that is compared once: matrices as narrow as its features, where sketches have n x n matrices.

    factor factor' = the symmetric matrix that a sketch of `root_matrices` holds, or its square

Only the root of a Gram matrix (or a hat matrix) is n x n whatever the width, and so stacks with those of other layers.
A single pair needs no stack, and decomposes smaller matrices. Factors have no derivatives written out: traced layers
are compared by their sketches.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from ..numerics import linalg
from ..numerics.matrix_root import hat_weights, left_singular, narrowed
from .packed_matrix import squared_norm
from .root_matrices import directions_in_doubt, rank_floor
from .scaling import scale_columns


class LayerFactor(NamedTuple):
    """A matrix of n rows whose products with another layer's make a score.

    Attributes
    ----------
    columns
        The matrix.
    size
        The norm that was divided by, or the squared norm of the hat matrix: what the sketch has next to its matrix.
    sure
        Whether the layer has a score, and float32 leaves nothing in doubt that a sketch would settle.
    """

    columns: Float[Array, "n m"]
    size: Float[Array, ""]
    sure: Bool[Array, ""]


def unit_factor(x: Num[Array, "n d"], *, centered: bool = True) -> LayerFactor:
    """The features themselves, of Frobenius norm one: `columns columns'` is the square of `RootSketcher`'s root."""
    z, columns = scale_columns(x, centered=centered)
    norm = linalg.safe_sqrt(squared_norm(z))
    sure = ~columns.degenerate & (norm > 0)
    return LayerFactor(narrowed(z / jnp.where(sure, norm, 1)), norm / columns.factor, sure)


def whitened_factor(x: Num[Array, "n d"], alpha: float, *, centered: bool = True) -> LayerFactor:
    """The factor of `RootSketcher(centered, alpha)` for alpha below 1."""
    factor, u, values, kept, sure = _directions(x, centered)
    weights = alpha * values + (1 - alpha) * kept.astype(values.dtype)
    return LayerFactor(u * (weights / linalg.safe_sqrt(linalg.inner(weights, weights)))[None, :], factor.size, sure)


def hat_factor(
    x: Num[Array, "n d"], ridge: float = 0.0, variance: float = 1.0, *, centered: bool = True, twice: bool = False
) -> LayerFactor:
    """The factor of `HatSketcher`'s hat matrix F; `twice`: of `2 F - F^2`."""
    _, u, values, kept, sure = _directions(x, centered)
    _, weights = hat_weights(values, kept, ridge, variance)
    size = linalg.inner(weights, weights)
    weights = 2 * weights - weights * weights if twice else weights
    return LayerFactor(u * linalg.safe_sqrt(weights)[None, :], size, sure)


def _directions(x, centered: bool):
    """The layer's unit factor, left singular vectors and singular values, which are kept, and whether all is sure."""
    factor = unit_factor(x, centered=centered)
    u, values = left_singular(factor.columns)
    floor = rank_floor(factor.columns)
    sure = factor.sure
    if values.dtype == jnp.float32:
        sure = sure & ~directions_in_doubt(values, floor, x.shape[0])
    return factor, u, values, values > floor * values[:1], sure
