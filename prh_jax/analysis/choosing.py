"""A table for choosing a metric: declarations of each, with its measured level at chance and cost of a pair."""

import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..metrics.base import Metric
from ..metrics.registry import METRICS
from ..sketches.base import Sketcher

Pair = tuple[Any, Any]


def choosing_table(
    names: Sequence[str] = tuple(METRICS), *, n: int = 256, widths: tuple[int, int] = (16, 1024), layers: int = 4
) -> str:
    """The table as Markdown, of metrics with default settings.

    Chance is the mean score of `layers` x `layers` independent Gaussian layers (n, d), seed 0, of a width far below and
    one far above n. The cost of a pair is that of a tile of these on this machine, sketches being made, over that of
    cka.
    """
    metrics = {name: METRICS[name]() for name in dict.fromkeys(("cka", *names))}
    inputs = [[_gaussians(n, d, layers, seed) for seed in (0, 1)] for d in widths]
    sketches: dict[Sketcher, list[Pair]] = {}
    measured = {}
    for name, metric in metrics.items():
        if metric.sketcher not in sketches:
            make = jax.jit(jax.vmap(metric.sketcher))
            sketches[metric.sketcher] = [(make(x), make(y)) for x, y in inputs]
        measured[name] = _measure(metric, sketches[metric.sketcher])
    head = ["metric", "range", "closer", "symmetric", "gradient", "unchanged by", *(f"chance, d = {d}" for d in widths)]
    lines = [[*head, "cost of a pair"], ["---"] * (len(head) + 1)]
    for name in names:
        metric, (*chance, seconds) = metrics[name], measured[name]
        low, high = metric.bounds
        lines.append(
            [
                f"`{name}`",
                f"[{low:.3g}, {high:.3g}]",
                "larger" if metric.larger_is_closer else "smaller",
                *("yes" if known else "no" for known in (metric.symmetric, metric.differentiable)),
                ", ".join(sorted(metric.invariances)).replace("_", " "),
                *(f"{score:.3f}" for score in chance),
                f"{seconds / measured['cka'][-1]:.2g}",
            ]
        )
    note = f"Chance and cost at n = {n}, on {jax.devices()[0].device_kind}; a pair of cka takes "
    return "\n".join(
        [*("| " + " | ".join(row) + " |" for row in lines), "", f"{note}{measured['cka'][-1] * 1e6:.1f} us."]
    )


def _gaussians(n: int, d: int, layers: int, seed: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng([seed, d]).normal(size=(layers, n, d)).astype(np.float32))


def _measure(metric: Metric, pairs: list[Pair]) -> list[float]:
    """Mean scores of each pair of stacks, and the seconds that one of their pairs takes at best."""
    tile = jax.jit(metric.tile_kernel.tile)
    scores = [np.asarray(tile(*pair)) for pair in pairs]
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        tile(*pairs[-1]).block_until_ready()
        taken.append(time.perf_counter() - start)
    return [*(float(score.mean()) for score in scores), min(taken) / scores[0].size]
