"""Dimensions of layers against depth."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..results.description import WORDS, Description
from .base import as_text, axis_labels, labels, legend_width, new_axes, outside_legend
from .colors import family_colors, ink, line_look


def dimension_curve(
    result: Description,
    estimator: str | None = None,
    *,
    families: Mapping[str, str] | None = None,
    log: bool = False,
    ax: Any = None,
) -> Any:
    """Draw the dimension of the layers of each model against relative depth, with a band of one standard error.

    Parameters
    ----------
    result
        The dimensions that `prh_jax.describe` returned.
    estimator
        One of its estimators; the first if None.
    families
        Family of each model by name. The lines of a family have one colour.
    log
        True makes the axis of dimensions logarithmic.
    ax
        Axes to draw into; a new figure if None.

    Returns
    -------
    Axes
        The axes, which are not shown.

    Raises
    ------
    ValueError
        If the result has no such estimator, or a model has no family.
    """
    from matplotlib.ticker import PercentFormatter, ScalarFormatter

    estimator = result.estimators[0] if estimator is None else estimator
    if estimator not in result.estimators:
        raise ValueError(f"This result has no estimator {estimator!r}; it has {', '.join(result.estimators)}.")
    lacking = [] if families is None else [model for model in result.models if model not in families]
    if lacking:
        raise ValueError(f"No family is given for model {lacking[0]!r} ({len(lacking)} have none).")
    groups = None if families is None else [str(families[model]) for model in result.models]
    colors = family_colors(groups or ())
    ax = new_axes(ax, 4.6 + legend_width(result.models, groups), max(3.8, 0.4 + 0.16 * len(result.models)))
    found, handles = result.dataset.sel(estimator=estimator), []
    for i, model in enumerate(result.models):
        rows = found.isel(layer=np.flatnonzero(found["model"].values == model))
        depth, value, error = (rows[name].values for name in ("relative_depth", "value", "standard_error"))
        look = line_look(i % 7, i // 7)
        if groups is not None:
            look = line_look(0, groups[:i].count(groups[i])) | {"color": ink(colors[groups[i]])}
        (line,) = ax.plot(depth, value, markersize=3, lw=1.4, **look)
        if np.isfinite(error).any() and len(depth) > 1:
            band = ax.fill_between(depth, value - error, value + error, color=look["color"], alpha=0.2, linewidth=0)
            handles.append((band, line))
            continue
        if np.isfinite(error).any():
            ax.errorbar(depth, value, error, color=look["color"], lw=1.4)
        handles.append(line)
    names = labels(result.models)
    texts = names if groups is None else [f"{n} · {as_text(g)}" for n, g in zip(names, groups, strict=True)]
    outside_legend(ax, handles, texts)
    ax.set(xlim=(-0.02, 1.02))
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    if log:
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(ScalarFormatter())
    else:
        ax.set_ylim(bottom=0)
    axis_labels(ax, "relative depth", WORDS[estimator])
    return ax
