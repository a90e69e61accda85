"""Groups of models: alignment within each and with the others."""

from typing import Any

import numpy as np

from ..results.alignment import Alignment
from ..results.groups import compare_groups
from ..results.reduce import How
from ..results.wording import over_layers, value_words
from .base import axis_labels, labels, new_axes, outside_legend, title
from .colors import COLORS, GREY, Families, colors_of, ink


def groups(
    result: Alignment,
    metric: str,
    *,
    families: Families = None,
    values: str = "score",
    how: How = "best",
    orders: int = 9999,
    seed: int = 0,
    confidence: float = 0.95,
    ax: Any = None,
) -> Any:
    """Draw the mean score within each group of models, filled, and with models of other groups, hollow.

    Lines are intervals over models, as `prh_jax.compare_groups` returns them. A group of one model has only a hollow
    point. The title has the difference over all groups, and p from permutations of the models.

    Parameters
    ----------
    result, metric
        The scores to draw.
    families
        Group of each model by name, or the name of an assigned or recorded value; the assigned `family` if None.
    values
        "score", or "calibrated" (0 is chance) if the result has a calibration.
    how
        From layer pairs to model pairs, as in `Alignment.reduce`.
    orders, seed, confidence
        As in `prh_jax.compare_groups`.
    ax
        Axes to draw into; a new figure if None.

    Returns
    -------
    Axes
        The axes, which are not shown.

    Raises
    ------
    ValueError
        If no two models are of one group, or none are of different groups.
    """
    found = compare_groups(
        result, families, metric, values=values, how=how, orders=orders, seed=seed, confidence=confidence
    )
    table = found.table.drop_sel(part="difference")
    names = [str(name) for name in table["group"].values]
    few = len(names) <= len(COLORS) + 1
    colors = colors_of(result, families, names[:-1]) if few else dict.fromkeys(names[:-1], COLORS[0])
    ax = new_axes(ax, 6.4, 1.2 + 0.36 * len(names))
    rows = -np.arange(len(names), dtype=float)
    rows[-1] -= 0.4
    paper = ax.get_facecolor()
    for part, aside in (("within", 0.13), ("between", -0.13)):
        mean, low, high = (table[name].sel(part=part).values for name in ("mean", "low", "high"))
        for at, name, *ends in zip(rows + aside, names, mean, low, high, strict=True):
            color = ink(colors.get(name, "#000000"))
            inside = color if part == "within" else paper
            ax.plot(ends[1:], [at, at], color=color, lw=1.4, solid_capstyle="butt", zorder=2)
            ax.plot(ends[0], at, "o", markersize=5.5, color=color, markerfacecolor=inside, zorder=3)
    marks = [ax.plot([], [], "o", markersize=5.5, color=GREY, markerfacecolor=face)[0] for face in (GREY, paper)]
    (line,) = ax.plot([], [], color=GREY, lw=1.4)
    ax.axhline(rows[-1] + 0.7, color=GREY, lw=0.6, alpha=0.5)
    ax.set_yticks(rows, [*labels(names[:-1]), "all groups"])
    ax.set_ylim(rows[-1] - 0.5, 0.5)
    words = value_words(result, metric, values) + (f", {over_layers(how)}" if values == "score" else "")
    axis_labels(ax, words)
    title(ax, f"Difference {found.difference:.3f}, p = {found.p:.2g} (permutations of models)")
    outside_legend(ax, [*marks, line], ["same group", "other groups", f"{confidence:.0%} interval"], where="below")
    return ax
