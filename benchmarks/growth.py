"""How times and memory grow, with the exponent of each, as one figure; and the growth of the null and of studies."""

import time
from typing import Any

import jax
import numpy as np

from prh_jax import align
from prh_jax.metrics.registry import METRICS
from prh_jax.null.orders import make_orders
from prh_jax.runtime.progress import progress
from prh_jax.sketches.base import MANY, SketchContext

from .kernels import related_layers
from .null import null_seconds

LAYERS = 8
SIZES = {"n": (256, 1024, 4096), "orders": (50, 200, 800), "models": (2, 4, 8)}
TOY_SIZES = {"n": (32, 48), "orders": (5, 10), "models": (2, 3)}
NULL = ("mutual_knn", "cka", "svcca")
PANELS = [
    ("sketch_s", "n", "a layer's sketch, ms", 1e3),
    ("sketch_s", "d", "a layer's sketch, ms", 1e3),
    ("pair_s", "n", "a pair's score, µs", 1e6),
    ("pair_s", "k", "a pair's score, µs", 1e6),
    ("pair_s", "layers", "a pair's score, µs", 1e6),
    ("memory", "n", "temporary memory of a tile, MB", 1e-6),
    ("null_s", "n", f"null of {LAYERS} x {LAYERS} layers, s", 1),
    ("null_s", "orders", f"null of {LAYERS} x {LAYERS} layers, s", 1),
    ("study_s", "models", f"study of models of {LAYERS} layers, s", 1),
]
NAMES = {
    "n": "samples",
    "d": "width",
    "k": "neighbours k",
    "layers": "layers of a side",
    "orders": "orders",
    "models": "models",
}


def measure(*, toy: bool) -> list[dict[str, Any]]:
    """Seconds of the null against samples and orders, and of whole studies in memory against models; all compiled."""
    sizes = TOY_SIZES if toy else SIZES
    base = {"n": 48, "orders": 5} if toy else {"n": 1024, "orders": 200}
    names = NULL[:1] if toy else NULL
    cases = [(name, varied, value) for name in names for varied in ("n", "orders") for value in sizes[varied]]
    rows = []
    for name, varied, value in progress(cases, "null", "sizes"):
        shape = base | {varied: value}
        sketch = jax.jit(METRICS[name]().sketcher)
        layers = related_layers(LAYERS, shape["n"], 64, 1)
        made = [jax.device_get(sketch(x)) for x in layers]
        orders = make_orders(shape["n"], shape["orders"], 0)
        taken = _warm_median(lambda made=made, orders=orders, name=name: _null(name, made, orders))
        rows.append({"metric": name, "varied": varied, **shape, "null_s": taken})
    for name, models in progress([(name, m) for name in names for m in sizes["models"]], "studies", "sizes"):
        given = {f"m{i}": list(related_layers(LAYERS, base["n"], 64, i)) for i in range(models)}
        taken = _warm_median(lambda given=given, name=name: align(given, metrics=[name], progress=False))
        rows.append({"metric": name, "varied": "models", "n": base["n"], "models": models, "study_s": taken})
    return rows


def _null(name: str, sketches: list[Any], orders: np.ndarray) -> None:
    null_seconds(name, (sketches, sketches), ([LAYERS], [LAYERS]), orders)


def _warm_median(call: Any) -> float:
    call()
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))


def exponent(sizes: list[float], values: list[float], change: float = np.inf) -> float:
    """The slope in logarithms, by least squares, of the last three points that one algorithm made.

    Another algorithm serves sizes above `change`. Its points count if there are two of them.
    """
    points = list(zip(sizes, values, strict=True))
    later = [point for point in points if point[0] > change]
    same = later if len(later) > 1 else [point for point in points if point[0] <= change]
    x, y = np.log(same[-3:]).T
    return float(np.polyfit(x, y, 1)[0])


def curves(results: dict[str, Any]) -> dict[tuple[str, str], dict[str, tuple[list[float], list[float]]]]:
    """For each panel the sizes and values of each metric."""
    found: dict[tuple[str, str], dict[str, tuple[list[float], list[float]]]] = {}
    for key, varied, _, _ in PANELS:
        source = "temporaries_bytes" if key == "memory" else key
        panel = found[key, varied] = {}
        for row in [*results["sweep"], *results.get("growth", [])]:
            if row["varied"] == varied and row.get(source):
                sizes, values = panel.setdefault(row["metric"], ([], []))
                sizes.append(row[varied])
                values.append(row[source])
    return found


def takes_over(name: str, d: int = 768) -> tuple[float, str]:
    """From how many samples a metric's layers of width d get another kind of sketch, and its name."""
    kinds = {n: type(METRICS[name]().sketcher.specialise(SketchContext(n, (d,)))) for n in (1024, MANY + 1)}
    return (np.inf, "") if kinds[1024] is kinds[MANY + 1] else (MANY, kinds[MANY + 1].__name__)


def _slopes(results: dict[str, Any], panel: tuple[str, str]) -> dict[str, float]:
    """The exponent of each metric's curve with more than one point."""
    found = curves(results)[panel]
    return {
        name: exponent(sizes, values, takes_over(name)[0] if panel[1] == "n" else np.inf)
        for name, (sizes, values) in found.items()
        if len(sizes) > 1
    }


def table(results: dict[str, Any]) -> str:
    """The exponent of each curve, and the sketch that takes over, as Markdown."""
    slopes = {panel: _slopes(results, panel) for panel in ((key, varied) for key, varied, _, _ in PANELS)}
    slopes = {panel: found for panel, found in slopes.items() if found}
    short = {"sketch_s": "sketch", "pair_s": "pair", "memory": "memory", "null_s": "null", "study_s": "study"}
    heads = [f"{short[key]}, {NAMES[varied]}" for key, varied in slopes]
    lines = [f"| metric | {' | '.join(heads)} | above {MANY:,} samples |", "|---" * (len(heads) + 2) + "|"]
    for name in dict.fromkeys(name for found in slopes.values() for name in found):
        cells = [f"{found[name]:.2f}" if name in found else "" for found in slopes.values()]
        lines.append(f"| {name} | {' | '.join(cells)} | {takes_over(name)[1]} |")
    return "\n".join(lines)


def plot(results: dict[str, Any], title: str, path: Any) -> None:
    """All curves of one machine, a panel for what is timed and what varies, with the exponents at their ends."""
    from matplotlib.figure import Figure

    found = curves(results)
    panels = [panel for panel in PANELS if found[panel[0], panel[1]]]
    columns = (len(panels) + 1) // 2
    figure = Figure(figsize=(3.3 * columns + 1.6, 6.6), layout="constrained", dpi=130)
    names = list(dict.fromkeys(row["metric"] for row in results["sweep"]))
    axes = figure.subplots(2, columns).ravel()
    handles: dict[str, Any] = {}
    for ax, (key, varied, label, unit) in zip(axes, panels, strict=False):
        ends, slopes = [], _slopes(results, (key, varied))
        for name, (sizes, values) in found[key, varied].items():
            i = names.index(name)
            style = {"color": f"C{i}", "marker": "osD^v<>P"[i % 8], "markersize": 4, "linewidth": 1}
            (handles[name],) = ax.plot(sizes, [unit * value for value in values], label=name, **style)
            if name in slopes:
                ends.append((unit * values[-1], sizes[-1], slopes[name], f"C{i}"))
        ax.set_xscale("log")
        ax.set_yscale("log")
        _label_ends(ax, sorted(ends))
        if varied == "n" and max(size for sizes, _ in found[key, varied].values() for size in sizes) > MANY:
            ax.axvline(MANY, color="0.6", linewidth=0.8, linestyle=":")
        places = sorted({size for sizes, _ in found[key, varied].values() for size in sizes})
        ax.set_xticks(places, [f"{place:,}" for place in places], fontsize=7, minor=False)
        ax.set_xticks([], minor=True)
        ax.set_xlabel(NAMES[varied])
        ax.set_title(label, fontsize=9)
        ax.spines[["top", "right"]].set_visible(False)
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    figure.suptitle(
        title + "; at the ends: exponents; dotted: sketches without a matrix of all pairs take over", fontsize=9
    )
    figure.legend(handles.values(), handles.keys(), fontsize=8, frameon=False, loc="outside right center")
    figure.savefig(path, metadata={"Software": None})


def _label_ends(ax: Any, ends: list[tuple[float, float, float, str]]) -> None:
    """Exponents at the ends of curves, moved apart where they would cover each other."""
    low, high = np.log(ax.get_ylim())
    step = 0.055
    places = [(np.log(value) - low) / (high - low) for value, *_ in ends]
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + step)
    for i in range(len(places) - 1, -1, -1):
        places[i] = min(places[i], 1 - step * (len(places) - 1 - i))
    for (value, size, slope, color), above in zip(ends, places, strict=True):
        right = ax.get_xlim()[1]
        ax.annotate(
            f"{slope:.1f}",
            (size, value),
            xytext=(1.01 if size < right else 1.0, above),
            textcoords="axes fraction",
            fontsize=7,
            color=color,
            va="center",
        )
