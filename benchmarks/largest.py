"""Ways to find the k largest entries of long rows, beside the product that they follow: devices differ in the best."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from prh_jax.sketches import nearest
from prh_jax.sketches.nearest import EXTRA

from .machine import alternate

SHAPES = {
    "toy": ((16, 128),),
    "standard": ((1024, 1024), (512, 16384)),
    "full": ((1024, 1024), (4096, 16384), (1024, 65536)),
}


def ways(k: int) -> dict[str, Callable[[Any], Any]]:
    """Each way to find the places of the k largest entries of rows, ties to the lowest place."""
    found = {
        "as chosen": partial(nearest.largest, k=k),
        "top_k": partial(nearest.first_places, k=k),
        "two levels": partial(nearest.in_two_levels, k=k),
        "argsort": lambda values: jnp.argsort(-values, axis=1, stable=True)[:, :k],
    }
    if "is_stable" in inspect.signature(lax.top_k).parameters:  # JAX 0.11
        found["top_k, unstable"] = lambda values: lax.optimization_barrier(lax.top_k(values, k, is_stable=False)[1])
    return found


@jax.jit
def product(x: Any, y: Any) -> Any:
    """What neighbours are found in: float32 inner products."""
    return jnp.matmul(x, y.T, precision=lax.Precision.HIGHEST)


def measure(size: str, *, ks: tuple[int, ...], d: int, rounds: int) -> list[dict[str, Any]]:
    """Seconds of each way in turn with the float32 product of the same shape, and the share of right places."""
    rows = []
    for count, columns in SHAPES[size]:
        x, y = (jax.random.normal(jax.random.key(i), (m, d), jnp.float32) for i, m in enumerate((count, columns)))
        values = product(x, y)
        for k in ks:
            asked = min(k + EXTRA, columns - 1)
            calls: dict[str, Any] = {"product": lambda x=x, y=y: product(x, y)}
            expected, right = np.argsort(-np.asarray(values), axis=1, kind="stable")[:, :asked], {}
            for name, way in ways(asked).items():
                compiled = jax.jit(way)
                right[name] = float(np.mean(np.asarray(compiled(values)) == expected))
                calls[name] = lambda compiled=compiled, values=values: compiled(values)
            medians = alternate(calls, rounds)
            rows.append({"rows": count, "columns": columns, "d": d, "k": k, "seconds": medians, "right": right})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The figures as Markdown, in milliseconds; with a star where a tie is put otherwise."""
    names = list(rows[0]["seconds"])
    lines = [f"| rows x columns | k | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
    for row in rows:
        cells = [
            f"{1e3 * row['seconds'][name]:.2f}" + ("" if row["right"].get(name, 1) == 1 else "*") for name in names
        ]
        lines.append(f"| {row['rows']} x {row['columns']} | {row['k']} | {' | '.join(cells)} |")
    return "\n".join(lines)
