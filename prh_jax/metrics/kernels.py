"""How all layer pairs of a tile are scored in one call: pair by pair, unless a metric knows a faster way."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from ..numerics.blocks import COMPARED_AT_ONCE, in_chunks

SLOW = 8
"""Layers a side of a tile whose pairs take a large step each."""


@dataclasses.dataclass(frozen=True)
class TileKernel:
    """Scores of all pairs of two stacks of sketches (leading axis = layer), by `metric.compare`.

    A metric that can score many pairs much faster than one by one returns a kernel of its own. The contract tests hold
    `tile` and `orders` equal to `pair`.
    """

    metric: Any

    on_host: ClassVar[bool] = False
    """Whether stacks are arrays of numpy, and scores are made outside of JAX programs."""
    largest_tile: ClassVar[int | None] = None
    """Most layers a side to score in one call, where a pair takes so long that more would keep a study waiting."""

    @property
    def shared(self) -> Callable[[Any, Any], Any] | None:
        """The step that comes first for two stacks. Metrics of one sketcher with equal `shared` make it once.

        Then `tile(a, b)` is `finish(shared(a, b), a, b)`.
        """
        return None

    def finish(self, made: Any, a: Any, b: Any) -> Float[Array, "x y"]:
        """Scores of all pairs, from what `shared` made of the stacks."""
        raise NotImplementedError

    def pair(self, a: Any, b: Any) -> Float[Array, ""]:
        """Score of two sketches."""
        return self.metric.compare(a, b)

    def tile(self, a: Any, b: Any) -> Float[Array, "x y"]:
        """Scores of all pairs of two stacks."""
        if self.shared is not None:
            return self.finish(self.shared(a, b), a, b)
        return jax.vmap(lambda p: jax.vmap(lambda q: self.pair(p, q))(b))(a)

    def orders(self, a: Any, b: Any, orders: Int[Array, "orders n"]) -> Float[Array, "orders x y"]:
        """Scores of all pairs with the samples of b permuted in each order: the null of a tile.

        Orders of b are more layers of b: a few orders at a time go through `tile`.
        """
        layers = jax.tree.leaves(b)[0].shape[0]

        def some(chunk):
            again = jax.vmap(lambda order: jax.vmap(lambda sketch: sketch.reorder(order))(b))(chunk)
            scores = self.tile(a, jax.tree.map(lambda z: z.reshape(-1, *z.shape[2:]), again))
            return scores.reshape(scores.shape[0], chunk.shape[0], layers).transpose(1, 0, 2)

        return in_chunks(some, orders, max(1, COMPARED_AT_ONCE // layers))


@dataclasses.dataclass(frozen=True)
class PairwiseKernel(TileKernel):
    """One pair after another, in the memory of one: for metrics that take a large step for every pair."""

    largest_tile = SLOW

    def tile(self, a: Any, b: Any) -> Float[Array, "x y"]:
        return lax.map(lambda p: lax.map(lambda q: self.pair(p, q), b), a)


class OnHost:
    """A function of stacks of sketches that runs on the host, where others have a compiled program."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *stacks: Any) -> Any:
        """The result for stacks that may lie on devices."""
        return self.function(*jax.tree.map(np.asarray, stacks))

    def memory_analysis(self) -> None:
        """Nothing is known of the memory it takes."""
        return


def program_of(function: Callable[..., Any], *kernels: TileKernel) -> Any:
    """The function itself if a kernel scores on the host, else a JAX program of it."""
    return OnHost(function) if any(kernel.on_host for kernel in kernels) else jax.jit(function)
