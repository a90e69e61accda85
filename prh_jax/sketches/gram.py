"""Gram matrices and bases: what metrics of similarities and of directions keep of a layer, and what makes them."""

import dataclasses
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from ..numerics import linalg
from ..numerics.packing import pack_upper
from .base import Order, SketchContext, Sketcher
from .gram_factor import GramFactorSketcher
from .inner_products import InnerProducts, SummarizeInnerProducts
from .masks import at_least
from .packed_matrix import reordered, unpacked

Kernel = Literal["linear", "rbf"]


class Gram(NamedTuple):
    """A U-centred Gram matrix, by its upper half (see `pack_upper`), and a diagonal next to it: see `split_center`.

    Products of both add up to those of centred Gram matrices, which are scaled to Frobenius norm one: `inverse_norm` is
    1 / the norm of it before. `unbiased_norm` is the norm of the U-centred matrix, NaN where rounding leaves
    too few digits of it.
    """

    upper: Float[Array, "n h"]
    diagonal: Float[Array, " n"]
    inverse_norm: Float[Array, ""]
    unbiased_norm: Float[Array, ""]

    def matrix(self) -> Float[Array, "n n"]:
        """The U-centred matrix with the diagonal: its inner products are those of centred Gram matrices."""
        return unpacked(self)

    def reorder(self, order: Order) -> "Gram":
        return reordered(self, order)


LOST = 300
"""How many times as large as about its rounding errors a U-centred matrix must be for it to have a score."""


def rounding_norm(squares: Float[Array, " n"]) -> Float[Array, ""]:
    """About the norm of what rounding does to products of rows off the diagonal, from the rows' squared lengths."""
    squares = lax.stop_gradient(squares)
    most = jnp.argmax(squares)
    others = jnp.sum(jnp.where(jnp.arange(squares.shape[0]) == most, 0, squares))
    return jnp.finfo(squares.dtype).eps / 2 * linalg.safe_sqrt(others * (2 * squares[most] + others))


@dataclasses.dataclass(frozen=True)
class GramSketcher(Sketcher):
    """Centred Gram matrix of a layer, scaled to Frobenius norm one: CKA is the inner product of two.

    `inverse_norm` refers to HSIC of the layer with itself as `tr(K H K H)`. The kernel "distance" is minus the
    Euclidean distance; `median` takes sigma in units of the median distance.
    """

    kernel: Kernel | Literal["distance"] = "linear"
    sigma: float = 1.0
    median: bool = False

    @property
    def summarizer(self) -> SummarizeInnerProducts:
        return SummarizeInnerProducts()

    def specialise(self, context: SketchContext) -> Sketcher:
        if self.kernel != "linear" or context.width is None:
            return self
        smaller = 2 * context.width < context.n or not context.pairwise_matrix
        return GramFactorSketcher(context.width) if context.avoid_matrix and smaller else self

    def sketch(self, summary: InnerProducts, where: Bool[Array, " n"] | None = None, sigma: Any = None) -> Gram:
        """The sketch, of the samples for which `where` is True: rows and columns of the others are zero.

        `sigma` is what a traced one has in place of the setting.
        """
        matrix, factor, n = summary.gram, summary.factor, summary.gram.shape[0]
        bad = summary.degenerate
        if n < 4:
            raise ValueError(f"CKA needs at least 4 samples, got {n}.")
        if self.kernel == "linear":
            factor = factor * factor
        else:
            squares = linalg.squared_distances(matrix)
            if self.kernel == "distance":
                matrix = -linalg.safe_sqrt(squares)
            else:
                unit = linalg.median_distance(squares, where) if self.median else factor
                bad = bad | ~(unit > 0)
                matrix = linalg.gaussian(
                    squares, (self.sigma if sigma is None else sigma.astype(matrix.dtype)) * jnp.where(bad, 1, unit)
                )
                factor = jnp.ones_like(factor)
        if where is not None:
            matrix = jnp.where(where[:, None] & where[None, :], matrix, 0)
        if self.kernel == "linear":
            error = rounding_norm(jnp.diagonal(matrix))
        else:  # what is on the diagonal is not in a U-centred matrix
            apart = linalg.without_diagonal(matrix)
            error = jnp.finfo(matrix.dtype).eps / 2 * linalg.safe_sqrt(linalg.inner(apart, apart))
        matrix, diagonal = linalg.split_center(matrix, where, None if where is None else at_least(where, 4))
        upper = pack_upper(matrix)
        squares = 2 * linalg.inner(upper, upper) + linalg.inner(diagonal, diagonal)
        bad = bad | ~(squares > 0)
        inverse = 1 / jnp.sqrt(jnp.where(bad, 1, squares))
        diagonal, upper = diagonal * inverse, upper * inverse
        norm = linalg.safe_sqrt(2 * linalg.inner(upper, upper))
        norm = jnp.where(norm > LOST * error * inverse, norm, jnp.nan)
        diagonal, upper = (jnp.where(bad, jnp.nan, z) for z in (diagonal, upper))
        return Gram(upper, diagonal, factor * inverse, norm)
