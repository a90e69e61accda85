"""Per metric: the sketch of a layer and the score of a pair; compile time, rates, and the error against float64."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from prh_jax.engine.programs import tile_scorer
from prh_jax.engine.stacks import layer_mesh, put_tile, sketch_bytes, sketch_shapes, stack_tile
from prh_jax.metrics.registry import METRICS, make_metric
from prh_jax.runtime.host import kept_memory
from prh_jax.runtime.progress import progress
from prh_jax.sketches.basis import BasisSketcher
from prh_jax.sketches.gram_factor import GramFactorSketcher

from .machine import alternate, sketching
from .opponents import cached_torch, load_reference

FEATURE_GRAMS = (BasisSketcher, GramFactorSketcher)
"""Sketchers that multiply features rather than samples where there are fewer of them."""

CACHED = 16
"""Layers that cached torch scores one against in turn, as a loop over all pairs would: more than a cache holds."""


def related_layers(count: int, n: int, d: int, seed: int) -> list[np.ndarray]:
    """Layers that share a latent, rows of unit length, float32."""
    latent = np.random.default_rng(0).normal(size=(n, 32))
    rng = np.random.default_rng(seed)
    layers = [latent @ rng.normal(size=(32, d)) + 4 * rng.normal(size=(n, d)) for _ in range(count)]
    return [(x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32) for x in layers]


def measure(
    names: list[str], *, n: int, d: int, k: int, layers: int, rounds: int, peak: int, reference: str | Path | None
) -> list[dict[str, Any]]:
    """One row a metric: seconds of ours, of the reference's call and of cached torch, measured in turn.

    `peak` is the size of the product that sketches are held against.
    """
    theirs = load_reference(reference) if reference else None
    xs, ys = related_layers(min(layers, 8), n, d, 1), related_layers(min(layers, 8), n, d, 2)
    shape = {"k": k, "layers": layers, "rounds": rounds, "peak": peak, "theirs": theirs}
    return [_row(name, xs, ys, **shape) for name in progress(names, "kernels", "metrics")]


def _row(name: str, xs: Any, ys: Any, *, k: int, layers: int, rounds: int, peak: int, theirs: Any) -> dict[str, Any]:
    takes_k = "k" in METRICS[name]().settings
    metric = make_metric(name, **({"k": k} if takes_k else {}))
    n, d = xs[0].shape
    sketch = jax.jit(metric.sketcher)
    start = time.perf_counter()
    sketches_x = [jax.device_get(sketch(x)) for x in xs[:1]]
    sketch_compile = time.perf_counter() - start
    sketches_x += [jax.device_get(sketch(x)) for x in xs[1:]]
    sketches_y = [jax.device_get(sketch(y)) for y in ys]
    mesh = layer_mesh(jax.local_devices()[:1])
    start = time.perf_counter()
    scorer = tile_scorer((metric,), sketch_shapes(sketches_x[0]), layers, mesh)
    tile_compile = time.perf_counter() - start
    a = put_tile(stack_tile([sketches_x[i % len(xs)] for i in range(layers)], layers), mesh, spread=True)
    b = put_tile(stack_tile([sketches_y[i % len(ys)] for i in range(layers)], layers), mesh, spread=False)
    x = jnp.asarray(xs[0])
    calls: dict[str, Any] = {"tile": lambda: scorer(a, b)}
    calls |= _opponents(name, xs[0], ys, k=k, takes_k=takes_k, theirs=theirs)
    with kept_memory():  # as while a study runs
        medians = alternate(calls, rounds)
    if "cached_torch" in medians:
        medians["cached_torch"] /= CACHED
    scores = np.asarray(scorer(a, b)[0])
    row = {
        "metric": name,
        "n": n,
        "d": d,
        "k": k if takes_k else None,
        "layers": layers,
        **sketching(sketch, x, rounds, peak, features=isinstance(metric.sketcher, FEATURE_GRAMS)),
        "pair_s": medians["tile"] / layers**2,
        "pair_bytes_per_s": 2 * layers * sketch_bytes(sketches_x[0]) / medians["tile"],
        "sketch_compile_s": sketch_compile,
        "tile_compile_s": tile_compile,
        "temporaries_bytes": getattr(scorer.memory_analysis(), "temp_size_in_bytes", None),
        "max_error": _max_error(metric, xs, ys, scores),
        "bfloat16_error": _bfloat16_error(metric, xs, ys, scores),
    }
    for opponent in ("reference", "cached_torch"):
        if opponent in medians:
            row |= {f"{opponent}_s": medians[opponent], f"kernel_ratio_{opponent}": medians[opponent] / row["pair_s"]}
    return row


def _opponents(name: str, x: np.ndarray, ys: list[np.ndarray], *, k: int, takes_k: bool, theirs: Any) -> dict[str, Any]:
    calls: dict[str, Any] = {}
    try:
        import torch
    except ImportError:
        return calls
    tx, tys = torch.from_numpy(x), [torch.from_numpy(y) for y in ys]
    if theirs is not None:
        settings = {"topk": k} if takes_k else {}
        calls["reference"] = lambda: theirs.measure(name, tx, tys[0], **settings)
    cached = cached_torch(k)
    if name in cached:
        keep, score = cached[name]
        one, others = keep(tx), [keep(tys[i % len(tys)]) for i in range(CACHED)]
        calls["cached_torch"] = lambda: [score(one, other) for other in others]
    return calls


def _max_error(metric: Any, xs: Any, ys: Any, scores: np.ndarray) -> float:
    """Largest difference from the same metric in float64, over a few pairs of layers."""
    errors = []
    with jax.enable_x64(True):
        for i, j in ((0, 0), (1 % len(xs), 2 % len(ys)), (2 % len(xs), 1 % len(ys))):
            exact = float(metric(jnp.asarray(xs[i], jnp.float64), jnp.asarray(ys[j], jnp.float64)))
            errors.append(abs(float(scores[i, j]) - exact))
    return max(errors)


def _bfloat16_error(metric: Any, xs: Any, ys: Any, scores: np.ndarray) -> float:
    """Largest difference that `precision="bfloat16"` makes, over all pairs of the layers given."""
    sketcher = metric.sketcher
    rounding = dataclasses.replace(sketcher.summarizer, bfloat16=True)
    a, b = ([jax.jit(lambda z: sketcher.sketch(rounding(z)))(z) for z in side] for side in (xs, ys))
    stacks = (jax.tree.map(lambda *leaves: jnp.stack(leaves), *side) for side in (a, b))
    rounded = np.asarray(jax.jit(metric.tile_kernel.tile)(*stacks))
    return float(np.abs(rounded - scores[: len(xs), : len(ys)]).max())
