"""Sketches that are one symmetric matrix: dissimilarities, or what comes of the root of a Gram matrix."""

import dataclasses
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from .metric import Order, Sketcher
from .numerics import linalg
from .numerics.linalg import HIGHEST
from .numerics.matrix_root import hat_matrix
from .numerics.packing import pack_upper, unpack_upper
from .products import InnerProducts, Products, Root, Roots

Dissimilarity = Literal["correlation", "euclidean", "cosine"]
Form = Literal["raw", "unit", "centered", "ranks"]


class Packed(NamedTuple):
    """A symmetric matrix by its upper half (see `linalg.pack_upper`) and its diagonal, and one number beside it."""

    upper: Float[Array, "n h"]
    diagonal: Float[Array, " n"]
    size: Float[Array, ""]

    def reorder(self, order: Order) -> "Packed":
        matrix = unpack_upper(self.upper)[order[:, None], order[None, :]]
        return self._replace(upper=pack_upper(matrix), diagonal=self.diagonal[order])

    def matrix(self) -> Float[Array, "n n"]:
        """The matrix itself."""
        return unpack_upper(self.upper) + jnp.diag(self.diagonal)


def pack(matrix: Float[Array, "n n"], size: Float[Array, ""], bad: Bool[Array, ""]) -> Packed:
    """A symmetric matrix packed; NaN where `bad`."""
    parts = pack_upper(matrix), jnp.diagonal(matrix), size
    return Packed(*(jnp.where(bad, jnp.nan, part) for part in parts))


def squared_norm(matrix: Float[Array, "n m"]) -> Float[Array, ""]:
    """Sum of squared entries."""
    return linalg.inner(matrix, matrix)


@dataclasses.dataclass(frozen=True)
class Dissimilarities(Sketcher):
    """Dissimilarities of all pairs of samples (an RDM), with a diagonal of zero.

    "euclidean" distances, or one minus the "cosine" of two rows, or minus their Pearson "correlation" over features.
    In the form "unit" they have Frobenius norm one, "centered" so after their mean over pairs is taken off; "ranks"
    first puts ranks for them, equal ones their mean rank. `size` is the norm that was divided by, 1 in the form "raw".
    """

    dissimilarity: Dissimilarity
    form: Form

    @property
    def products(self) -> Products:
        return Products(unit_rows=self.dissimilarity != "euclidean", row_centered=self.dissimilarity == "correlation")

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

    def reduce(self, products: InnerProducts) -> Packed:
        n = products.gram.shape[0]
        matrix, factor = self.matrix(products)
        if self.form == "raw":
            bad, norm = products.degenerate, jnp.ones_like(factor)
            return pack(matrix / factor, norm, bad)
        if self.form == "ranks":
            matrix = average_ranks(matrix)
        if self.form != "unit":
            matrix = linalg.without_diagonal(matrix - jnp.sum(matrix) / float(n * (n - 1)))
        # nearer to 1 first: squares of ranks of many samples are large
        matrix = matrix * linalg.power_of_two(matrix)
        squares = squared_norm(matrix)
        bad = products.degenerate | ~(squares > 0)
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


@dataclasses.dataclass(frozen=True)
class RootMatrix(Sketcher):
    """Root of a layer's Gram matrix, of Frobenius norm one; `size` is the norm it had.

    `alpha` below 1 whitens in part: singular values `alpha s + (1 - alpha)` with s those of the unit norm.
    """

    centered: bool = True
    alpha: float = 1.0

    @property
    def products(self) -> Roots:
        return Roots(self.centered)

    def reduce(self, products: Root) -> Packed:
        root, norm, bad = unit_root(products)
        if self.alpha < 1:
            root = self.alpha * root + (1 - self.alpha) * hat_matrix(root)
            size = jnp.sqrt(jnp.where(bad, 1, squared_norm(root)))
            root = root / size
        return pack(root, norm, bad)


@dataclasses.dataclass(frozen=True)
class HatMatrix(Sketcher):
    """Hat matrix of regression on a layer, `ridge` in units of its total variance; with 0 the projector on its span.

    `size` is its squared norm: the rank of a projector. `variance` keeps leading directions (see `roots.hat_matrix`).
    """

    ridge: float = 0.0
    centered: bool = True
    variance: float = 1.0

    @property
    def products(self) -> Roots:
        return Roots(self.centered)

    def reduce(self, products: Root) -> Packed:
        root, _, bad = unit_root(products)
        hat = hat_matrix(root, self.ridge, self.variance)
        return pack(hat, squared_norm(hat), bad)


class Regression(NamedTuple):
    """A layer as what is predicted, a Gram matrix of trace 1, and as what predicts: their product is R^2.

    The latter is `2 F - F^2` of its hat matrix F, or what `left_out` makes of it.
    """

    gram: Packed
    smoother: Packed

    def reorder(self, order: Order) -> "Regression":
        return Regression(self.gram.reorder(order), self.smoother.reorder(order))


@dataclasses.dataclass(frozen=True)
class Regressions(Sketcher):
    """Both sides of a regression of one layer on another; `ridge` in units of the total variance.

    `leave_one_out` judges each sample by the regression on all others.
    """

    ridge: float = 0.0
    leave_one_out: bool = False

    @property
    def products(self) -> Roots:
        return Roots()

    def reduce(self, products: Root) -> Regression:
        root, norm, bad = unit_root(products)
        hat = hat_matrix(root, self.ridge)
        if self.leave_one_out:
            smoother = left_out(hat)
        else:
            smoother = 2 * hat - jnp.matmul(hat, hat, precision=HIGHEST) if self.ridge else hat
        gram = jnp.matmul(root, root, precision=HIGHEST)
        return Regression(*(pack(matrix, norm, bad) for matrix in (gram, smoother)))


def left_out(hat: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """`I - R D^2 R (n - 1)^2 / n^2`, whose product with a Gram matrix of trace 1 is R^2 by leaving one out.

    `R = I - F - 11'/n` makes residuals, and `D = 1 / diag R` of each residual that of the fit without its sample (Allen
    1974, PRESS). NaN where a residual is zero whatever the sample is.
    """
    n = hat.shape[0]
    eye = jnp.eye(n, dtype=hat.dtype)
    residual = eye - hat - 1 / n
    free = jnp.diagonal(residual)
    known = free > 1000 * jnp.finfo(hat.dtype).eps
    weighted = residual / jnp.where(known, free, 1)[:, None] * ((n - 1) / n)
    made = eye - jnp.matmul(weighted.T, weighted, precision=HIGHEST)
    return jnp.where(jnp.all(known), made, jnp.nan)


def unit_root(products: Root) -> tuple[Any, Any, Any]:
    """The root with Frobenius norm one, the norm of the features, and whether there is none."""
    squares = squared_norm(products.root)
    bad = products.degenerate | ~(squares > 0)
    norm = jnp.sqrt(jnp.where(bad, 1, squares))
    return products.root / norm, norm / products.factor, bad
