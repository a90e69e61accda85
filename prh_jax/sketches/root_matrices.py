"""Sketches that are one symmetric matrix: dissimilarities, or what comes of the root of a Gram matrix."""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Num

from ..numerics.exact_neighbors import ExactFeatures
from ..numerics.linalg import HIGHEST
from ..numerics.matrix_root import gram_root, hat_matrix
from .base import Order, SketchContext, Sketcher, Summarizer
from .feature_columns import ColumnSketcher, FeatureColumns
from .packed_matrix import PackedMatrix, pack, squared_norm
from .scaling import scale_columns


class GramRoot(NamedTuple):
    """Root of the Gram matrix of the features times `factor`, and their singular values, zeros after them.

    Singular values of at most `floor` of the largest count as zero.
    """

    root: Float[Array, "n n"]
    values: Float[Array, " n"]
    factor: Float[Array, ""]
    floor: Float[Array, ""]
    degenerate: Bool[Array, ""]

    @property
    def samples(self) -> int:
        return self.root.shape[0]


@dataclasses.dataclass(frozen=True)
class SummarizeRoot(Summarizer):
    """Makes the Root of features, with columns of mean zero or as given; `bfloat16` changes nothing."""

    centered: bool = True

    def __call__(self, x: Num[Array, "n d"]) -> GramRoot:
        z, columns = scale_columns(x, centered=self.centered)
        root, values = gram_root(z)
        values = jnp.pad(values, (0, z.shape[0] - values.shape[0]))
        return GramRoot(root, values, columns.factor, rank_floor(z), columns.degenerate)


def rank_floor(x: Float[Array, "n d"]) -> Float[Array, ""]:
    """Share of the largest singular value that counts as zero: n times the precision of the features."""
    return jnp.asarray(x.shape[0] * jnp.finfo(x.dtype).eps, x.dtype)


DOUBT = 3000
"""Root mean square of how much the largest singular value exceeds those that are kept, from which a layer's directions
are found in float64: what float32 rounds of the largest has turned the others by a thousandth or so then."""


@dataclasses.dataclass(frozen=True)
class DirectionSketcher(Sketcher):
    """A sketcher of the directions of a layer, weak ones as strong ones.

    Rounding turns a direction by the more the weaker it is. Where float32 does not tell them well, or not how many
    there are, the host makes the sketch in float64. Under `jax.jit` and `jax.vmap`, which leave the host out, the
    sketch is that of float32.
    """

    @property
    def all_directions(self) -> bool:
        """Whether directions count however weak they are."""
        return True

    def draft(self, summary: Any) -> tuple[Any, Bool[Array, ""] | None]:
        sketch = self.sketch(summary)
        if not self.all_directions or summary.values.dtype != jnp.float32:
            return sketch, None
        return sketch, directions_in_doubt(summary.values, summary.floor, summary.samples) & ~summary.degenerate

    def settle(self, sketch: Any, doubt: Any, x: Num[np.ndarray, "n d"], threshold: float, *, normalized: bool) -> Any:
        if not bool(doubt):
            return sketch
        rows = ExactFeatures(x, "product", normalized, threshold).rows(slice(None))
        with jax.enable_x64(True):
            floor = np.float64(len(x) * jnp.finfo(jnp.float32).eps)
            made = jax.device_get(_remade(rows, floor, sketcher=self))
        return jax.tree.map(lambda new, old: np.asarray(new, old.dtype), made, sketch)


@partial(jax.jit, static_argnames=("sketcher",))
def _remade(x: Any, floor: Any, *, sketcher: DirectionSketcher) -> Any:
    """The sketch in float64, with the rank that float32 features have."""
    return sketcher.sketch(sketcher.summarizer(x)._replace(floor=floor))


def directions_in_doubt(values: Float[Array, " m"], floor: Float[Array, ""], n: int) -> Bool[Array, ""]:
    """Whether float32 may have turned the directions of a layer of n samples, or mistaken their number.

    From its singular values, largest first, of which those of at most `floor` of the largest count as zero.
    """
    largest, eps = values[0], jnp.finfo(values.dtype).eps
    shares = values / jnp.where(largest > 0, largest, 1)
    kept = shares > floor
    excess = jnp.where(kept, 1 / jnp.where(kept, shares, 1), 0)
    turned = jnp.sum(excess * excess) > DOUBT**2 * jnp.sum(kept, dtype=excess.dtype)
    near = jnp.abs(shares - floor) < 2 * n**0.5 * eps
    return turned | jnp.any(near)


@dataclasses.dataclass(frozen=True)
class RootSketcher(DirectionSketcher):
    """Root of a layer's Gram matrix, of Frobenius norm one; `size` is the norm it had.

    `alpha` below 1 whitens in part: singular values `alpha s + (1 - alpha)` with s those of the unit norm.
    """

    centered: bool = True
    alpha: float = 1.0

    @property
    def all_directions(self) -> bool:
        return self.alpha < 1

    def specialise(self, context: SketchContext) -> Sketcher:
        narrow = context.narrow
        if narrow is None or self.alpha < 1:
            return self
        return ColumnSketcher("centered" if self.centered else "given", narrow)

    @property
    def summarizer(self) -> SummarizeRoot:
        return SummarizeRoot(self.centered)

    def sketch(self, summary: GramRoot) -> PackedMatrix:
        root, norm, bad = unit_root(summary)
        if self.alpha < 1:
            root = self.alpha * root + (1 - self.alpha) * hat_matrix(root, summary.floor)
            size = jnp.sqrt(jnp.where(bad, 1, squared_norm(root)))
            root = root / size
        return pack(root, norm, bad)


@dataclasses.dataclass(frozen=True)
class HatSketcher(DirectionSketcher):
    """Hat matrix of regression on a layer, `ridge` in units of its total variance; with 0 the projector on its span.

    `size` is its squared norm: the rank of a projector. `variance` keeps leading directions (see `hat_matrix`).
    """

    ridge: float = 0.0
    centered: bool = True
    variance: float = 1.0

    @property
    def summarizer(self) -> SummarizeRoot:
        return SummarizeRoot(self.centered)

    def sketch(self, summary: GramRoot) -> PackedMatrix:
        root, _, bad = unit_root(summary)
        hat = hat_matrix(root, summary.floor, self.ridge, self.variance)
        return pack(hat, squared_norm(hat), bad)


class Regression(NamedTuple):
    """A layer as what is predicted, a Gram matrix of trace 1, and as what predicts: their product is R^2.

    The latter is `2 F - F^2` of its hat matrix F, or what `left_out` makes of it.
    """

    gram: PackedMatrix
    smoother: PackedMatrix

    def reorder(self, order: Order) -> "Regression":
        return Regression(self.gram.reorder(order), self.smoother.reorder(order))


@dataclasses.dataclass(frozen=True)
class RegressionSketcher(DirectionSketcher):
    """Both sides of a regression of one layer on another; `ridge` in units of the total variance.

    `leave_one_out` judges each sample by the regression on all others.
    """

    ridge: float = 0.0
    leave_one_out: bool = False

    @property
    def summarizer(self) -> SummarizeRoot:
        return SummarizeRoot()

    def sketch(self, summary: GramRoot) -> Regression:
        root, norm, bad = unit_root(summary)
        hat = hat_matrix(root, summary.floor, self.ridge)
        if self.leave_one_out:
            smoother = left_out(hat, summary.floor / hat.shape[0])
        else:
            smoother = 2 * hat - jnp.matmul(hat, hat, precision=HIGHEST) if self.ridge else hat
        gram = jnp.matmul(root, root, precision=HIGHEST)
        return Regression(*(pack(matrix, norm, bad) for matrix in (gram, smoother)))


def left_out(hat: Float[Array, "n n"], eps: Float[Array, ""]) -> Float[Array, "n n"]:
    """`I - R D^2 R (n - 1)^2 / n^2`, whose product with a Gram matrix of trace 1 is R^2 by leaving one out.

    `R = I - F - 11'/n` makes residuals, and `D = 1 / diag R` of each residual that of the fit without its sample (Allen
    1974, PRESS). NaN where a sample all but decides its own prediction: its residual is zero, or of a few digits in the
    precision `eps` of the scores.
    """
    n = hat.shape[0]
    eye = jnp.eye(n, dtype=hat.dtype)
    residual = eye - hat - 1 / n
    free = jnp.diagonal(residual)
    known = free > 10_000 * eps
    weighted = residual / jnp.where(known, free, 1)[:, None] * ((n - 1) / n)
    made = eye - jnp.matmul(weighted.T, weighted, precision=HIGHEST)
    return jnp.where(jnp.all(known), made, jnp.nan)


def unit_root(products: GramRoot) -> tuple[Any, Any, Any]:
    """The root with Frobenius norm one, the norm of the features, and whether there is none."""
    squares = squared_norm(products.root)
    bad = products.degenerate | ~(squares > 0)
    norm = jnp.sqrt(jnp.where(bad, 1, squares))
    return products.root / norm, norm / products.factor, bad


def factor_of(sketch: PackedMatrix | FeatureColumns) -> Float[Array, "n w"]:
    """A matrix whose products with another layer's have the singular values of those of features."""
    return sketch.columns if isinstance(sketch, FeatureColumns) else sketch.matrix()
