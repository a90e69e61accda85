"""Models and their controls: what training adds to alignment."""

from typing import Any

import numpy as np

from ..results.alignment import Alignment
from ..results.controls import choose_side
from ..results.reduce import How
from ..results.wording import over_layers, value_words
from .base import axis_labels, labels, new_axes, outside_legend, title
from .colors import COLORS, GREY, ink


def above_control(result: Alignment, metric: str, *, side: str | None = None, how: How = "best", ax: Any = None) -> Any:
    """Draw the score of each model that has a control, filled, next to that of random weights, hollow.

    Each model of the other side has a colour. If there are more than eight, the points are the means over them. If the
    result has a calibration of the best layer pair, a dashed line is the strictest critical score of the pairs in the
    figure.

    Parameters
    ----------
    result
        A result that holds models and their controls (`prh extract --control random-init`).
    metric
        One of its metrics.
    side
        The side whose models have controls, as in `Alignment.above_control`.
    how
        From layer pairs to model pairs, as in `Alignment.reduce`.
    ax
        Axes to draw into; a new figure if None.

    Returns
    -------
    Axes
        The axes, which are not shown.

    Raises
    ------
    ValueError
        If no model has its control in this result.
    """
    table = result.above_control(metric, how, side=side)
    own = choose_side({name: result.controls(name) for name in "xy"}, side)
    far = "x" if own == "y" else "y"
    table = table.transpose(f"model_{own}", f"model_{far}")
    models, partners = ([str(name) for name in table[f"model_{name}"].values] for name in (own, far))
    trained, control = table["trained"].values, table["control"].values
    names = labels(partners, 32)
    if len(partners) > len(COLORS):
        trained, control = (np.nanmean(values, axis=1, keepdims=True) for values in (trained, control))
        names = [f"mean over {len(partners)} models"]
    ax = new_axes(ax, 6.4, 1.2 + (0.24 + 0.1 * len(names)) * len(models))
    rows = -np.arange(len(models), dtype=float)
    for i, name in enumerate(names):
        color, at = ink(COLORS[i]), rows + 0.5 * ((len(names) - 1) / 2 - i) / len(names)
        ax.hlines(at, control[:, i], trained[:, i], color=color, lw=1, alpha=0.6, zorder=2)
        ax.plot(control[:, i], at, "o", markersize=5, markerfacecolor=ax.get_facecolor(), color=color, zorder=3)
        ax.plot(trained[:, i], at, "o", markersize=5, color=color, label=name, zorder=4)
    handles, texts = ax.get_legend_handles_labels()
    (hollow,) = ax.plot([], [], "o", markersize=5, markerfacecolor=ax.get_facecolor(), color=GREY)
    handles, texts = [*handles, hollow], [*texts, "random weights"]
    null = None if result.calibration is None else result.calibration.settings["null"]
    if null is not None and how == "best" and null["aggregate"] == "max":
        tau = result.calibrated_pairs(metric)["tau"].sel({f"model_{own}": models, f"model_{far}": partners})
        strict = tau.max() if result.provenance.larger_is_closer(metric) else tau.min()
        handles.append(ax.axvline(float(strict), color=GREY, lw=1, ls="--", zorder=1))
        texts.append(f"critical score, level {null['alpha']:g}")
    ax.set_yticks(rows, labels(models))
    ax.set_ylim(rows[-1] - 0.6, 0.6)
    axis_labels(ax, f"{value_words(result, metric)}, {over_layers(how)}")
    title(ax, "What training adds")
    outside_legend(ax, handles, texts)
    return ax
