"""The table of metrics in words, for `prh metrics` and docs/metric_table.md."""

import json
from typing import Any

from .registry import HOST_METRICS, METRICS


def rows() -> list[dict[str, Any]]:
    """One entry a metric: what it is, range, symmetry, settings, invariances, source."""
    table = []
    for name, cls in (METRICS | HOST_METRICS).items():
        metric = cls()
        low, high = metric.bounds
        table.append(
            {
                "metric": name,
                "summary": (cls.__doc__ or "").strip().splitlines()[0],
                "range": f"[{low:g}, {high:g}]",
                "larger_is_closer": metric.larger_is_closer,
                "symmetric": metric.symmetric,
                "differentiable": metric.differentiable,
                "computed_by": "numpy" if name in HOST_METRICS else "JAX",
                "unchanged_by": sorted(metric.invariances),
                "settings": metric.settings,
                "source": metric.source,
            }
        )
    return table


def as_json() -> str:
    """The table as JSON."""
    return json.dumps(rows(), indent=1)


def as_text() -> str:
    """The table as paragraphs for a terminal."""
    parts = []
    for row in rows():
        symmetric = "symmetric" if row["symmetric"] else "not symmetric"
        none = "no gradient (it counts)" if row["computed_by"] == "JAX" else "computed by numpy: no gradient, no jit"
        gradient = "differentiable" if row["differentiable"] else none
        parts.append(
            f"{row['metric']}\n"
            f"    {row['summary']}\n"
            f"    range        {row['range']}{_closer(row)}; {symmetric}; {gradient}\n"
            f"    settings     {_settings(row)}\n"
            f"    unchanged by {_words(row['unchanged_by'])}\n"
            f"    source       {row['source']}\n"
        )
    return "\n".join([*parts, "Settings are given as in `prh align --metric cka:kernel=rbf,sigma=2`."])


def as_markdown() -> str:
    """The table as Markdown."""
    lines = ["| metric | what it says | range | symmetric | gradient | settings |", "|---|---|---|---|---|---|"]
    for row in rows():
        marks = ("yes" if row[key] else "no" for key in ("symmetric", "differentiable"))
        settings = f"`{_settings(row)}`" if row["settings"] else ""
        cells = (f"`{row['metric']}`", row["summary"], row["range"] + _closer(row), *marks, settings)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _closer(row: dict[str, Any]) -> str:
    return "" if row["larger_is_closer"] else ", smaller is closer"


def _settings(row: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in row["settings"].items())


def _words(names: list[str]) -> str:
    return ", ".join(name.replace("_", " ") for name in names)
