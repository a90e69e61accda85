"""Two kinds of metrics by the cost of a pair: inner products, all in one matrix product, and a large step for each."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from jax import lax
from jaxtyping import Array, Float, Int

from ..numerics import linalg
from ..numerics.packing import order_inner
from ..sketches.gram_factor import GramFactor, factor_product
from ..sketches.sample_axis import LOCAL, SampleAxis
from .base import Metric, Score
from .kernels import TileKernel


@dataclasses.dataclass(frozen=True)
class InnerProductMetric(Metric):
    """A metric that looks at a pair through the inner product of two symmetric matrices, and at numbers of each layer.

    Its sketch holds the matrix packed, as `upper` and `diagonal`: `<A, B> = 2 upper + diagonal` of their products; or,
    of many samples, the `GramFactor` of a Gram matrix.
    """

    def score(self, upper: Any, diagonal: Any, a: Any, b: Any) -> Any:
        """From the inner products of the halves and of the diagonals; everything broadcasts over pairs."""
        raise NotImplementedError

    def sides(self, a: Any, b: Any) -> tuple[Any, Any]:
        """Holders of the packed matrices of either layer: the sketches themselves, unless they hold several."""
        return a, b

    def compare(self, a: Any, b: Any) -> Score:
        p, q = self.sides(a, b)
        diagonal = linalg.inner(p.diagonal, q.diagonal)
        if isinstance(p, GramFactor):
            return self.score((factor_product(p.columns, q.columns) - diagonal) / 2, diagonal, a, b)
        return self.score(linalg.inner(p.upper, q.upper), diagonal, a, b)

    @property
    def tile_kernel(self) -> TileKernel:
        return InnerProductKernel(self)


@dataclasses.dataclass(frozen=True)
class InnerProductKernel(TileKernel):
    """All pairs of a tile in one matrix product of the halves, and one of the diagonals."""

    @property
    def shared(self) -> Callable[[Any, Any], Any] | None:
        return packed_products

    def finish(self, made: Any, a: Any, b: Any) -> Float[Array, "x y"]:
        upper, diagonal = made
        one, other = jax.tree.map(lambda z: z[:, None], a), jax.tree.map(lambda z: z[None], b)
        return self.metric.score(upper, diagonal, one, other)

    def orders(self, a: Any, b: Any, orders: Int[Array, "orders n"]) -> Float[Array, "orders x y"]:
        p, q = self.metric.sides(a, b)
        if isinstance(p, GramFactor):
            return super().orders(a, b, orders)
        upper = order_inner(p.upper, q.upper, orders)
        diagonal = jax.vmap(lambda order: linalg.tile_inner(p.diagonal, q.diagonal[:, order]))(orders)
        one, other = jax.tree.map(lambda z: z[None, :, None], a), jax.tree.map(lambda z: z[None, None], b)
        return self.metric.score(upper, diagonal, one, other)


def packed_products(a: Any, b: Any, rows: SampleAxis = LOCAL) -> tuple[Float[Array, "x y"], Float[Array, "x y"]]:
    """Inner products of the halves and of the diagonals of all pairs: all that a metric of them needs."""
    diagonal = linalg.tile_inner(a.diagonal, b.diagonal)
    if isinstance(a, GramFactor):  # one product of features after another: together they would fill the memory
        whole = lax.map(lambda p: lax.map(lambda q: factor_product(p, q, rows), b.columns), a.columns)
        return (whole - diagonal) / 2, diagonal
    return linalg.tile_inner(a.upper, b.upper), diagonal


def unbiased_cosine(upper: Any, a: Any, b: Any, *, extra: Any = 0) -> Any:
    """Cosine of two U-centred matrices from the product of their halves (sketches of `GramSketcher`)."""
    return 2 * upper / (a.unbiased_norm * b.unbiased_norm + extra)
