"""Lines: alignment against depth, against the number of samples or neighbours, and the null of a pair."""

from typing import Any

import numpy as np
import xarray as xr

from ..results.alignment import Alignment
from ..results.reduce import model_blocks
from .base import COLORS, GREY, STYLES, as_text, labels, legend_width, new_axes, outside_legend


def depth_curve(
    result: Alignment, metric: str, *, model_x: str | None = None, model_y: str | None = None, ax: Any = None
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
    ax
        Axes to draw into; a new figure if None.

    Returns
    -------
    Axes
        The axes, which are not shown.

    Raises
    ------
    ValueError
        If nothing is left to compare.
    """
    from matplotlib.ticker import PercentFormatter

    scores = result.layers(metric, model_x, model_y, with_self=False).transpose("layer_x", "layer_y")
    if model_y is None:
        own = result.own_blocks(scores)
        if own.all():
            raise ValueError(
                "Every pair of these models is a model with itself: no evidence about y. Name it on both sides "
                "(model_x=, model_y=) to see its layers with one another."
            )
        scores = scores.where(~own)
    sign = result.provenance.sign(metric)
    values = sign * scores.values.astype(float)
    known = ~np.isnan(values).all(axis=1)
    best = np.full(len(values), np.nan)
    best[known] = sign * np.nanmax(values[known], axis=1)
    blocks = model_blocks(scores["model_x"].values)
    ax = new_axes(ax, 4.6 + legend_width(blocks, None), max(3.8, 0.4 + 0.15 * len(blocks)))
    lines = []
    for i, rows in enumerate(blocks.values()):
        count = rows.stop - rows.start
        depth = np.arange(count) / (count - 1) if count > 1 else np.ones(1)
        style = {"color": COLORS[i % 7], "linestyle": STYLES[i // 7 % len(STYLES)]}
        lines += ax.plot(depth, best[rows], marker="o" if count < 3 else None, markersize=3, lw=1.4, **style)
    outside_legend(ax, lines, labels(blocks))
    ax.set(xlim=(0, 1))
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.set_xlabel("relative depth in x", fontsize=8)
    with_whom = "all of y" if model_y is None else labels([model_y], 28)[0]
    ax.set_ylabel(f"{as_text(metric)}, best layer of {with_whom}", fontsize=8)
    ax.tick_params(labelsize=8)
    return ax


def null_histogram(result: Alignment, metric: str, model_x: str, model_y: str, *, ax: Any = None) -> Any:
    """Draw the null distribution of a model pair, with its score and the critical score.

    Of a model with itself the title says that its score is no evidence, in place of p.
    """
    result.layers(metric, model_x, model_y)
    at = {"model_x": model_x, "model_y": model_y}
    pair = result.calibrated_pairs(metric).sel(at)
    assert result.calibration is not None  # else there were no pairs of it
    null = result.calibration.null(metric).sel(at).values.astype(float)
    null = null[np.isfinite(null)]
    ax = new_axes(ax, 5.4, 3.6)
    *_, bars = ax.hist(null, bins=min(30, max(5, int(len(null) ** 0.5))), color=COLORS[0], linewidth=0)
    observed = ax.axvline(float(pair["score"]), color=COLORS[1], lw=2)
    critical = ax.axvline(float(pair["tau"]), color=GREY, lw=1.2, linestyle="--")
    level = result.calibration.settings["null"]["alpha"]
    texts = [
        f"{len(null)} orders",
        f"score {float(pair['score']):.4f}",
        f"critical at {level:g}: {float(pair['tau']):.4f}",
    ]
    outside_legend(ax, [bars, observed, critical], texts, where="below")
    aggregate = result.calibration.settings["null"]["aggregate"]
    ax.set_xlabel(f"{as_text(metric)}, {as_text(aggregate)} over layer pairs", fontsize=8)
    ax.set_ylabel("orders", fontsize=8)
    ax.tick_params(labelsize=8)
    if pair["self_pair"]:
        words = f"{labels([model_x], 34)[0]} with itself: no evidence"
    else:
        words = f"{' with '.join(labels([model_x, model_y], 34))}: p = {float(pair['p']):.3g}"
    ax.set_title(words, fontsize=9)
    return ax


def sample_curve(curve: xr.Dataset, *, ax: Any = None, name: str = "score") -> Any:
    """Score and chance against the number of samples or of neighbours: what `curve_over_n`, `curve_over_k` return."""
    along = next((dim for dim in ("n", "k") if dim in curve.dims), None)
    if along is None:
        raise ValueError(
            f"A curve has a dimension n or k, as curve_over_n and curve_over_k give; this has {curve.dims}."
        )
    at = curve[along].values
    mean, spread = curve["null_mean"].values, curve["null_sd"].values
    ax = new_axes(ax, 5.6, 3.4)
    band = ax.fill_between(at, mean - 2 * spread, mean + 2 * spread, color=COLORS[5], alpha=0.4, linewidth=0)
    (chance,) = ax.plot(at, mean, color=COLORS[5], lw=1.2)
    (critical,) = ax.plot(at, curve["tau"].values, color=GREY, lw=1.2, linestyle="--")
    (score,) = ax.plot(at, curve["score"].values, "o-", color=COLORS[1], lw=1.6, markersize=4)
    outside_legend(ax, [score, critical, (band, chance)], [name, "critical score", "chance: mean, 2 sd"])
    ax.set_xlabel("number of samples" if along == "n" else "number of neighbours k", fontsize=8)
    ax.set_ylabel(as_text(name), fontsize=8)
    ax.tick_params(labelsize=8)
    return ax
