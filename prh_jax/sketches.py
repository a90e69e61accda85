"""Sketches: what the metrics keep of one layer, and the sketchers that make them."""

import dataclasses
from typing import Literal, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Num

from . import linalg
from .linalg import HIGHEST
from .metric import Order

Kernel = Literal["linear", "rbf"]


class KnnGraph(NamedTuple):
    """Row i: the k samples nearest to sample i, nearest first, itself excluded; all -1 for a degenerate layer."""

    neighbors: Int[Array, "n k"]

    def reorder(self, order: Order) -> "KnnGraph":
        return KnnGraph(_relabel(self.neighbors, order))


class NeighborKernel(NamedTuple):
    """Neighbours with their kernel values, the layer's alignment with itself, and the factor that undoes prescaling."""

    neighbors: Int[Array, "n k"]
    values: Float[Array, "n k"]
    self_alignment: Float[Array, ""]
    factor: Float[Array, ""]

    def reorder(self, order: Order) -> "NeighborKernel":
        return self._replace(neighbors=_relabel(self.neighbors, order), values=self.values[order])


class Gram(NamedTuple):
    """A centred Gram matrix of unit Frobenius norm, and 1 / the norm it had."""

    values: Float[Array, "n n"]
    inverse_norm: Float[Array, ""]

    def reorder(self, order: Order) -> "Gram":
        return self._replace(values=self.values[order[:, None], order[None, :]])


class Basis(NamedTuple):
    """Orthonormal left singular vectors of a layer, largest singular value first."""

    vectors: Float[Array, "n r"]

    def reorder(self, order: Order) -> "Basis":
        return Basis(self.vectors[order])


def _relabel(neighbors: Int[Array, "n k"], order: Order) -> Int[Array, "n k"]:
    """Neighbour lists of `features[order]`: row i is old row order[i], and old sample s is now at inverse[s]."""
    n = order.shape[0]
    inverse = jnp.zeros(n, neighbors.dtype).at[order].set(jnp.arange(n, dtype=neighbors.dtype))
    lists = neighbors[order]
    return jnp.where(lists < 0, lists, inverse[jnp.maximum(lists, 0)])


def coarse_mean(x: Float[Array, "n d"]) -> Float[Array, "1 d"]:
    """The mean of prescaled features rounded to multiples of 1/256.

    Near enough to the mean for `ranking`, and features of few bits (integers, say) stay exact when it is subtracted: so
    that products that are equal stay equal.
    """
    return jnp.round(jnp.mean(x, axis=0, keepdims=True) * 256) / 256


def ranking(x: Float[Array, "n d"], center: Float[Array, "1 d"]) -> Float[Array, "n n"]:
    """Similarities that order the neighbours of each sample as `x @ x.T` does, without its cancellation.

    With `c = x - center`: `<x_i, x_j> = <c_i, c_j> + <c_j, center> + <x_i, center>`, the last the same for all j.
    """
    shifted = x - center
    offset = jnp.matmul(center, shifted.T, precision=HIGHEST)
    return linalg.gram(shifted) + offset


def nearest(similarities: Float[Array, "n n"], k: int, *, with_self: bool = False) -> Int[Array, "n k"]:
    """Indices of the k largest entries of each row, largest first, ties to the lowest index; the diagonal left out.

    `lax.top_k` keeps equal entries in index order. `with_self` lets the diagonal compete.
    """
    n = similarities.shape[0]
    if not 1 <= k < n:
        raise ValueError(f"k nearest neighbours among {n} samples need 1 <= k <= {n - 1}, got k = {k}.")
    if not with_self:
        similarities = jnp.where(jnp.eye(n, dtype=bool), -jnp.inf, similarities)
    return lax.top_k(similarities, k)[1]


@dataclasses.dataclass(frozen=True)
class Neighbors:
    """kNN graph of a layer; `normalize` makes rows unit first (cosine), else the dot product of rows as given ranks."""

    k: int
    normalize: bool = True

    def __call__(self, x: Num[Array, "n d"]) -> KnnGraph:
        x, _ = linalg.prescale(x)
        bad = linalg.is_degenerate(x)
        if self.normalize:
            x, _ = linalg.prescale(linalg.unit_rows(x))
            bad = bad | linalg.is_degenerate(x)
        return KnnGraph(jnp.where(bad, -1, nearest(ranking(x, coarse_mean(x)), self.k)))


@dataclasses.dataclass(frozen=True)
class CenteredGram:
    """Gram matrix of a layer, centred (`unbiased`: U-centred) and scaled to Frobenius norm one.

    The inner product of two such sketches is CKA. `inverse_norm` refers to HSIC of the layer with itself as the
    reference defines it: `tr(K H K H)`, or divided by `n (n - 3)` for the unbiased one.
    """

    kernel: Kernel = "linear"
    sigma: float = 1.0
    unbiased: bool = False

    def __call__(self, x: Num[Array, "n d"]) -> Gram:
        n = x.shape[0]
        if n < (4 if self.unbiased else 2):
            raise ValueError(f"{'Unbiased CKA' if self.unbiased else 'CKA'} needs at least 4 samples, got {n}.")
        x = linalg.at_least_float32(x)
        bad = linalg.is_degenerate(x)
        if self.kernel == "linear":
            x, factor = linalg.prescale(x)
            matrix, factor = linalg.gram(linalg.center_columns(x)), factor * factor
        else:
            matrix, factor = linalg.rbf_gram(x, self.sigma), jnp.ones((), x.dtype)
        matrix = linalg.u_center(matrix) if self.unbiased else linalg.double_center(matrix)
        squares = linalg.inner(matrix, matrix)
        bad = bad | ~(squares > 0)
        norm = jnp.sqrt(jnp.where(bad, 1, squares))
        size = jnp.sqrt(jnp.asarray(n * (n - 3), x.dtype)) if self.unbiased else jnp.ones((), x.dtype)
        return Gram(jnp.where(bad, jnp.nan, matrix / norm), size * factor / norm)


@dataclasses.dataclass(frozen=True)
class ColumnBasis:
    """The first `dim` left singular vectors of the z-scored columns of a layer (constant columns count as zero)."""

    dim: int

    def __call__(self, x: Num[Array, "n d"]) -> Basis:
        n, d = x.shape
        if not 1 <= self.dim <= min(n - 1, d):
            raise ValueError(
                f"{self.dim} singular vectors need more than {self.dim} samples and at least {self.dim} features, "
                f"got features of shape {(n, d)}. Choose a smaller dim."
            )
        x = linalg.at_least_float32(x)
        bad = linalg.is_degenerate(x)
        x = x * linalg.power_of_two(x, axis=0)
        tolerance = 4 * jnp.finfo(x.dtype).eps
        constant = ~(jnp.max(x, axis=0, keepdims=True) - jnp.min(x, axis=0, keepdims=True) > tolerance)
        centered = jnp.where(constant, 0, linalg.center_columns(x))
        variance = jnp.sum(centered * centered, axis=0, keepdims=True) / (n - 1)
        scored = centered / jnp.sqrt(jnp.where(constant, 1, variance))
        matrix = linalg.gram(scored) / d
        vectors = linalg.top_eigenvectors(matrix, jnp.zeros(self.dim, x.dtype))
        # Below full rank the last vectors are arbitrary: their eigenvalue is rounding.
        explained = jnp.sum(vectors * jnp.matmul(matrix, vectors, precision=HIGHEST), axis=0)
        bad = bad | ~(explained[-1] > n * jnp.finfo(x.dtype).eps * explained[0])
        return Basis(jnp.where(bad, jnp.nan, vectors))


@dataclasses.dataclass(frozen=True)
class MaskedKernel:
    """Inner products of each sample with its k nearest, for CKNNA.

    `unbiased` leaves the sample itself out of its list; without it the diagonal competes. `row_centered` subtracts from
    each product the mean of its row over all samples, the form of the paper.
    """

    k: int
    unbiased: bool = True
    row_centered: bool = False

    def __call__(self, x: Num[Array, "n d"]) -> NeighborKernel:
        n = x.shape[0]
        if n < 4:
            raise ValueError(f"CKNNA needs at least 4 samples, got {n}.")
        bad = linalg.is_degenerate(linalg.at_least_float32(x))
        x, factor = linalg.prescale(x)
        center = lax.stop_gradient(coarse_mean(x))
        similarities = ranking(x, center)
        neighbors = nearest(lax.stop_gradient(similarities), self.k, with_self=not self.unbiased)
        # What `ranking` leaves out is the same along each row; it vanishes under row centring.
        row_part = jnp.matmul(x, center.T, precision=HIGHEST)
        if self.row_centered:
            row_part = -jnp.mean(similarities, axis=1, keepdims=True)
        values = jnp.take_along_axis(similarities, neighbors, axis=1) + row_part
        alignment = self.align(neighbors, values, values)
        values = jnp.where(bad, jnp.nan, values)
        return NeighborKernel(
            jnp.where(bad, -1, neighbors), values, jnp.where(bad, jnp.nan, alignment), factor * factor
        )

    def align(self, neighbors: Int[Array, "n k"], a: Float[Array, "n k"], b: Float[Array, "n k"]) -> Float[Array, ""]:
        """Alignment of two n x n matrices A, B that are zero outside the listed entries, from the entries alone.

        Row-centred: `sum_ij A_ij B_ij`. Else HSIC as the reference writes it for matrices that are not symmetric:
        unbiased `(<A, B'> + S_A S_B / ((n-1)(n-2)) - 2 c_A r_B / (n-2)) / (n (n-3))`, biased `tr(A H B H)`, where
        S are totals, r row sums and c column sums.
        """
        if self.row_centered:
            return linalg.inner(a, b)
        n = neighbors.shape[0]
        rows_a, rows_b = jnp.sum(a, axis=1), jnp.sum(b, axis=1)
        # B'_ij = B_ji: look for i in the list of each of its neighbours j.
        mutual = neighbors[neighbors] == jnp.arange(n, dtype=neighbors.dtype)[:, None, None]
        transposed = jnp.sum(jnp.where(mutual, b[neighbors], 0), axis=2)
        product = linalg.inner(a, transposed)
        totals = jnp.sum(rows_a) * jnp.sum(rows_b)
        columns_a_rows_b = linalg.inner(a, rows_b[neighbors])
        if self.unbiased:
            return (product + totals / ((n - 1) * (n - 2)) - 2 * columns_a_rows_b / (n - 2)) / (n * (n - 3))
        columns_b_rows_a = linalg.inner(b, rows_a[neighbors])
        return product - (columns_a_rows_b + columns_b_rows_a) / n + totals / (n * n)
