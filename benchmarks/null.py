"""What chance gives: orders a second, beside the package `calibrated-similarity` and a loop over our own `compare`."""

import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from prh_jax.engine.null_scores import fill_null
from prh_jax.engine.sketch_bank import SketchBank
from prh_jax.engine.stacks import layer_mesh
from prh_jax.metrics.base import Metric
from prh_jax.metrics.registry import METRICS
from prh_jax.null.moments import null_moments
from prh_jax.null.orders import make_orders, order_blocks
from prh_jax.null.settings import Null
from prh_jax.results.null_grid import NullGrid
from prh_jax.study.null import layer_sums

from .kernels import related_layers
from .study import LANGUAGE, VISION, shrunk


def null_seconds(
    name: str, sketches: tuple[list[Any], list[Any]], models: tuple[list[int], list[int]], orders: np.ndarray
) -> tuple[float, np.ndarray]:
    """Seconds from sketches to the null of every model pair's best layer pair, and that null (orders, x, y)."""
    metric, bank = METRICS[name](), SketchBank()
    names: Any = tuple([f"{s}{i}" for i in range(sum(models[s]))] for s in range(2))
    for side, made in zip(names, sketches, strict=True):
        for i, layer in enumerate(side):
            bank.put(metric.sketcher, layer, made[i % len(made)])
    blocks: Any = tuple(
        [slice(end - size, end) for size, end in zip(side, np.cumsum(side), strict=True)] for side in models
    )
    cells = len(names[0]), len(names[1])
    ranges = order_blocks(len(orders), False, 10**6)
    grid = NullGrid((1, len(orders), len(models[0]), len(models[1])), cells, ranges, {}, cells=False, path=None)
    start = time.perf_counter()
    fill_null(
        grid,
        0,
        metric,
        metric.sketcher,
        np.zeros(cells, np.float32),
        blocks,
        names,
        orders,
        bank,
        Null(),
        shape=jax.tree.map(lambda z: jax.ShapeDtypeStruct(z.shape, z.dtype), sketches[0][0]),
        mesh=layer_mesh(),
        memory=2**33,
        mirror=False,
        progress=lambda done: None,
    )
    return time.perf_counter() - start, grid.null[0]


@partial(jax.jit, static_argnames=("metric",))
def score_orders(a: Any, b: Any, orders: jax.Array, *, metric: Metric) -> jax.Array:
    """Scores of sketch a with sketch b re-paired by each order (orders, n): what chance gives."""
    return jax.lax.map(lambda order: metric.compare(a, b.reorder(order)), orders)


def beside_the_package(names: list[str], *, n: int, d: int, layers: int, orders: int, probe: int) -> list[dict]:
    """Seconds for one model pair of `layers` layers each: ours, a loop over our `compare`, and the package.

    The package and the loop are timed on `probe` x `probe` layers and few orders, and extrapolated: their time is
    proportional to layer pairs times orders.
    """
    xs, ys = related_layers(layers, n, d, 1), related_layers(layers, n, d, 2)
    drawn, rows = make_orders(n, orders, 0), []
    for name in names:
        metric = METRICS[name]()
        sketch = jax.jit(metric.sketcher)
        sketch(xs[0])
        start = time.perf_counter()
        sketches = [[jax.device_get(sketch(z)) for z in side] for side in (xs, ys)]
        sketching = time.perf_counter() - start
        null_seconds(name, (sketches[0], sketches[1]), ([layers], [layers]), drawn)  # compiles
        taken, _ = null_seconds(name, (sketches[0], sketches[1]), ([layers], [layers]), drawn)
        few = jnp.asarray(drawn[:2])
        score_orders(sketches[0][0], sketches[1][0], few, metric=metric)
        start = time.perf_counter()
        for a in sketches[0][:probe]:
            for b in sketches[1][:probe]:
                jax.block_until_ready(score_orders(a, b, few, metric=metric))
        loop = (time.perf_counter() - start) / (probe**2 * len(few)) * layers**2 * orders
        row = {"metric": name, "n": n, "d": d, "layers": layers, "orders": orders}
        row |= {"null_s": taken, "sketch_s": sketching, "loop_s": loop, "loop_ratio": loop / (taken + sketching)}
        theirs = _package(name, xs[:probe], ys[:probe], drawn[:1])
        if theirs is not None:
            seconds, best = theirs
            package = seconds / (probe**2 * 2) * layers**2 * (orders + 1)
            row |= {"package_s": package, "package_extrapolated_from": f"{probe} x {probe} layers, 2 orders"}
            row |= {"package_ratio": package / (taken + sketching)}
            small = [s[:probe] for s in sketches]
            ours = null_seconds(name, (small[0], small[1]), ([probe], [probe]), drawn[:1])[1]
            row["largest_difference"] = float(abs(best - ours[0, 0, 0]))
        rows.append(row)
    return rows


def _package(name: str, xs: list[np.ndarray], ys: list[np.ndarray], orders: np.ndarray) -> tuple[float, float] | None:
    """Seconds of `calibrate_layers` with a vectorised metric in torch (observed and one order), and its null."""
    try:
        import torch
        from calibrated_similarity import calibrate_layers
    except ImportError:
        return None
    if name not in TORCH:
        return None
    tx, ty = ([torch.from_numpy(z) for z in side] for side in (xs, ys))
    waiting, seen = iter(orders), []

    def best(scores):
        seen.append(float(scores.max()))
        return scores.max()

    start = time.perf_counter()
    calibrate_layers(
        tx, ty, TORCH[name], agg=best, K=1, perm_fn=lambda n, device: torch.as_tensor(next(waiting), dtype=torch.long)
    )
    return time.perf_counter() - start, seen[1]


def _mutual_knn(x: Any, y: Any, k: int = 10) -> Any:
    masks = []
    for z in (x, y):
        similar = z @ z.T
        similar.fill_diagonal_(-float("inf"))
        masks.append(similar.new_zeros(similar.shape).scatter_(1, similar.topk(k).indices, 1))
    return (masks[0] * masks[1]).sum() / (len(x) * k)


def _cka(x: Any, y: Any) -> Any:
    gram = [(z - z.mean(0)) @ (z - z.mean(0)).T for z in (x, y)]
    return (gram[0] * gram[1]).sum() / (gram[0].norm() * gram[1].norm())


def _unbiased_cka(x: Any, y: Any) -> Any:
    centred, n = [], len(x)
    for z in (x, y):
        gram = (z - z.mean(0)) @ (z - z.mean(0)).T
        gram.fill_diagonal_(0)
        rows = gram.sum(1) / (n - 2)
        gram = gram - rows[:, None] - rows[None] + gram.sum() / ((n - 1) * (n - 2))
        centred.append(gram.fill_diagonal_(0))
    return (centred[0] * centred[1]).sum() / (centred[0].norm() * centred[1].norm())


TORCH = {"mutual_knn": _mutual_knn, "cka": _cka, "unbiased_cka": _unbiased_cka}
"""Metrics for the package: from features to a number, whole arrays at a time."""


def whole_study(
    names: list[str], *, n: int, orders: int, scale: float, peak: float, part: dict[str, int] | None = None
) -> list[dict]:
    """Seconds of the max-null of the paper's study (12 x 17 models), sketches given, compiling included.

    `part` runs fewer orders of a metric, and its time is extrapolated. The sketches of a few layers stand for all: the
    time depends on shapes alone. Beside it the floor by the multiplications of inner products of packed n x n / 2
    matrices, where the metric is one.
    """
    counts = tuple([layers for _, layers in shrunk(side, scale).values()] for side in (LANGUAGE, VISION))
    rows = []
    for name in names:
        metric = METRICS[name]()
        sketch = jax.jit(metric.sketcher)
        sketches = [[jax.device_get(sketch(z)) for z in related_layers(8, n, 64, seed)] for seed in (1, 2)]
        run = min((part or {}).get(name, orders), orders)
        taken, null = null_seconds(name, (sketches[0], sketches[1]), counts, make_orders(n, run, 0))
        assert np.isfinite(null).all()
        pairs = sum(counts[0]) * sum(counts[1])
        row = {"metric": name, "n": n, "layers_x": sum(counts[0]), "layers_y": sum(counts[1]), "orders": orders}
        row |= {"orders_run": run, "seconds": taken * orders / run, "us_per_pair_and_order": taken / pairs / run * 1e6}
        if name in TORCH and "neighbors" not in sketches[0][0]._fields:
            row["floor_s"] = pairs * orders * n * n / peak
        if jax.eval_shape(metric.inner_form, sketches[0][0]) is not None:
            layer_sums(metric, sketches[0][0], third=True)
            start = time.perf_counter()
            sums = [layer_sums(metric, s, third=True) for s in sketches[0]]
            per_layer = (time.perf_counter() - start) / len(sums)
            moments = null_moments(sums * (sum(counts[0]) // 8 + 1), sums, n)
            assert np.isfinite(moments.sd).all()
            row["closed_form_s"] = per_layer * (sum(counts[0]) + sum(counts[1]))
        rows.append(row)
    return rows


def measure(size: dict[str, Any], peak: float) -> dict[str, Any]:
    """One model pair beside the package and the loop, and the whole study at the size of the benchmark."""
    toy = size["scale"] < 0.1
    layers, orders = (3, 5) if toy else (24, 200)
    names = ["mutual_knn", "unbiased_cka"] if toy else ["mutual_knn", "unbiased_cka", "cka"]
    pair = beside_the_package(names, n=size["n"], d=size["d"], layers=layers, orders=orders, probe=2 if toy else 4)
    part = {"cka": 40} if jax.default_backend() == "cpu" else {}
    study = whole_study(["mutual_knn", "cka"], n=size["n"], orders=orders, scale=size["scale"], peak=peak, part=part)
    return {"null_pair": pair, "null_study": study}


def tables(results: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = [
        "| max-null of a pair | layers | orders | sketch s | null s | own loop s | x | package s, extrapolated | x |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in results["null_pair"]:
        cells = [row["metric"], f"{row['layers']} x {row['layers']}", str(row["orders"]), f"{row['sketch_s']:.2f}"]
        cells += [f"{row['null_s']:.2f}", f"{row['loop_s']:.1f}", f"{row['loop_ratio']:,.0f}"]
        known = "package_s" in row
        cells += [f"{row['package_s']:,.0f}", f"{row['package_ratio']:,.0f}"] if known else ["", ""]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "| max-null of the study, from sketches | layers | orders (run) | s | us a pair | floor s | closed form s |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in results["null_study"]:
        cells = [row["metric"], f"{row['layers_x']} x {row['layers_y']}", f"{row['orders']} ({row['orders_run']})"]
        cells += [f"{row['seconds']:.1f}", f"{row['us_per_pair_and_order']:.2f}"]
        cells += [f"{row[key]:.1f}" if key in row else "" for key in ("floor_s", "closed_form_s")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
