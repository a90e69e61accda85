"""The arithmetic of all layer pairs: a sketch of each layer once, then the layer-by-layer matrix in equal tiles."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec, SingleDeviceSharding

from ..metrics.base import Metric
from ..metrics.kernels import OnHost
from ..runtime.host import compile_quickly
from ..sketches.base import Doubt, SketchContext, Sketcher, Summarizer
from .preprocess import Preprocess
from .stacks import stacked_shapes


@partial(jax.jit, static_argnames=("summarizers", "preprocess"))
def summarize_layer(
    x: Any, threshold: Any, *, summarizers: tuple[Callable[[Any], Any], ...], preprocess: Preprocess
) -> tuple[Any, ...]:
    """Summaries of a layer after preprocessing, by summarizer; compiled once for each width."""
    x = preprocess.apply(x, threshold)
    return tuple(summarizer(x) for summarizer in summarizers)


@lru_cache(maxsize=256)
def summary_program(
    shape: tuple[int, int],
    dtype: Any,
    summarizers: tuple[Callable[[Any], Any], ...],
    preprocess: Preprocess,
    device: Any,
) -> Any:
    """Compiled `summarize_layer` of layers of a shape, on a device."""
    place = SingleDeviceSharding(device)
    layer, threshold = (jax.ShapeDtypeStruct(*spec, sharding=place) for spec in ((shape, dtype), ((), np.float32)))
    lowered = summarize_layer.lower(layer, threshold, summarizers=summarizers, preprocess=preprocess)
    return compile_quickly(lowered, device.platform)


@partial(jax.jit, static_argnames=("sketcher",))
def sketch_summary(summary: Any, *, sketcher: Sketcher) -> tuple[Any, Doubt | None]:
    """The draft of a sketch, from the summary of a layer of any width; compiled once."""
    return sketcher.draft(summary)


def summarizer_of(sketcher: Sketcher, preprocess: Preprocess, precision: str = "float32") -> Summarizer:
    """Program that makes a sketcher's arrays from features after preprocessing, in a precision."""
    return dataclasses.replace(sketcher.summarizer, bfloat16=precision == "bfloat16", normalized=preprocess.normalize)


def sketch_layer(x: Any, threshold: Any, *, sketcher: Sketcher, preprocess: Preprocess) -> Any:
    """The sketch of one layer after preprocessing."""
    sketcher = sketcher.specialise(SketchContext(x.shape[0], unit_rows=preprocess.normalize))
    (summary,) = summarize_layer(
        x, threshold, summarizers=(summarizer_of(sketcher, preprocess),), preprocess=preprocess
    )
    sketch, doubt = sketch_summary(summary, sketcher=sketcher)
    if doubt is None:
        return sketch
    return sketcher.settle(sketch, doubt, np.asarray(x), float(threshold), normalized=preprocess.normalize)


def compare_tiles(metrics: Sequence[Metric], a: Any, b: Any) -> tuple[Any, ...]:
    """The scores of all pairs of two stacks by each metric; what equal kernels share is made once."""
    kernels = [metric.tile_kernel for metric in metrics]
    made = {shared: shared(a, b) for shared in dict.fromkeys(kernel.shared for kernel in kernels) if shared is not None}
    return tuple(k.tile(a, b) if k.shared is None else k.finish(made[k.shared], a, b) for k in kernels)


@lru_cache(maxsize=256)
def tile_scorer(metrics: tuple[Metric, ...], shapes: Any, tile: int, mesh: Mesh) -> Any:
    """Compiled `(a, b) -> scores` by each metric, for stacks of `tile` sketches of b and, on each device, `tile` of a.

    `shapes` is a hashable form of one sketch's shapes (see `sketch_shapes`). Each device scores its own tile of a
    with the same program, so that scores do not depend on the number of devices. `.memory_analysis()` has its needs.
    """
    compare = partial(compare_tiles, metrics)
    if any(metric.tile_kernel.on_host for metric in metrics):
        return OnHost(compare)
    spread, same = PartitionSpec("layer"), PartitionSpec()
    scores = jax.shard_map(compare, mesh=mesh, in_specs=(spread, same), out_specs=spread, check_vma=False)
    a, b = stacked_shapes(shapes, tile * mesh.size, mesh, spread), stacked_shapes(shapes, tile, mesh, same)
    return jax.jit(scores).lower(a, b).compile()
