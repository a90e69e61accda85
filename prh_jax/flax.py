"""Alignment among the metrics of a Flax training loop: `nnx.Metric`s with reset, update and compute.

They are used like losses and accuracies in an `nnx.MultiMetric`, are carried through `nnx.jit`, and take a `mask` of
the samples that count. Needs the extra `flax`.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from .metrics.base import Metric
from .metrics.registry import make_metrics
from .numerics.real import as_real
from .training import streaming

try:
    from flax import nnx
except ImportError as error:
    raise ImportError("prh_jax.flax needs flax: pip install 'prh-jax[flax]'.") from error

__all__ = ["FeatureProbe", "StreamingCka"]


def _given(names: tuple[str, str], updates: dict[str, Any]) -> tuple[Any, Any]:
    """Arguments of `update` for the two layers; TypeError that names a missing one."""
    missing = [name for name in names if name not in updates]
    if missing:
        raise TypeError(f"update needs features as {' and '.join(f'{name}=' for name in missing)}.")
    return updates[names[0]], updates[names[1]]


class StreamingCka(nnx.Metric):
    """Linear CKA of all samples seen since the last reset, exactly: `prh_jax.StreamingCka` as an `nnx.Metric`.

    Parameters
    ----------
    dx, dy
        Widths of the two layers.
    unbiased
        unbiased_cka (default), else cka.
    x, y
        Names by which `update` is given the layers.

    Examples
    --------
    >>> import jax, prh_jax.flax
    >>> x, y = jax.random.normal(jax.random.key(0), (2, 32, 8))
    >>> metric = prh_jax.flax.StreamingCka(8, 8)
    >>> metric.update(x=x[:16], y=y[:16])
    >>> metric.update(x=x[16:], y=y[16:])
    >>> bool(abs(metric.compute() - prh_jax.unbiased_cka(x, y)) < 1e-5)
    True
    """

    def __init__(self, dx: int, dy: int, *, unbiased: bool = True, x: str = "x", y: str = "y"):
        self.stream = streaming.StreamingCka(unbiased)
        self.names = (x, y)
        self.widths = (dx, dy)
        for name, zeros in self.stream.empty(dx, dy)._asdict().items():
            setattr(self, f"sum_{name}", nnx.metrics.MetricState(zeros))

    def _state(self) -> streaming.Moments:
        return streaming.Moments(*(getattr(self, f"sum_{name}")[...] for name in streaming.Moments._fields))

    def _keep(self, state: streaming.Moments) -> None:
        for name, value in state._asdict().items():
            getattr(self, f"sum_{name}")[...] = value

    def reset(self) -> None:
        """Forget all samples."""
        self._keep(self.stream.empty(*self.widths))

    def update(self, *, mask: Any = None, **updates: Any) -> None:
        """Add a batch, (n, dx) and (n, dy) by their names; `mask` (n,) is True for the samples that count."""
        x, y = _given(self.names, updates)
        self._keep(self.stream.update(self._state(), x, y, where=None if mask is None else jnp.asarray(mask, bool)))

    def compute(self) -> jax.Array:
        """CKA of all samples seen."""
        return self.stream.compute(self._state())


class FeatureProbe(nnx.Metric):
    """Any metric of the first `capacity` samples seen since the last reset, whose features are kept.

    For metrics that no running sum can hold, such as neighbours among all samples. Samples beyond the capacity are left
    out. Outside of `nnx.jit`, `compute` takes every metric; inside, those that take `where`, and with the probe full
    all others.

    Parameters
    ----------
    metric
        A metric, such as `prh_jax.MutualKnn(k=10)`, or the name of one.
    dx, dy
        Widths of the two layers.
    capacity
        Most samples to keep: (dx + dy) * capacity numbers.
    x, y
        Names by which `update` is given the layers.
    """

    def __init__(self, metric: Metric | str, dx: int, dy: int, *, capacity: int = 1024, x: str = "x", y: str = "y"):
        (self.metric,) = make_metrics(metric).values()
        self.names = (x, y)
        self.kept_x = nnx.metrics.MetricState(jnp.zeros((capacity, dx), jnp.float32))
        self.kept_y = nnx.metrics.MetricState(jnp.zeros((capacity, dy), jnp.float32))
        self.count = nnx.metrics.MetricState(jnp.zeros((), jnp.int32))

    def reset(self) -> None:
        """Forget all samples."""
        for state in (self.kept_x, self.kept_y, self.count):
            state[...] = jnp.zeros_like(state[...])

    def update(self, *, mask: Any = None, **updates: Any) -> None:
        """Add a batch, (n, dx) and (n, dy) by their names; `mask` (n,) is True for the samples that count."""
        x, y = (as_real("FeatureProbe", z) for z in _given(self.names, updates))
        counts = jnp.ones(x.shape[0], bool) if mask is None else jnp.asarray(mask, bool)
        capacity = self.kept_x[...].shape[0]
        place = jnp.where(counts, self.count[...] + jnp.cumsum(counts, dtype=jnp.int32) - 1, capacity)
        for state, z in ((self.kept_x, x), (self.kept_y, y)):
            state[...] = state[...].at[place].set(z.astype(jnp.float32), mode="drop")
        self.count[...] = jnp.minimum(self.count[...] + jnp.sum(counts, dtype=jnp.int32), capacity)

    def compute(self) -> jax.Array:
        """The score of the samples kept."""
        x, y, count = self.kept_x[...], self.kept_y[...], self.count[...]
        if not isinstance(count, Tracer):
            return self.metric(x[: int(count)], y[: int(count)])
        if type(self.metric).masked is not Metric.masked:
            return self.metric(x, y, where=jnp.arange(x.shape[0]) < count)
        return jnp.where(count == x.shape[0], self.metric(x, y), jnp.nan)
