"""The vocabulary of the library: a metric is a sketch of each layer and a comparison of two sketches.

    score(x, y) = compare(sketch(x), sketch(y))

A sketch keeps all that a metric needs of one layer. Its shape depends on the number of samples and the settings, never
on the width of the layer, so that layers of all models stack on one axis and are compared in equal tiles. Metrics that
ask which feature is which keep the features themselves, filled up to the widest layer of a study.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from ..numerics.blocks import COMPARED_AT_ONCE, in_chunks
from ..sketches.base import Sketcher

Score = Float[Array, ""]

INVARIANCES = {
    "orthogonal": "rotations and reflections of the feature space",
    "isotropic_scaling": "one positive factor for all features",
    "row_scaling": "a positive factor for each sample",
    "column_scaling": "a positive factor for each feature",
    "translation": "a constant vector added to every sample",
    "invertible_linear": "any invertible linear map of the feature space",
}
"""Transformations of one layer that may leave a score unchanged, in words."""


@dataclasses.dataclass(frozen=True)
class Metric:
    """A similarity measure of two layers; its dataclass fields are its settings.

    A metric is callable: `Cka()(x, y)` scores features `x` (n, dx) and `y` (n, dy), of which row i is the same sample.
    It works under `jit` and `vmap`, and under `grad` where `differentiable`. Features are raised to at least float32.
    Degenerate input (all samples equal in a layer, a NaN, an infinity) gives NaN.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    larger_is_closer: ClassVar[bool] = True
    paired: ClassVar[bool] = True
    """Whether it matters which sample of one layer is which of the other; where not, the null says nothing."""

    def __post_init__(self):
        """Settings of the type of their defaults: whole numbers as int, so that equal settings are one."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            object.__setattr__(self, field.name, _checked(self.name, field.name, value, field.default))

    @property
    def tile(self) -> int | None:
        """Most layers a side to score in one call, where a pair takes so long that more would keep a study waiting."""
        return None

    @property
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest attainable score."""
        return (0.0, 1.0)

    @property
    def symmetric(self) -> bool:
        """Whether the two layers may be exchanged."""
        return True

    @property
    def differentiable(self) -> bool:
        """Whether the score has a derivative by the features: it is no count, and ranks nothing."""
        return False

    @property
    def permutable(self) -> bool:
        """Whether sketches can be reordered, as a null by permutation needs it."""
        return True

    @property
    def self_score(self) -> float | None:
        """Score of a layer with itself; None where it depends on the layer."""
        return 1.0

    @property
    def invariances(self) -> frozenset[str]:
        """Names in INVARIANCES of the transformations of either layer that leave the score unchanged."""
        return frozenset()

    @property
    def sketch(self) -> Sketcher:
        """What makes this metric's sketch of one layer."""
        raise NotImplementedError

    def compare(self, a: Any, b: Any) -> Score:
        """Score of two sketches."""
        raise NotImplementedError

    def compare_tile(self, a: Any, b: Any) -> Float[Array, "x y"]:
        """Scores of all pairs of two stacks of sketches (leading axis = layer)."""
        if self.contraction is not None:
            return self.finish_tile(self.contraction(a, b), a, b)
        return jax.vmap(lambda p: jax.vmap(lambda q: self.compare(p, q))(b))(a)

    @property
    def contraction(self) -> Callable[[Any, Any], Any] | None:
        """What `compare_tile` first makes of two stacks, hashable; metrics of one sketch with equal ones share it.

        Then `compare_tile(a, b)` is `finish_tile(contraction(a, b), a, b)`.
        """
        return None

    def finish_tile(self, contracted: Any, a: Any, b: Any) -> Float[Array, "x y"]:
        """Scores of all pairs of two stacks, from what `contraction` made of them."""
        raise NotImplementedError

    def compare_orders(self, a: Any, b: Any, orders: Int[Array, "orders n"]) -> Float[Array, "orders x y"]:
        """Scores of all pairs of two stacks with b re-paired by each order: the null of a tile.

        Orders of b are more layers of b: a few orders at a time go through `compare_tile`.
        """
        layers = jax.tree.leaves(b)[0].shape[0]

        def some(chunk):
            again = jax.vmap(lambda order: jax.vmap(lambda sketch: sketch.reorder(order))(b))(chunk)
            scores = self.compare_tile(a, jax.tree.map(lambda z: z.reshape(-1, *z.shape[2:]), again))
            return scores.reshape(scores.shape[0], chunk.shape[0], layers).transpose(1, 0, 2)

        return in_chunks(some, orders, max(1, COMPARED_AT_ONCE // layers))

    def inner_form(self, sketch: Any) -> Any:
        """The matrix A of a layer, where scores are inner products: `score = sum_ij A_ij B_ij`; `reorder` permutes A.

        In a form of `null_forms` or `null_factors`: with it the null has moments in closed form. None for a metric of
        another kind.
        """
        return None

    def chance(self, n: int) -> float | None:
        """Expected score when samples are paired at random, where it is the same for all data; else None."""
        return None

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as plain values."""
        return dataclasses.asdict(self)

    def __call__(self, x: Any, y: Any) -> Score:
        x, y = jnp.asarray(x), jnp.asarray(y)
        if x.ndim != 2 or y.ndim != 2 or x.shape[0] != y.shape[0]:
            raise ValueError(
                f"{self.name} compares features of shapes (n, dx) and (n, dy) whose row i is the same sample; "
                f"got {x.shape} and {y.shape}."
            )
        if x.shape[0] < 4 or 0 in (x.shape[1], y.shape[1]):
            raise ValueError(f"{self.name} needs at least 4 samples and 1 feature, got shapes {x.shape} and {y.shape}.")
        sketch = self.sketch.for_samples(x.shape[0], max(x.shape[1], y.shape[1]))
        return self.compare(sketch(x), sketch(y))

    def __str__(self) -> str:
        defaults = {f.name: f.default for f in dataclasses.fields(self)}
        changed = [f"{key}={value}" for key, value in self.settings.items() if value != defaults[key]]
        return self.name + (":" + ",".join(changed) if changed else "")


def _checked(metric: str, key: str, value: Any, default: Any) -> Any:
    if isinstance(default, bool):
        kind, right = "True or False", isinstance(value, bool | np.bool_)
    elif isinstance(default, int):
        kind, right = "a whole number", isinstance(value, int | np.integer) and not isinstance(value, bool)
    elif isinstance(default, float):
        kind = "a finite number"
        right = isinstance(value, int | float | np.number) and not isinstance(value, bool) and np.isfinite(value)
    else:
        return value
    if not right:
        raise ValueError(f"{metric} needs {key} to be {kind} such as {default!r}, got {value!r}.")
    return type(default)(value)


def check_positive(metric: str, **settings: float) -> None:
    """ValueError naming the first setting that is not above zero."""
    for key, value in settings.items():
        if not value > 0:
            raise ValueError(f"{metric} needs {key} > 0, got {value!r}.")


def highest_score(metric: Metric) -> float | None:
    """The score that calibrates to 1: the highest attainable, else that of a layer with itself, else none."""
    sign = _sign(metric)
    bound = max(sign * bound for bound in metric.bounds)
    if math.isfinite(bound):
        return bound
    return None if metric.self_score is None else sign * metric.self_score


def _sign(metric: Metric) -> int:
    """+1 where larger scores are closer: scores times it have their best at the top."""
    return 1 if metric.larger_is_closer else -1


@dataclasses.dataclass(frozen=True)
class PairMetric(Metric):
    """A metric that takes a large step for every pair, a decomposition say: one after another, in the memory of one."""

    @property
    def tile(self) -> int | None:
        return SLOW

    def compare_tile(self, a: Any, b: Any) -> Float[Array, "x y"]:
        return pair_by_pair(self, a, b)


SLOW = 8
"""Layers a side of a tile whose pairs take a large step each."""


def pair_by_pair(metric: Metric, a: Any, b: Any) -> Float[Array, "x y"]:
    """Scores of all pairs of two stacks, one after another."""
    return lax.map(lambda p: lax.map(lambda q: metric.compare(p, q), b), a)
