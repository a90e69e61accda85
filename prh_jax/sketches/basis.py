"""Leading singular directions of a layer: what metrics of directions keep."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from ..numerics.subspace import left_vectors
from .base import Order, Sketcher, Summarizer
from .scaling import z_scores


class Directions(NamedTuple):
    """The leading left singular vectors of the z-scored features; degenerate too where there are fewer."""

    vectors: Float[Array, "n r"]
    degenerate: Bool[Array, ""]


@dataclasses.dataclass(frozen=True)
class SummarizeDirections(Summarizer):
    """Makes Directions: columns to mean 0 and standard deviation 1 (with n - 1); a constant column counts as zero."""

    dim: int

    def __call__(self, x: Num[Array, "n d"]) -> Directions:
        n, d = x.shape
        if not 1 <= self.dim <= min(n - 1, d):
            raise ValueError(
                f"{self.dim} singular vectors need more than {self.dim} samples and at least {self.dim} features, "
                f"got features of shape {(n, d)}. Choose a smaller dim."
            )
        z, columns = z_scores(x)
        vectors, full_rank = left_vectors(z, self.dim, bfloat16=self.bfloat16)
        return Directions(vectors, columns.degenerate | ~full_rank)


class Basis(NamedTuple):
    """Orthonormal left singular vectors of a layer, largest singular value first."""

    vectors: Float[Array, "n r"]

    def reorder(self, order: Order) -> "Basis":
        return Basis(self.vectors[order])


@dataclasses.dataclass(frozen=True)
class BasisSketcher(Sketcher):
    """The first `dim` left singular vectors of the z-scored columns of a layer (constant columns count as zero)."""

    dim: int

    @property
    def summarizer(self) -> SummarizeDirections:
        return SummarizeDirections(self.dim)

    def sketch(self, summary: Directions) -> Basis:
        return Basis(jnp.where(summary.degenerate, jnp.nan, summary.vectors))
