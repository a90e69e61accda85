"""All layers of one network with all of another: each is sketched once, and all pairs are scored in one tile."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ..numerics.real import as_real
from ..runtime.host import hold_blas, quick_jit, quiet_blas
from ..sketches.base import SketchContext, Sketcher, staged
from .base import Metric
from .registry import make_metrics


def layer_matrix(layers_x: Any, layers_y: Any, metric: Any) -> Float[Array, "x y"]:
    """Score all pairs of two networks' layers: entry (i, j) is `metric(layers_x[i], layers_y[j])`.

    This works under `jit`, `vmap` and, if the metric has a derivative, `grad`. It does not warn if a score is NaN.

    Parameters
    ----------
    layers_x, layers_y
        Features of the same n samples: lists of arrays (n, d), whose widths may differ, or arrays (layers, n, d).
    metric
        A metric, such as `Cka()`, or the name of one, with settings if need be: "mutual_knn:k=5".

    Returns
    -------
    Array
        Scores (layers of x, layers of y).

    Raises
    ------
    ValueError
        If a side has no layers, a layer is no (n, d) array of the same n >= 4 samples, or the metric is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> x = np.random.default_rng(0).normal(size=(20, 4))
    >>> print(prh_jax.layer_matrix([x, x**2], [2 * x], "mutual_knn:k=3")[0])
    [1.]
    """
    (metric,) = make_metrics(metric).values()
    sides = [_checked(metric, name, side) for name, side in (("layers_x", layers_x), ("layers_y", layers_y))]
    layers = [*sides[0], *sides[1]]
    counts = {z.shape[0] for z in layers}
    if len(counts) > 1:
        raise ValueError(f"layer_matrix compares layers of the same samples, got layers of {sorted(counts)} samples.")
    widths = tuple(sorted({z.shape[1] for z in layers}))
    traced = staged(layers)
    if traced and metric.tile_kernel.on_host:
        raise TypeError(f"{metric.name} is computed by numpy: call layer_matrix outside of jit, vmap and grad.")
    context = SketchContext(counts.pop(), widths, derived=traced and metric.differentiable)
    sketcher = metric.sketcher.specialise(context)
    if traced:
        if metric.decomposes:
            hold_blas()
        a, b = (_sketches(sketcher, metric.to_derive(*side)) for side in sides)
        return metric.tile_kernel.tile(a, b)
    with quiet_blas():
        a, b = (jax.tree.map(lambda *z: jnp.stack(z), *[sketcher(z) for z in side]) for side in sides)
        if metric.tile_kernel.on_host:
            return jnp.asarray(metric.tile_kernel.tile(a, b))
        return jax.block_until_ready(_tile(a, b, metric=metric))


def _checked(metric: Metric, name: str, layers: Any) -> list[Any]:
    if not isinstance(layers, Sequence):
        layers = as_real(metric.name, layers)
    found = [as_real(metric.name, z) for z in layers]
    if not found:
        raise ValueError(f"{name} has no layers: give a list of arrays (n, d), or one array (layers, n, d).")
    for i, z in enumerate(found):
        if z.ndim != 2 or z.shape[0] < 4 or z.shape[1] == 0:
            raise ValueError(
                f"Layer {i} of {name} is no array (n, d) of at least 4 samples and 1 feature: its shape is {z.shape}."
            )
    return found


def _sketches(sketcher: Sketcher, layers: Sequence[Any]) -> Any:
    """Stacked sketches, those of layers of one width by one program that takes them one after another."""
    groups: dict[Any, list[int]] = {}
    for i, z in enumerate(layers):
        groups.setdefault((z.shape, z.dtype), []).append(i)
    made = [lax.map(sketcher, jnp.stack([layers[i] for i in places])) for places in groups.values()]
    places = [i for group in groups.values() for i in group]
    order = jnp.asarray([places.index(i) for i in range(len(places))], jnp.int32)
    return jax.tree.map(lambda *z: jnp.concatenate(z)[order], *made)


@partial(quick_jit, static_argnames=("metric",))
def _tile(a: Any, b: Any, *, metric: Metric) -> Array:
    """The scores of all pairs of two stacks, compiled once for each shape and metric."""
    return metric.tile_kernel.tile(a, b)
