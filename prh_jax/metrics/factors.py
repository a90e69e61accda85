"""Base of metrics that score one pair of layers from factors, which are smaller than sketches.

`sketches.layer_factors` makes the factors.
"""

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
    """Mixin for a metric that can score one pair of layers from their factors, in less time than from sketches."""

    def of_factors(self, x: Any, y: Any) -> tuple[Score, Any]:
        """Return the score of two layers from their factors, and whether it is certain.

        It is uncertain if float32 leaves something in doubt that sketches settle.
        """
        raise NotImplementedError

    def serves(self, x: Any, y: Any) -> bool:
        """Return whether factors of layers of these shapes are smaller than sketches."""
        return True

    def alone(self, x: Any, y: Any) -> Any:
        """Score two layers that have values from their factors; None if the score is uncertain (see `Metric.alone`)."""
        if not self.serves(x, y):
            return None
        with quiet_blas():
            score, sure = _of_factors(x, y, metric=self)
            return score if sure else None

    def traced(self, x: Any, y: Any, sketcher: Sketcher) -> Score:
        """Score two layers inside a JAX program: from factors if the score is certain, or else from sketches.

        Derivatives and batches always use sketches. Factors have no derivatives written out, and under `vmap` a
        `cond` runs both branches, which is slower than sketches alone.
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
    """The score of two layers and whether it is certain, compiled once for each shape and metric."""
    return metric.of_factors(x, y)
