"""The arithmetic of all layer pairs: a sketch of each layer once, then the layer-by-layer matrix in equal tiles."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec, SingleDeviceSharding

from ..metrics.base import Metric
from ..runtime.host import compile_quickly
from ..sketches.base import Sketcher
from .preprocess import Preprocess
from .stacks import stacked_shapes


@partial(jax.jit, static_argnames=("makers", "preprocess"))
def make_products(
    x: Any, threshold: Any, *, makers: tuple[Callable[[Any], Any], ...], preprocess: Preprocess
) -> tuple[Any, ...]:
    """What sketches are made of, after preprocessing, by each maker; compiled once for each width."""
    x = preprocess.apply(x, threshold)
    return tuple(maker(x) for maker in makers)


@lru_cache(maxsize=256)
def products_program(
    shape: tuple[int, int], dtype: Any, makers: tuple[Callable[[Any], Any], ...], preprocess: Preprocess, device: Any
) -> Any:
    """Compiled `make_products` of layers of a shape, on a device."""
    place = SingleDeviceSharding(device)
    layer, threshold = (jax.ShapeDtypeStruct(*spec, sharding=place) for spec in ((shape, dtype), ((), np.float32)))
    lowered = make_products.lower(layer, threshold, makers=makers, preprocess=preprocess)
    return compile_quickly(lowered, device.platform)


@partial(jax.jit, static_argnames=("sketcher",))
def reduce_products(products: Any, *, sketcher: Sketcher) -> Any:
    """The sketch, from products of any width; compiled once."""
    return sketcher.reduce(products)


def sketch_layer(x: Any, threshold: Any, *, sketcher: Sketcher, preprocess: Preprocess) -> Any:
    """The sketch of one layer after preprocessing."""
    sketcher = sketcher_after(preprocess, sketcher).for_samples(x.shape[0])
    (products,) = make_products(x, threshold, makers=(sketcher.products,), preprocess=preprocess)
    return reduce_products(products, sketcher=sketcher)


def sketcher_after(preprocess: Preprocess, sketcher: Sketcher) -> Sketcher:
    """The sketcher that does not repeat what preprocessing has done: more of them are equal then, and shared."""
    return sketcher.on_unit_rows() if preprocess.normalize else sketcher


def study_sketcher(
    metric: Metric,
    preprocess: Preprocess,
    n: int,
    excluded: tuple[int, ...] | None = None,
    *,
    width: int | None = None,
) -> Sketcher:
    """A metric's sketcher in a study of n samples and layers of at most `width`.

    `excluded` are groups that hold no neighbours of their own.
    """
    sketcher = sketcher_after(preprocess, metric.sketch).for_samples(n, width)
    return sketcher if excluded is None else sketcher.excluding(excluded)


def compare_tiles(metrics: Sequence[Metric], a: Any, b: Any) -> tuple[jax.Array, ...]:
    """The scores of all pairs of two stacks by each metric; what equal contractions make is made once."""
    made = {c: c(a, b) for c in dict.fromkeys(metric.contraction for metric in metrics) if c is not None}
    return tuple(
        m.compare_tile(a, b) if m.contraction is None else m.finish_tile(made[m.contraction], a, b) for m in metrics
    )


@lru_cache(maxsize=256)
def tile_scorer(metrics: tuple[Metric, ...], shapes: Any, tile: int, mesh: Mesh) -> Any:
    """Compiled `(a, b) -> scores` by each metric, for stacks of `tile` sketches of b and, on each device, `tile` of a.

    `shapes` is a hashable form of one sketch's shapes (see `sketch_shapes`). Each device scores its own tile of a
    with the same program, so that scores do not depend on the number of devices. `.memory_analysis()` tells its needs.
    """
    spread, same = PartitionSpec("layer"), PartitionSpec()
    compare = partial(compare_tiles, metrics)
    scores = jax.shard_map(compare, mesh=mesh, in_specs=(spread, same), out_specs=spread, check_vma=False)
    a, b = stacked_shapes(shapes, tile * mesh.size, mesh, spread), stacked_shapes(shapes, tile, mesh, same)
    return jax.jit(scores).lower(a, b).compile()
