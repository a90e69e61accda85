"""A metric from any JAX function of two layers."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from ..numerics import linalg
from ..sketches.given_features import GivenFeatures, GivenSketcher
from .base import Metric, Score
from .host import HostKernel, call_on_host
from .kernels import PairwiseKernel, TileKernel


@dataclasses.dataclass(frozen=True)
class FunctionMetric(Metric):
    """A metric from a function of two layers: `FunctionMetric("name", function)`.

    `score = function(x, y)`. You can use it like any other metric: call it, or give it to `align`, also with a null. It
    is slower than a metric with a sketch, because it keeps the features of every layer and calls the function for every
    pair of layers, one after another. A study compiles the function once for every two widths of layers.

    Parameters
    ----------
    name
        Name of the scores: letters, digits and underscores.
    function
        From x (n, dx) and y (n, dy), whose row i is the same sample, to a scalar. It is a JAX function, which is called
        with tracers, unless `host=True`. `align` calls it with preprocessed features in float32.
    source
        Where the metric is defined, for the record.
    larger_is_closer
        Whether a larger score means that two layers are more alike.
    bounds
        Lowest and highest attainable score. The calibrated score is 1 at the highest.
    symmetric
        Whether `function(x, y)` equals `function(y, x)`. A study of models with themselves then takes half the time.
    self_score
        Score of a layer with itself, if it is the same for all layers.
    host
        True calls the function outside of JAX, with arrays of numpy: it may use any library, such as scipy or torch.
        The metric has no gradient then, and does not work under `jit`.
    prepare
        With `host=True`, a function of one layer (n, d), called before `function`, which then gets two of its results.
        It is called for each layer of a tile, and not for each pair.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import prh_jax
    >>> def mean_row_cosine(x, y):
    ...     a, b = x.mean(axis=0), y.mean(axis=0)
    ...     return jnp.vdot(a, b) / (jnp.linalg.norm(a) * jnp.linalg.norm(b))
    >>> metric = prh_jax.FunctionMetric("mean_row_cosine", mean_row_cosine, symmetric=True, bounds=(-1.0, 1.0))
    >>> float(metric(jnp.eye(5), 2 * jnp.eye(5)))
    1.0
    """

    name: str  # type: ignore[misc]  # of other metrics the class has it
    function: Callable[[Any, Any], Any]
    _: dataclasses.KW_ONLY
    larger_is_closer: bool = True  # type: ignore[misc]
    symmetric: bool = False  # type: ignore[misc]
    bounds: tuple[float, float] = (float("-inf"), float("inf"))  # type: ignore[misc]
    self_score: float | None = None  # type: ignore[misc]
    source: str = ""  # type: ignore[misc]
    host: bool = False
    prepare: Callable[[Any], Any] | None = None

    def __post_init__(self):
        if not (isinstance(self.name, str) and self.name.isidentifier()):
            raise ValueError(f"A metric's name is made of letters, digits and underscores, got {self.name!r}.")
        if not callable(self.function):
            raise ValueError(f"{self.name} needs a function of two layers, got {self.function!r}.")
        if self.prepare is not None and not (self.host and callable(self.prepare)):
            raise ValueError(f"{self.name} takes prepare=, a function of one layer, with host=True only.")

    @property
    def settings(self) -> dict[str, Any]:
        """None: a function has no settings that a result could record."""
        return {}

    @property
    def sketcher(self) -> GivenSketcher:
        return GivenSketcher()

    @property
    def tile_kernel(self) -> TileKernel:
        return HostKernel(self) if self.host else PairwiseKernel(self)

    def prepared(self, x: Any, groups: Any) -> Any:
        """The layer as the function takes it."""
        return x if self.prepare is None else self.prepare(x)

    def scored(self, a: Any, others: Sequence[Any]) -> Sequence[float]:
        """The function's scores, on the host."""
        return [float(self._checked_score(self.function(a, b), np)) for b in others]

    def compare(self, a: GivenFeatures, b: GivenFeatures) -> Score:
        """The function of the layers at their own widths: one branch for every two widths."""
        if self.host:
            return jnp.asarray(self.tile_kernel.pair(a, b))

        def branch(dx: int, dy: int) -> Callable[[], Any]:
            return lambda: self._score(a.columns[:, :dx], b.columns[:, :dy])

        branches = [branch(dx, dy) for dx in a.widths for dy in b.widths]
        return lax.switch(a.place * len(b.widths) + b.place, branches) if len(branches) > 1 else branches[0]()

    def _score(self, x: Any, y: Any) -> Score:
        return self._checked_score(self.function(x, y), jnp).astype(x.dtype)

    def _checked_score(self, score: Any, xp: Any) -> Any:
        score = xp.asarray(score)
        if score.shape != ():
            raise ValueError(f"{self.name} must return one number for two layers, got an array of shape {score.shape}.")
        return score

    def __call__(self, x: Any, y: Any) -> Score:
        if self.host:
            return call_on_host(self, x, y)
        x, y = (linalg.at_least_float32(jnp.asarray(z)) for z in self._checked_pair(x, y))
        return self._score(x, y)

    def to_derive(self, *layers: Any) -> tuple[Any, ...]:
        """The layers: whether there is a derivative is the function's own matter."""
        return layers

    def __str__(self) -> str:
        return self.name
