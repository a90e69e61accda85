"""Recall against the number of places that count as found."""

from collections.abc import Mapping
from typing import Any

from ..results.retrieval import DIRECTIONS, RetrievalResult
from .base import axis_labels, labels, legend_width, new_axes, outside_legend
from .colors import GREY, line_look

WORDS = {"x_to_y": "x to y", "y_to_x": "y to x"}


def recall_curve(
    results: RetrievalResult | Mapping[str, RetrievalResult],
    layer_x: str | None = None,
    layer_y: str | None = None,
    *,
    ax: Any = None,
) -> Any:
    """Draw recall against k in both directions, with standard errors, and chance in grey.

    Parameters
    ----------
    results
        A result of `prh_jax.retrieval`, or several by name, which have one colour each.
    layer_x, layer_y
        Names of the layers. If either is None, it is that of the largest mean reciprocal rank.
    ax
        Axes to draw into; a new figure if None.

    Returns
    -------
    Axes
        The axes, which are not shown.

    Raises
    ------
    ValueError
        If a result has no such layer, or there is no result.
    """
    from matplotlib.ticker import NullLocator, PercentFormatter, StrMethodFormatter

    several = isinstance(results, Mapping)
    named = dict(results) if isinstance(results, Mapping) else {"": results}
    if not named:
        raise ValueError("There is no result to draw: give one that `retrieval` returned.")
    names = labels(named) if several else [""]
    texts = [f"{name} · {WORDS[way]}" if several else WORDS[way] for name in names for way in DIRECTIONS]
    ax = new_axes(ax, 4.6 + legend_width(texts, None), 3.6)
    handles = []
    for hue, result in enumerate(named.values()):
        cells = result.at(layer_x, layer_y)
        for turn, direction in enumerate(DIRECTIONS):
            cell = cells.sel(direction=direction)
            look = line_look(hue % 7, turn + 2 * (hue // 7)) | {"marker": "o"}
            line = ax.errorbar(cell["k"], cell["recall"], cell["recall_error"], markersize=3, lw=1.4, **look)
            handles.append(line)
            (chance,) = ax.plot(cell["k"], cell["chance_recall"], color=GREY, lw=1, linestyle="--", zorder=0)
    outside_legend(ax, [*handles, chance], [*texts, "chance"])
    ax.set_xscale("log")
    ax.set_xticks(sorted({int(k) for result in named.values() for k in result.dataset["k"].values}))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_ylim(bottom=0)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis_labels(ax, "k, the places that count as found", "recall at k")
    return ax
