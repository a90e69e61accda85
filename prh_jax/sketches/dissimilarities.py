"""Dissimilarities of all pairs of samples."""

import dataclasses
from typing import Literal

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ..numerics import linalg
from .base import Sketcher
from .inner_products import InnerProducts, SummarizeInnerProducts
from .packed_matrix import PackedMatrix, pack, squared_norm

Dissimilarity = Literal["correlation", "euclidean", "cosine"]


DissimilarityForm = Literal["raw", "unit", "centered", "ranks"]


@dataclasses.dataclass(frozen=True)
class DissimilaritySketcher(Sketcher):
    """Dissimilarities of all pairs of samples (an RDM), with a diagonal of zero.

    "euclidean" distances, or one minus the "cosine" of two rows, or minus their Pearson "correlation" over features.
    In the form "unit" they have Frobenius norm one, "centered" so after their mean over pairs is taken off; "ranks"
    first puts ranks for them, equal ones their mean rank. `size` is the norm that was divided by, 1 in the form "raw".
    """

    dissimilarity: Dissimilarity
    form: DissimilarityForm

    @property
    def summarizer(self) -> SummarizeInnerProducts:
        return SummarizeInnerProducts(
            unit_rows=self.dissimilarity != "euclidean", row_centered=self.dissimilarity == "correlation"
        )

    def matrix(self, products: InnerProducts) -> tuple[Float[Array, "n n"], Float[Array, ""]]:
        """The dissimilarities times a factor, and the factor."""
        factor = products.factor
        squares = linalg.squared_distances(products.gram)
        if self.dissimilarity == "euclidean":
            return linalg.safe_sqrt(squares), factor
        # |u - v|^2 / 2 = 1 - u'v of unit rows; of a row of zeros 1 too
        own = jnp.diagonal(products.gram) + 2 * products.offset + products.square
        missing = jnp.where(lax.stop_gradient(own) < factor * factor / 2, 0.5, 0) * factor * factor
        return linalg.without_diagonal(squares / 2 + missing[:, None] + missing[None, :]), factor * factor

    def sketch(self, summary: InnerProducts) -> PackedMatrix:
        n = summary.gram.shape[0]
        matrix, factor = self.matrix(summary)
        if self.form == "raw":
            bad, norm = summary.degenerate, jnp.ones_like(factor)
            return pack(matrix / factor, norm, bad)
        if self.form == "ranks":
            matrix = average_ranks(matrix)
        if self.form != "unit":
            matrix = linalg.without_diagonal(matrix - jnp.sum(matrix) / float(n * (n - 1)))
        # nearer to 1 first: squares of ranks of many samples are large
        matrix = matrix * linalg.power_of_two(matrix)
        squares = squared_norm(matrix)
        bad = summary.degenerate | ~(squares > 0)
        norm = jnp.sqrt(jnp.where(bad, 1, squares))
        return pack(matrix / norm, norm, bad)


def average_ranks(matrix: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """Ranks of the entries off the diagonal, equal ones their mean rank, up to a constant and a factor of 2.

    The matrix is symmetric to the bit: each pair stands twice, side by side in the order.
    """
    n = matrix.shape[0]
    if n * n >= 2**31:
        raise ValueError(f"Ranks of the dissimilarities of {n} samples need 64-bit indices; 46,340 samples do not.")
    flat = jnp.where(jnp.eye(n, dtype=bool), -jnp.inf, lax.stop_gradient(matrix)).reshape(-1)
    order = jnp.argsort(flat)
    ordered = flat[order]
    place = jnp.arange(n * n, dtype=flat.dtype)
    changes = ordered[1:] != ordered[:-1]
    first = lax.cummax(jnp.where(jnp.pad(changes, (1, 0), constant_values=True), place, 0))
    last = lax.cummin(jnp.where(jnp.pad(changes, (0, 1), constant_values=True), place, jnp.inf), reverse=True)
    ranks = jnp.zeros_like(flat).at[order].set((first + last) / 2, unique_indices=True)
    return linalg.without_diagonal(ranks.reshape(n, n))
