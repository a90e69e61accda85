"""Metrics that score one pair of layers from factors smaller than their sketches (see `sketches.layer_factors`)."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap

from ..runtime.host import quick_jit, quiet_blas
from ..sketches.base import Sketcher
from .base import Score


class ScoredByFactors:
    """Mixin of a metric with a shorter way to the score of one pair."""

    def of_factors(self, x: Any, y: Any) -> tuple[Score, Any]:
        """Return the score, and whether nothing is in doubt."""
        raise NotImplementedError

    def serves(self, x: Any, y: Any) -> bool:
        """Return whether the factors of layers of these shapes are smaller than their sketches."""
        return True

    def alone(self, x: Any, y: Any) -> Any:
        """As `Metric.alone`."""
        if not self.serves(x, y):
            return None
        with quiet_blas():
            score, sure = _of_factors(x, y, metric=self)
            return score if sure else None

    def traced(self, x: Any, y: Any, sketcher: Sketcher) -> Score:
        """As `Metric.traced`: by factors where the score alone is asked for, and nothing is in doubt.

        Derivatives are those of the sketches, which have them written out. `vmap` makes both branches of a `cond`, so
        that a batch goes through sketches alone.
        """

        def by_sketches(x: Any, y: Any) -> Score:
            return self.compare(sketcher(x), sketcher(y))  # type: ignore[attr-defined]

        if not self.serves(x, y):
            return by_sketches(x, y)

        @custom_vmap
        def quickest(x: Any, y: Any) -> Score:
            score, sure = self.of_factors(x, y)
            return lax.cond(sure & ~jnp.isnan(score), lambda *_: score, by_sketches, x, y)

        @quickest.def_vmap
        def _(size: int, batched: Any, x: Any, y: Any) -> Any:
            axes = [0 if over else None for over in batched]
            return jax.vmap(by_sketches, in_axes=axes)(x, y), True

        pair = jax.custom_jvp(quickest)
        pair.defjvp(lambda primals, tangents: jax.jvp(by_sketches, primals, tangents))
        return pair(x, y)


@partial(quick_jit, static_argnames=("metric",))
def _of_factors(x: Any, y: Any, *, metric: Any) -> tuple[Score, Any]:
    """The score of two layers and whether it is sure, compiled once for each shape and metric."""
    return metric.of_factors(x, y)
