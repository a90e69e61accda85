"""Every metric beside its definition written out in float64 numpy: a layer pair of ours, and one call of that."""

import sys
from pathlib import Path
from typing import Any

import jax

from prh_jax.engine.programs import tile_scorer
from prh_jax.engine.stacks import layer_mesh, put_tile, sketch_shapes, stack_tile
from prh_jax.metrics.base import PairwiseMetric
from prh_jax.metrics.registry import METRICS

from .kernels import related_layers
from .machine import seconds

ORACLES = Path(__file__).parent.parent / "tests"


def measure(names: list[str], *, n: int, d: int, layers: int) -> list[dict[str, Any]]:
    """One row a metric: seconds of a sketch, of a pair in a tile of `layers` a side, and of plain numpy for a pair.

    Metrics with a decomposition for each pair are scored 2 x 2.
    """
    sys.path.insert(0, str(ORACLES))  # written from the papers for the tests, plain and in float64
    try:
        from oracles import ORACLES as plain  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(ORACLES))
    x, y = (related_layers(1, n, d, seed)[0] for seed in (1, 2))
    mesh = layer_mesh(jax.local_devices()[:1])
    rows = []
    for name in names:
        metric = METRICS[name]()
        side = 2 if isinstance(metric, PairwiseMetric) else layers
        sketch = jax.jit(metric.sketcher)
        made = [jax.device_get(sketch(z)) for z in (x, y)]
        scorer = tile_scorer((metric,), sketch_shapes(made[0]), side, mesh)
        a, b = (
            put_tile(stack_tile([z], side), mesh, spread=first) for z, first in zip(made, (True, False), strict=True)
        )
        rounds = 1 if isinstance(metric, PairwiseMetric) else 5
        pair = min(seconds(lambda: scorer(a, b)) for _ in range(rounds + 1)) / side**2  # noqa: B023
        row = {
            "metric": name,
            "layers": side,
            "sketch_s": min(seconds(lambda: sketch(x)) for _ in range(3)),  # noqa: B023
            "pair_s": pair,
        }
        if name in plain:
            row["numpy_s"] = seconds(lambda: plain[name](x.astype("float64"), y.astype("float64")))  # noqa: B023
            row["ratio"] = row["numpy_s"] / pair
        rows.append(row)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The figures as Markdown."""
    lines = ["| metric | layers | sketch ms | pair us | float64 numpy ms | x |", "|---|---|---|---|---|---|"]
    for row in rows:
        plain = [f"{row['numpy_s'] * 1e3:,.0f}", f"{row['ratio']:,.0f}"] if "numpy_s" in row else ["", ""]
        cells = [f"{row['sketch_s'] * 1e3:.1f}", f"{row['pair_s'] * 1e6:,.1f}", *plain]
        lines.append(f"| {row['metric']} | {row['layers']} x {row['layers']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
