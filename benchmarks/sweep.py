"""How each metric's times grow with samples, width, neighbours and layers: one of them varied at a time."""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from prh_jax.engine.programs import tile_scorer
from prh_jax.engine.stacks import layer_mesh, put_tile, sketch_bytes, sketch_shapes, stack_tile
from prh_jax.metrics.registry import METRICS, make_metric
from prh_jax.runtime.memory import default_memory
from prh_jax.runtime.progress import progress
from prh_jax.sketches.base import SketchContext
from prh_jax.sketches.gram_factor import GramFactorSketcher

from .kernels import FEATURE_GRAMS, related_layers
from .machine import seconds, sketching

BASE = {"n": 1024, "d": 768, "k": 10, "layers": 64}
SWEEP = {
    "n": (256, 1024, 4096, 16384, 65536),
    "d": (192, 768, 2048, 8192),
    "k": (10, 32, 100),
    "layers": (1, 8, 64, 454),
}
TOY_BASE = {"n": 48, "d": 24, "k": 5, "layers": 4}
TOY_SWEEP = {"n": (32, 48), "d": (24, 40), "k": (3, 5), "layers": (1, 4)}


def measure(names: list[str], *, toy: bool, peak: int) -> list[dict[str, Any]]:
    """One row a metric and size: seconds to sketch a layer and to score a pair, median of three.

    `peak` is the size of the product that sketches are held against. Left out are sketches by products of all pairs of
    so many samples that their matrix would not fit (`many` measures those), and layers whose sketches do not.
    """
    base, sweep = (TOY_BASE, TOY_SWEEP) if toy else (BASE, SWEEP)
    cases = [
        (name, varied, base | {varied: value})
        for name in names
        for varied, values in sweep.items()
        if varied != "k" or "k" in METRICS[name]().settings
        for value in values
    ]
    return [_row(name, varied, peak, **shape) for name, varied, shape in progress(cases, "sweep", "sizes")]


def _row(name: str, varied: str, peak: int, *, n: int, d: int, k: int, layers: int) -> dict[str, Any]:
    takes_k = "k" in METRICS[name]().settings
    metric = make_metric(name, **({"k": k} if takes_k else {}))
    row: dict[str, Any] = {"metric": name, "varied": varied, "n": n, "d": d, "k": k if takes_k else None}
    memory, sketcher = default_memory(), metric.sketcher.specialise(SketchContext(n, (d,)))
    of_features = isinstance(sketcher, GramFactorSketcher)
    if varied != "layers" and (of_features or 6 * 4 * n * n + 4 * 4 * n * d <= memory):
        x = jnp.asarray(related_layers(1, n, d, 1)[0])
        sketch, start = jax.jit(sketcher), time.perf_counter()
        jax.block_until_ready(sketch(x))
        row["sketch_compile_s"] = time.perf_counter() - start
        row |= sketching(sketch, x, 3, peak, features=isinstance(sketcher, FEATURE_GRAMS))
    shape = jax.eval_shape(sketcher, jax.ShapeDtypeStruct((n, d), np.float32))
    # Where a pair is a product of features of its own, a few tell what many would take.
    layers = min(layers, memory // (8 * sketch_bytes(shape)), 4 if of_features else layers)
    if varied == "d" or layers < 1:
        return row
    mesh = layer_mesh(jax.local_devices()[:1])
    start = time.perf_counter()
    scorer = tile_scorer((metric,), sketch_shapes(shape), layers, mesh)
    row["tile_compile_s"] = time.perf_counter() - start
    row["temporaries_bytes"] = getattr(scorer.memory_analysis(), "temp_size_in_bytes", None)
    made = [made_up(shape, n, seed) for seed in range(min(layers, 8))]
    stack = stack_tile((made[i % len(made)] for i in range(layers)), layers)
    a, b = put_tile(stack, mesh, spread=True), put_tile(stack, mesh, spread=False)
    taken = _median(lambda: scorer(a, b))
    row |= {"layers": layers, "pair_s": taken / layers**2}
    row["pair_bytes_per_s"] = 2 * layers * sketch_bytes(shape) / taken
    if metric.tile_kernel.shared is not None:
        row["pair_flops"] = (2 * n * d * d if of_features else n * n) * layers**2 / taken
    return row


def made_up(shape: Any, n: int, seed: int) -> Any:
    """A sketch of random numbers, lists of random neighbours; how long scoring takes depends on shapes alone."""
    rng = np.random.default_rng(seed)

    def leaf(spec):
        if np.issubdtype(spec.dtype, np.integer):
            own = np.arange(n)[:, None]  # and steps from it to others, as neighbours are never oneself
            return ((own + 1 + rng.permutation(n - 1)[: spec.shape[-1]]) % n).astype(spec.dtype)
        return rng.standard_normal(spec.shape).astype(spec.dtype)

    return jax.tree.map(leaf, shape)


def _median(call: Any) -> float:
    call()
    return float(np.median([seconds(call) for _ in range(3)]))


def table(rows: list[dict[str, Any]]) -> str:
    """The figures as Markdown, a line a metric and a varied size."""
    lines = ["| metric | varied | sketch ms (of the GEMM peak) | pair us | compile s |", "|---|---|---|---|---|"]
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["metric"], row["varied"]), []).append(row)
    for (name, varied), found in groups.items():
        sketch = ", ".join(
            f"{r[varied]}: {r['sketch_s'] * 1e3:.3g} ({r['sketch_of_peak']:.0%})" for r in found if "sketch_s" in r
        )
        pair = ", ".join(f"{r[varied]}: {r['pair_s'] * 1e6:.3g}" for r in found if "pair_s" in r)
        compile_s = max(r.get("sketch_compile_s", 0) + r.get("tile_compile_s", 0) for r in found)
        lines.append(f"| {name} | {varied} | {sketch} | {pair} | {compile_s:.1f} |")
    return "\n".join(lines)
