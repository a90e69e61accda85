"""Metrics that numpy computes: a step for each layer and one for its pairs, outside of JAX programs."""

import dataclasses
import hashlib
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, Num

from ..runtime.host import quiet_blas
from ..sketches.base import staged
from ..sketches.given_features import GivenFeatures, GivenSketcher
from ..sketches.reasons import NO_DIGITS, why_no_score
from .base import Metric, Score
from .kernels import SLOW, TileKernel

Groups = tuple[int, ...] | None


@dataclasses.dataclass(frozen=True)
class HostKernel(TileKernel):
    """Scores by two functions of numpy: `prepared` for each layer of a tile, `scored` for a layer and all of a side.

    A tile is filled up with copies of its last layer. Equal layers are scored once.
    """

    on_host = True
    largest_tile = SLOW

    def pair(self, a: GivenFeatures, b: GivenFeatures) -> Any:
        stacks = [jax.tree.map(lambda z: np.asarray(z)[None], side) for side in (a, b)]
        return self.tile(*stacks)[0, 0]

    def tile(self, a: GivenFeatures, b: GivenFeatures) -> Float[np.ndarray, "x y"]:
        with quiet_blas():
            return self._scores(self._prepared(a), self._prepared(b))

    def orders(self, a: GivenFeatures, b: GivenFeatures, orders: Int[Any, "orders n"]) -> Float[np.ndarray, "o x y"]:
        columns = np.asarray(b.columns)
        found = np.empty((len(orders), len(a.columns), len(columns)), np.float32)
        with quiet_blas():
            rows = self._prepared(a)
            for i, order in enumerate(np.asarray(orders)):
                found[i] = self._scores(rows, self._prepared(dataclasses.replace(b, columns=columns[:, order])))
        return found

    def _prepared(self, stack: GivenFeatures) -> tuple[list[Any], list[int]]:
        """Each different layer, prepared, None for one without a score; and the place in this list of each layer."""
        made: list[Any] = []
        seen: dict[Any, int] = {}
        owners = []
        for columns, place in zip(np.asarray(stack.columns), np.asarray(stack.place).tolist(), strict=True):
            key = place, hashlib.blake2b(columns.tobytes(), digest_size=16).digest()
            if key not in seen:
                seen[key] = len(made)
                bad = np.isnan(columns[0, 0])
                layer = columns[:, : stack.widths[place]]
                made.append(None if bad else self.metric.prepared(layer, stack.groups))
            owners.append(seen[key])
        return made, owners

    def _scores(self, rows: tuple[list[Any], list[int]], columns: tuple[list[Any], list[int]]) -> Any:
        table = np.full((len(rows[0]), len(columns[0])), np.nan, np.float32)
        known = [i for i, layer in enumerate(columns[0]) if layer is not None]
        for row, layer in zip(table, rows[0], strict=True):
            if layer is not None and known:
                row[known] = self.metric.scored(layer, [columns[0][i] for i in known])
        return table[np.ix_(rows[1], columns[1])]


@dataclasses.dataclass(frozen=True)
class HostMetric(Metric):
    """A metric that numpy computes in float64, for `align` and for calls outside of `jit`, `vmap` and `grad`."""

    grouped: ClassVar[bool] = False
    """Whether samples of one group must not be torn apart, so that `prepared` gets the groups of a study."""

    def check(self, n: int, groups: Groups) -> None:
        """ValueError if a study of n samples in these groups has no score."""

    def prepared(self, x: Num[np.ndarray, "n d"], groups: Groups) -> Any:
        """A layer in the form that `scored` takes. Its samples have these groups if the metric asks for them."""
        raise NotImplementedError

    def scored(self, a: Any, others: Sequence[Any]) -> Sequence[float]:
        """Scores of one prepared layer with others."""
        raise NotImplementedError

    @property
    def sketcher(self) -> GivenSketcher:
        return GivenSketcher(metric=self, grouped=type(self).grouped)

    @property
    def tile_kernel(self) -> TileKernel:
        return HostKernel(self)

    def compare(self, a: GivenFeatures, b: GivenFeatures) -> Score:
        return jnp.asarray(self.tile_kernel.pair(a, b))

    def __call__(self, x: Any, y: Any) -> Score:  # type: ignore[override]  # there is nothing to mask in numpy
        return call_on_host(self, x, y)


def call_on_host(metric: Any, x: Any, y: Any) -> Score:
    """The score of two layers that have values, in their own precision; NaN with a warning for one that has no score.

    TypeError under `jit`, `vmap` and `grad`.
    """
    layers = metric._checked_pair(x, y)
    if staged(*layers):
        raise TypeError(
            f"{metric.name} is computed by numpy, and features have no values under jit, vmap and grad: call it "
            "outside of them, or give it to align."
        )
    x, y = (np.asarray(z) for z in layers)
    faults = {name: why_constant(z) for name, z in (("x", x), ("y", y))}
    score = np.nan
    if not any(faults.values()):
        with quiet_blas():
            score = float(metric.scored(metric.prepared(x, None), [metric.prepared(y, None)])[0])
    if np.isnan(score):
        said = [f"{name} {fault}" for name, fault in faults.items() if fault] or [f"x or y {NO_DIGITS}"]
        warnings.warn(f"{metric.name} is NaN: {'; '.join(said)}.", RuntimeWarning, stacklevel=3)
    return jnp.asarray(score, jnp.result_type(float))


def why_constant(x: Num[np.ndarray, "n d"]) -> str | None:
    """Why a layer has no score, if a value is not finite or all samples are equal."""
    if np.isfinite(x).all() and (x != x[:1]).any():
        return None
    return why_no_score(x)
