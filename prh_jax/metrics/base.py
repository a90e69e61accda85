"""The vocabulary of the library: a metric is a sketch of each layer and a comparison of two sketches.

    score(x, y) = compare(sketch(x), sketch(y))

A sketch keeps all that a metric needs of one layer. Its shape depends on the number of samples and the settings, never
on the width of the layer, so that layers of all models stack on one axis and are compared in equal tiles. Metrics that
ask which feature is which keep the features themselves, filled up to the widest layer of a study.
"""

import dataclasses
import math
from collections.abc import Iterator
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from ..numerics.backends import choices
from ..numerics.derivatives import without_derivative
from ..numerics.real import real_values
from ..numerics.whole import is_whole
from ..runtime.host import hold_blas, quick_jit, quiet_blas
from ..sketches.base import SketchContext, Sketcher, staged
from ..sketches.masks import fill_in
from ..sketches.reasons import warn_of_nan
from .kernels import PairwiseKernel, TileKernel

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
    It works under `jit` and `vmap`, and under `grad` if it is `differentiable` (else TypeError). Features are raised to
    at least float32. Degenerate input (all samples equal in a layer, a NaN, an infinity) gives NaN, and, outside of
    `jit` and `vmap`, a RuntimeWarning with the reason. Arrays are those of any library that has real numbers: numpy,
    JAX, torch, pandas, polars, pyarrow, xarray, or nested lists. All else is a TypeError, such as complex, masked or
    missing values.

    Some metrics take `where`, (n,) booleans: `Cka()(x, y, where=mask)` is the score of the rows of which it is true,
    with arrays of the same shapes under `jit`, `vmap` and `grad`. The other rows may hold anything, padding or NaN.
    If fewer than 4 rows are left, or no k neighbours, the score is NaN under `jit`, else a ValueError.
    """

    name: ClassVar[str]
    source: ClassVar[str] = ""
    """Where the metric is defined: paper, equation, DOI or arXiv number."""
    larger_is_closer: ClassVar[bool] = True
    paired: ClassVar[bool] = True
    """Whether it matters which sample of one layer is which of the other; where not, the null says nothing."""

    # What follows depends on the settings in some metrics, which declare a property of that name.
    bounds: ClassVar[Any] = (0.0, 1.0)
    """Lowest and highest attainable score."""
    symmetric: ClassVar[Any] = True
    """Whether the two layers may be exchanged."""
    differentiable: ClassVar[Any] = False
    """Whether the score has a derivative by the features: it is no count, and ranks nothing. `grad` raises else."""
    stand_in: ClassVar[Any] = "prh_jax.unbiased_cka"
    """Of a metric without a derivative: what measures much the same and has one."""
    decomposes: ClassVar[Any] = False
    """Whether a traced score calls LAPACK."""
    permutable: ClassVar[Any] = True
    """Whether sketches can be reordered, as a null by permutation needs it."""
    self_score: ClassVar[Any] = 1.0
    """Score of a layer with itself; None where it depends on the layer."""
    invariances: ClassVar[Any] = frozenset()
    """Names in INVARIANCES of the transformations of either layer that leave the score unchanged."""

    def __post_init__(self):
        """Settings of the type of their defaults: whole numbers as int, so that equal settings are one."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            object.__setattr__(self, field.name, _checked(self.name, field.name, value, field.default))

    @property
    def sketcher(self) -> Sketcher:
        """The sketcher that makes this metric's sketch of one layer."""
        raise NotImplementedError

    def compare(self, a: Any, b: Any) -> Score:
        """Score two sketches."""
        raise NotImplementedError

    @property
    def tile_kernel(self) -> TileKernel:
        """The kernel that scores all layer pairs of a tile."""
        return TileKernel(self)

    def inner_form(self, sketch: Any) -> Any:
        """Return the matrix A of a layer if the score is an inner product, `sum_ij A_ij B_ij`; `reorder` permutes A.

        It has a form of `null.forms` or `null.low_rank`, which gives the null's moments in closed form. None for a
        metric of another kind.
        """
        return None

    def chance(self, n: int) -> float | None:
        """Return the expected score when samples are paired at random, if it is the same for all data; else None."""
        return None

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as plain values."""
        return dataclasses.asdict(self)

    def __call__(self, x: Any, y: Any, *, where: Any = None) -> Score:
        x, y = self._checked_pair(x, y)
        if where is not None:
            where = checked_mask(self, where, x.shape[0])
            if staged(x, y, where):
                return self._masked(jnp.asarray(x), jnp.asarray(y), jnp.asarray(where))
            return self(x[where], y[where])
        if not isinstance(x, Tracer) and not isinstance(y, Tracer) and on_host(x, y):
            score = self.by_numpy(np.asarray(x), np.asarray(y))
            if score is not None:
                return _as_array(np.float32(score))
        traced, widths = staged(x, y), tuple(sorted({x.shape[1], y.shape[1]}))
        sketcher = self.sketcher.specialise(SketchContext(x.shape[0], widths, derived=traced and self.differentiable))
        if traced:
            if self.decomposes:
                hold_blas()
            x, y = self.to_derive(jnp.asarray(x), jnp.asarray(y))
            return self.traced(x, y, sketcher)
        score = self.alone(x, y)
        if score is not None and not np.isnan(score):
            return _as_array(score)
        with quiet_blas():
            x, y = jnp.asarray(x), jnp.asarray(y)
            a, b = sketcher.of_layers(x, y)
            score = jax.block_until_ready(compared(a, b, metric=self))
        warn_of_nan(self.name, score, ("x", x, a), ("y", y, b))
        return score

    def traced(self, x: Any, y: Any, sketcher: Sketcher) -> Score:
        """Score two layers inside a JAX program."""
        return self.compare(sketcher(x), sketcher(y))

    def masked(self, x: Any, y: Any, where: Any) -> Score:
        """Score the samples that count, of layers (n, dx) and (n, dy) whose other rows are copies of one that counts.

        The score is any number if fewer than 4 count. Metrics that take `where` override this.
        """
        raise NotImplementedError

    def _masked(self, x: Any, y: Any, where: Any) -> Score:
        x, y = (fill_in(z, where) for z in self.to_derive(x, y))
        return jnp.where(jnp.sum(where) >= 4, self.masked(x, y, where), jnp.nan)

    def to_derive(self, *layers: Any) -> tuple[Any, ...]:
        """Return the layers, and forbid derivatives of them if the metric has none."""
        if self.differentiable:
            return layers
        reason = (
            f"{self} has no derivative: counts, ranks and choices do not change with features, or jump. Differentiate "
            f"{self.stand_in} in its place; to look at the score alone, pass jax.lax.stop_gradient(features)."
        )
        return tuple(without_derivative(z, reason) for z in layers)

    def by_numpy(self, x: Float[np.ndarray, "n dx"], y: Float[np.ndarray, "n dy"]) -> Any:
        """Score two layers on the host, without JAX: nothing is compiled, and `jit` takes the score for a constant.

        None if there is no such way, or if a layer needs the care of a sketch.
        """
        return None

    def alone(self, x: Any, y: Any) -> Any:
        """Score two layers that have values, in a shorter way than by two sketches.

        Layers (n, d) are arrays of numpy or JAX. None if there is no such way, or if float32 leaves in doubt what a
        sketch settles.
        """
        return None

    def _checked_pair(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Both layers as arrays of numpy or JAX, of types that JAX has.

        TypeError unless of real numbers, ValueError unless row i can be the same sample.
        """
        x, y = real_values(self.name, x), real_values(self.name, y)
        if x.ndim != 2 or y.ndim != 2 or x.shape[0] != y.shape[0]:
            raise ValueError(
                f"{self.name} compares features of shapes (n, dx) and (n, dy) whose row i is the same sample; "
                f"got {x.shape} and {y.shape}."
            )
        if x.shape[0] < 4 or 0 in (x.shape[1], y.shape[1]):
            raise ValueError(f"{self.name} needs at least 4 samples and 1 feature, got shapes {x.shape} and {y.shape}.")
        return x, y

    def __str__(self) -> str:
        defaults = {f.name: f.default for f in dataclasses.fields(self)}
        changed = [f"{key}={value}" for key, value in self.settings.items() if value != defaults[key]]
        return self.name + (":" + ",".join(changed) if changed else "")


@jax.jit
def _as_array(score: Any) -> Any:
    """Faster than `jnp.asarray`, which takes longer than a short metric."""
    return score


@partial(quick_jit, static_argnames=("metric",))
def compared(a: Any, b: Any, *, metric: Metric) -> Score:
    """The score of two sketches; compiled once for each shape and metric."""
    return metric.compare(a, b)


def _checked(metric: str, key: str, value: Any, default: Any) -> Any:
    if isinstance(default, bool):
        kind, right = "True or False", isinstance(value, bool | np.bool_)
    elif isinstance(default, int):
        kind, right = "a whole number", is_whole(value)
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
    sign = sign_of(metric)
    bound = max(sign * bound for bound in metric.bounds)
    if math.isfinite(bound):
        return bound
    return None if metric.self_score is None else sign * metric.self_score


def sign_of(metric: Metric) -> int:
    """+1 where larger scores are closer: scores times it have their best at the top."""
    return 1 if metric.larger_is_closer else -1


def checked_mask(metric: Metric, where: Any, n: int) -> Any:
    """The samples that count; ValueError unless booleans, one a sample, of a metric that takes them."""
    if type(metric).masked is Metric.masked:
        names = sorted(found.name for found in _subclasses(Metric) if found.masked is not Metric.masked)
        raise ValueError(
            f"{metric.name} takes no where=; {', '.join(names)} do. Outside of jit, pass x[mask], y[mask]."
        )
    where = where if isinstance(where, jax.Array) else np.asarray(where)
    if where.shape != (n,) or where.dtype != bool:
        raise ValueError(f"where= is a boolean for each of the {n} samples, got {where.dtype} {where.shape}.")
    return where


def _subclasses(kind: type) -> Iterator[Any]:
    for found in kind.__subclasses__():
        yield from ([found] if hasattr(found, "name") else [])
        yield from _subclasses(found)


def on_host(*layers: Any) -> bool:
    """Whether the host's own libraries serve layers best: they lie in its memory, in float32."""
    return choices().host_libraries and all(x.dtype == np.float32 for x in layers)


@dataclasses.dataclass(frozen=True)
class PairwiseMetric(Metric):
    """A metric that takes a large step for every pair, a decomposition say: one after another, in the memory of one."""

    @property
    def tile_kernel(self) -> TileKernel:
        return PairwiseKernel(self)
