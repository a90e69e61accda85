"""Alignment against depth, and against the number of samples or neighbours; the null distribution of a pair."""

from typing import Any

import numpy as np
import xarray as xr

from ..results.alignment import Alignment
from ..results.reduce import model_blocks
from ..results.wording import over_layers, value_words
from .base import as_text, axis_labels, labels, legend_width, names_apart, new_axes, outside_legend, short_name, title
from .colors import GREY, Families, colors_of, families_of, ink, line_look


def depth_curve(
    result: Alignment,
    metric: str,
    *,
    model_x: str | None = None,
    model_y: str | None = None,
    families: Families = None,
    ax: Any = None,
) -> Any:
    """Draw the best score over the layers of y at every relative depth of x, a line for each model of x.

    A model is not compared with itself. If `model_y` is a model of x too, its own line is the best over its other
    layers.

    Parameters
    ----------
    result, metric
        The scores to draw.
    model_x
        One model of x; all if None.
    model_y
        Take the best over the layers of this model; over the layers of all models of y if None.
    families
        Family of each model by name, or the name of an assigned or recorded value; the assigned `family` if None. The
        lines of a family have one colour.
    ax
        Axes to draw into; a new figure if None.

    Returns
    -------
    Axes
        The axes, which are not shown.

    Raises
    ------
    ValueError
        If nothing is left to compare, or the result has no such model or metric.
    """
    from matplotlib.ticker import PercentFormatter

    scores = result.layers(metric, model_x, model_y, with_self=False).transpose("layer_x", "layer_y")
    if model_y is None:
        own = result.own_blocks(scores)
        if own.all():
            raise ValueError(
                "Every pair of these models is a model with itself: no evidence about y. Name it on both sides "
                "(model_x=, model_y=) to compare its layers with one another."
            )
        scores = scores.where(~own)
    sign = result.provenance.sign(metric)
    values = sign * scores.values.astype(float)
    known = ~np.isnan(values).all(axis=1)
    best = np.full(len(values), np.nan)
    best[known] = sign * np.nanmax(values[known], axis=1)
    blocks = model_blocks(scores["model_x"].values)
    (groups,) = families_of(result, {"x": blocks}, families)
    colors = colors_of(result, families, groups or ())
    ax = new_axes(ax, 4.6 + legend_width(blocks, groups), max(3.8, 0.4 + 0.16 * len(blocks)))
    lines = []
    for i, rows in enumerate(blocks.values()):
        count = rows.stop - rows.start
        depth = np.arange(count) / (count - 1) if count > 1 else np.ones(1)
        style = line_look(i % 7, i // 7)
        if groups is not None:
            style = line_look(0, groups[:i].count(groups[i])) | {"color": ink(colors[groups[i]])}
        style["marker"] = style["marker"] if count < 3 or style["marker"] != "o" else None
        lines += ax.plot(depth, best[rows], markersize=3, lw=1.4, **style)
    names = labels(blocks)
    outside_legend(
        ax, lines, names if groups is None else [f"{n} · {as_text(g)}" for n, g in zip(names, groups, strict=True)]
    )
    ax.set(xlim=(0, 1))
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    with_whom = "all models of y" if model_y is None else short_name(model_y, 44)
    axis_labels(ax, "relative depth in x", f"{value_words(result, metric)}, best layer of {with_whom}")
    return ax


def null_histogram(result: Alignment, metric: str, model_x: str, model_y: str, *, ax: Any = None) -> Any:
    """Draw the null distribution of a model pair, with its score and the critical score.

    The title has p. For a model with itself it says that the score is no evidence. Chance is grey, a colour that no
    family has.

    Parameters
    ----------
    result, metric
        A result with a calibration, and one of its metrics.
    model_x, model_y
        Labels of the two models.
    ax
        Axes to draw into; a new figure if None.

    Returns
    -------
    Axes
        The axes, which are not shown.

    Raises
    ------
    ValueError
        If the result has no calibration, or no such model or metric.
    """
    from matplotlib.ticker import MaxNLocator

    result.layers(metric, model_x, model_y)
    at = {"model_x": model_x, "model_y": model_y}
    pair = result.calibrated_pairs(metric).sel(at)
    assert result.calibration is not None  # else there were no pairs of it
    null = result.calibration.null(metric).sel(at).values.astype(float)
    null = null[np.isfinite(null)]
    ax = new_axes(ax, 5.4, 3.6)
    *_, bars = ax.hist(null, bins=min(30, max(5, int(len(null) ** 0.5))), color=GREY, linewidth=0)
    observed = ax.axvline(float(pair["score"]), color=ink("#000000"), lw=2)
    critical = ax.axvline(float(pair["tau"]), color=ink("#000000"), lw=1.2, linestyle="--")
    ax.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    level = result.calibration.settings["null"]["alpha"]
    texts = [
        f"{len(null)} orders",
        f"score {float(pair['score']):.4f}",
        f"critical at {level:g}: {float(pair['tau']):.4f}",
    ]
    outside_legend(ax, [bars, observed, critical], texts, where="below")
    aggregate = result.calibration.settings["null"]["aggregate"]
    axis_labels(ax, f"{value_words(result, metric)}, {over_layers(aggregate)}", "orders")
    if pair["self_pair"]:
        words = f"{short_name(model_x, 44)} with itself: no evidence"
    else:
        words = f"{' with '.join(names_apart([model_x, model_y], 44))}: p = {float(pair['p']):.3g}"
    title(ax, words)
    return ax


def sample_curve(curve: xr.Dataset, *, ax: Any = None, name: str = "score") -> Any:
    """Draw the score and the null distribution against the number of samples or of neighbours.

    The null distribution is its mean and a band of two standard deviations on either side.

    Parameters
    ----------
    curve
        A curve that `curve_over_n` or `curve_over_k` returned.
    ax
        Axes to draw into; a new figure if None.
    name
        Label of the score.

    Returns
    -------
    Axes
        The axes, which are not shown.

    Raises
    ------
    ValueError
        If `curve` has no dimension n or k.
    """
    along = next((dim for dim in ("n", "k") if dim in curve.dims), None)
    if along is None:
        raise ValueError(
            f"A curve has a dimension n or k, as curve_over_n and curve_over_k give; this has {curve.dims}."
        )
    at = curve[along].values
    mean, spread = curve["null_mean"].values, curve["null_sd"].values
    ax = new_axes(ax, 5.6, 3.4)
    band = ax.fill_between(at, mean - 2 * spread, mean + 2 * spread, color=GREY, alpha=0.4, linewidth=0)
    (chance,) = ax.plot(at, mean, color=GREY, lw=1.2)
    (critical,) = ax.plot(at, curve["tau"].values, color=ink("#000000"), lw=1.2, linestyle="--")
    (score,) = ax.plot(at, curve["score"].values, "o-", color=ink("#000000"), lw=1.6, markersize=4)
    outside_legend(ax, [score, critical, (band, chance)], [name, "critical score", "chance: mean, 2 sd"])
    axis_labels(ax, "number of samples" if along == "n" else "number of neighbours k", name)
    return ax
