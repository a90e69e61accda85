"""Dissimilarities of all pairs of samples."""

import dataclasses
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Num

from ..numerics import exact_pairs, linalg
from ..numerics.inversions import entries
from ..numerics.packing import upper_rows
from ..runtime.host import quick_jit
from .base import Sketcher
from .inner_products import InnerProducts, SummarizeInnerProducts
from .masks import at_least
from .packed_matrix import PackedMatrix, pack, squared_norm
from .ranks import entry_margins, exact_levels, in_doubt

Dissimilarity = Literal["correlation", "euclidean", "cosine"]


DissimilarityForm = Literal["raw", "unit", "centered", "ranks"]


@dataclasses.dataclass(frozen=True)
class DissimilaritySketcher(Sketcher):
    """Dissimilarities of all pairs of samples (an RDM), with a diagonal of zero.

    "euclidean" distances, or one minus the "cosine" of two rows, or minus their Pearson "correlation" over features.
    In the form "unit" they have Frobenius norm one, "centered" so after their mean over pairs is taken off; "ranks"
    first puts ranks for them, equal ones their mean rank. `size` is the norm that was divided by, 1 in the form "raw".
    NaN where a row has no direction: a row of zeros, or of equal features where correlations are asked for.
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
        return squares / 2, factor * factor  # |u - v|^2 / 2 = 1 - u'v of unit rows

    def undefined(self, products: InnerProducts) -> Bool[Array, ""]:
        """Whether the layer has no dissimilarities: it is degenerate, or a row has no direction."""
        if self.dissimilarity == "euclidean":
            return products.degenerate
        own = jnp.diagonal(products.gram) + 2 * products.offset + products.square
        return products.degenerate | jnp.any(lax.stop_gradient(own) < products.factor * products.factor / 2)

    def order_matrix(self, products: InnerProducts) -> tuple[Float[Array, "n n"], Float[Array, "n n"]]:
        """Numbers in the order of the dissimilarities, and how much two of them may have come nearer by rounding."""
        margins = entry_margins(products.distance_margin())
        if self.dissimilarity == "euclidean":
            return linalg.squared_distances(products.gram), margins
        return self.matrix(products)[0], margins / 2

    def sketch(self, summary: InnerProducts) -> PackedMatrix:
        return self.draft(summary)[0]

    def masked(self, summary: InnerProducts, where: Bool[Array, " n"]) -> PackedMatrix:
        """The sketch of the samples that count; entries of the others are zero."""
        if self.form == "ranks":
            order, margins = self.order_matrix(summary)
            matrix, _ = average_ranks(jnp.where(where[:, None] & where[None, :], order, jnp.inf), margins)
        else:
            matrix, _ = self.matrix(summary)
        return self.normal_form(matrix, self.undefined(summary), where)

    def draft(self, summary: InnerProducts) -> tuple[PackedMatrix, Bool[Array, ""] | None]:
        undefined = self.undefined(summary)
        if self.form == "ranks":
            ranks, doubt = average_ranks(*self.order_matrix(summary))
            return self.normal_form(ranks, undefined), doubt & ~undefined
        matrix, factor = self.matrix(summary)
        if self.form == "raw":
            return pack(matrix / factor, jnp.ones_like(factor), undefined), None
        return self.normal_form(matrix, undefined), None

    def ranks_on_host(self, x: Any) -> Float[np.ndarray, " pairs"] | None:
        """Ranks of the dissimilarities of a layer that has values, less their mean: the host sorts much faster.

        None where the layer has none, or where rounding leaves them in doubt.
        """
        values, margins, undefined = (np.asarray(z) for z in _pairs(x, sketcher=self))
        if undefined:
            return None
        order = np.argsort(values)
        ordered = values[order]
        if _in_doubt(ordered, margins[order]):
            return None
        first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
        counts = np.diff(np.append(first, len(ordered)))
        ranks = np.empty(len(ordered))
        ranks[order] = np.repeat(first + (counts - len(ordered)) / 2, counts)
        return ranks

    def normal_form(
        self, matrix: Float[Array, "n n"], undefined: Bool[Array, ""], where: Bool[Array, " n"] | None = None
    ) -> PackedMatrix:
        """The matrix of Frobenius norm one, less the mean of its entries first but in the form "unit".

        `where` is True for the samples that count, if not all do; entries of the others become zero.
        """
        n: Any = matrix.shape[0]
        apart = ~jnp.eye(n, dtype=bool)
        if where is not None:
            n, apart = at_least(where, 2).astype(matrix.dtype), apart & where[:, None] & where[None, :]
            matrix = jnp.where(apart, matrix, 0)
        if self.form != "unit":
            matrix = jnp.where(apart, matrix - jnp.sum(matrix) / (1.0 * n * (n - 1)), 0)
        # nearer to 1 first: squares of ranks of many samples are large
        matrix = matrix * linalg.power_of_two(matrix)
        squares = squared_norm(matrix)
        bad = undefined | ~(squares > 0)
        norm = jnp.sqrt(jnp.where(bad, 1, squares))
        return pack(matrix / norm, norm, bad)

    def settle(
        self, sketch: PackedMatrix, doubt: Any, x: Num[np.ndarray, "n d"], threshold: float, *, normalized: bool
    ) -> PackedMatrix:
        if not bool(doubt):
            return sketch
        levels = exact_levels(self.dissimilarity, x, threshold, normalized=normalized)
        ranks = exact_pairs.average_ranks(levels).astype(sketch.upper.dtype)
        return jax.device_get(_normal_form(ranks, sketcher=self))


@partial(quick_jit, static_argnames=("sketcher",))
def _pairs(x: Any, *, sketcher: DissimilaritySketcher) -> tuple[Any, Any, Any]:
    """Values that rank the pairs of samples, each once, their margins, and whether the layer has no dissimilarities."""
    summary = sketcher.summarizer(x)
    matrix, margins = (entries(upper_rows(z)) for z in sketcher.order_matrix(summary))
    return matrix, margins, sketcher.undefined(summary)


_in_doubt = quick_jit(in_doubt)


@partial(jax.jit, static_argnames=("sketcher",))
def _normal_form(ranks: Any, *, sketcher: DissimilaritySketcher) -> PackedMatrix:
    return sketcher.normal_form(ranks, jnp.asarray(False))


def average_ranks(
    matrix: Float[Array, "n n"], margins: Float[Array, "n n"]
) -> tuple[Float[Array, "n n"], Bool[Array, ""]]:
    """Ranks of the entries off the diagonal, up to a constant and a factor of 2, and whether they are in doubt.

    Equal entries get their mean rank. The matrix is symmetric to the bit: each pair occurs twice, side by side in the
    order.
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
    return linalg.without_diagonal(ranks.reshape(n, n)), in_doubt(ordered, margins.reshape(-1)[order], n)
