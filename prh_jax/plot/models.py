"""Models as points and trees: alignment against a covariate, the space of models, pairs by two metrics."""

from typing import Any

import numpy as np

from ..results.alignment import Alignment
from ..results.covariates import Covariate, covariate_values, pearson, spearman
from ..results.pairs import pair_scores
from ..results.reduce import How
from ..results.tables import self_cells
from ..results.wording import over_layers, quantity, value_words
from .base import (
    as_text,
    axis_labels,
    labels,
    legend_width,
    new_axes,
    number_axis,
    outside_legend,
    over_models,
    short_name,
    spans_decades,
    title,
)
from .colors import GREY, Families, colors_of, families_of, ink
from .points import numbered_points, put_numbers


def covariate_scatter(
    result: Alignment,
    metric: str,
    covariate: Covariate,
    *,
    side: str = "x",
    other: str | None = None,
    how: How = "best",
    families: Families = None,
    log: bool | None = None,
    xlabel: str | None = None,
    ax: Any = None,
) -> Any:
    """Draw the alignment of every model of a side against a number of the model, with the line of least squares.

    Each model has the number of its place in the result. The legend has Spearman's and Pearson's correlation, and
    `prh_jax.trend` tests Spearman's.

    Parameters
    ----------
    result, metric
        The scores to draw.
    covariate
        As in `prh_jax.trend`: numbers by model, numbers in the order of the models, or the name of assigned or recorded
        numbers.
    side
        The side of these models, "x" or "y".
    other
        The model of the other side; the mean over all of them if None. A model is not aligned with itself: if a model
        is on both sides, the mean is over the others, and `other` itself has no point.
    how
        From layer pairs to model pairs, as in `Alignment.reduce`.
    families
        Family of each model by name, or the name of an assigned or recorded value; the assigned `family` if None.
    log
        True makes the axis logarithmic, and takes the line and Pearson's correlation of the logarithms. If None, the
        axis is logarithmic if all numbers are positive and the greatest is at least 30 times the smallest.
    xlabel
        Label of the axis of numbers; the name of the covariate if None.
    ax
        Axes to draw into; a new figure if None.

    Returns
    -------
    Axes
        The axes, which are not shown.

    Raises
    ------
    ValueError
        If a model or metric is unknown, fewer than three models have a number, all numbers are equal, or the axis is
        logarithmic and a number is not positive.
    """
    if side not in ("x", "y"):
        raise ValueError(f"A side is 'x' or 'y', got {side!r}.")
    far = "y" if side == "x" else "x"
    table = result.reduce(metric, how).transpose(f"model_{side}", f"model_{far}")
    models = [str(name) for name in table[f"model_{side}"].values]
    if other is not None and other not in table[f"model_{far}"].values:
        names = ", ".join(map(str, table[f"model_{far}"].values))
        raise ValueError(f"Side {far} of this result has no model {other!r}; it has {names}.")
    own = self_cells(table)
    table = table.where(~own)
    chosen = table if other is None else table.sel({f"model_{far}": [other]})
    score = chosen.astype(float).mean(f"model_{far}", skipna=True).values
    number = covariate_values(result, models, covariate, side)
    known = np.isfinite(number) & np.isfinite(score)
    if known.sum() < 3 or np.ptp(number[known]) == 0:
        raise ValueError(f"A line needs at least 3 models with a number, not all equal; {int(known.sum())} have one.")
    if log and number[known].min() <= 0:
        raise ValueError(f"A logarithmic axis has no place for {number[known].min():g}: draw it with log=False.")
    log = spans_decades(number[known]) if log is None else log
    places = np.flatnonzero(known)
    numbers = (places + 1).tolist()
    number, score, models = number[known], score[known], [models[place] for place in places]
    (groups,) = families_of(result, {side: models}, families)
    colors = colors_of(result, families, groups or ())
    ax = new_axes(ax, 4.4 + legend_width(models, groups), max(4.0, 0.8 + 0.16 * len(models)))
    handles, texts = numbered_points(ax, number, score, models, groups, colors, numbers)
    along = np.log10(number) if log else number
    slope, intercept = np.polyfit(along, score, 1)
    ends = np.array([along.min(), along.max()])
    (line,) = ax.plot(10**ends if log else ends, intercept + slope * ends, color=GREY, lw=1.2, zorder=2)
    words = f"Spearman {spearman(number, score):.2f}, Pearson {pearson(along, score):.2f}" + " (log)" * log
    outside_legend(ax, [line, *handles], [words, *texts])
    number_axis(ax.xaxis, number, log=log)
    ax.margins(0.08)
    others = [str(name) for name in table[f"model_{far}"].values] if other is None else [other]
    with_whom = over_models(len(others), itself=bool(own.any()))
    with_whom = with_whom if len(others) > 1 else f"with {short_name(others[0], 44)}"
    name = covariate if isinstance(covariate, str) else "covariate"
    words = f"{value_words(result, metric)}, {over_layers(how)}, {with_whom}"
    axis_labels(ax, name if xlabel is None else xlabel, words)
    put_numbers(ax, number, score, groups, colors, numbers)
    return ax


def model_tree(
    result: Alignment,
    metric: str,
    *,
    how: How = "best",
    families: Families = None,
    ax: Any = None,
) -> Any:
    """Draw the dendrogram (average linkage) of the models of a study of one side with itself.

    The distance of two models is the highest score in the study minus their own. If the metric is a distance, it is
    their score minus the lowest.

    Parameters
    ----------
    result, metric
        The scores to draw.
    how
        From layer pairs to model pairs, as in `Alignment.reduce`.
    families
        Family of each model by name, or the name of an assigned or recorded value; the assigned `family` if None.
    ax
        Axes to draw into; a new figure if None.

    Returns
    -------
    Axes
        The axes, which are not shown.

    Raises
    ------
    ValueError
        If the result is not of one side with itself, has fewer than three models, or a score is NaN.
    """
    from matplotlib.transforms import ScaledTranslation
    from scipy.cluster import hierarchy
    from scipy.spatial.distance import squareform

    distances, models = model_distances(result, metric, how)
    tree = hierarchy.linkage(squareform(distances, checks=False), "average", optimal_ordering=True)
    ax = new_axes(ax, 6.2, 1.0 + 0.2 * len(models))
    drawn = hierarchy.dendrogram(tree, no_plot=True)
    for across, along in zip(drawn["icoord"], drawn["dcoord"], strict=True):
        ax.plot(along, (np.array(across) - 5) / 10, color=GREY, lw=1.2)
    names, (groups,) = labels(models), families_of(result, {"x": models}, families)
    ax.set_yticks(range(len(models)), [names[leaf] for leaf in drawn["leaves"]])
    ax.yaxis.tick_right()
    ax.set(xlim=(1.03 * max(map(max, drawn["dcoord"])) or 1, 0), ylim=(-0.6, len(models) - 0.4))
    if groups is not None:
        from matplotlib.lines import Line2D

        colors = colors_of(result, families, groups)
        marks: dict[str, dict[str, Any]] = {
            name: {"marker": "s", "linestyle": "", "color": ink(color)} for name, color in colors.items()
        }
        beside = ax.get_yaxis_transform() + ScaledTranslation(6 / 72, 0, ax.figure.dpi_scale_trans)
        for i, leaf in enumerate(drawn["leaves"]):
            ax.plot(1, i, markersize=5, transform=beside, clip_on=False, **marks[groups[leaf]])
        handles = [Line2D([], [], **mark) for mark in marks.values()]
        outside_legend(ax, handles, [as_text(name) for name in colors], where="below")
    name = quantity(result, metric)
    closer = result.provenance.larger_is_closer(metric)
    axis_labels(ax, f"distance: {f'highest score less {name}' if closer else f'{name} less the lowest'}")
    ax.tick_params(axis="y", length=0, labelsize=7, pad=12 if groups else 3)
    for name in ("left", "top", "right"):
        ax.spines[name].set_visible(False)
    return ax


def model_space(
    result: Alignment,
    metric: str,
    *,
    how: How = "best",
    families: Families = None,
    ax: Any = None,
) -> Any:
    """Draw the models of a study of one side with itself in the plane, by classical multidimensional scaling.

    Distances are those of `model_tree`. The title has the share of the squared distances that the plane keeps.

    Parameters
    ----------
    result, metric
        The scores to draw.
    how
        From layer pairs to model pairs, as in `Alignment.reduce`.
    families
        Family of each model by name, or the name of an assigned or recorded value; the assigned `family` if None.
    ax
        Axes to draw into; a new figure if None.

    Returns
    -------
    Axes
        The axes, which are not shown.

    Raises
    ------
    ValueError
        If the result is not of one side with itself, has fewer than three models, or a score is NaN.
    """
    distances, models = model_distances(result, metric, how)
    points, share = scale_down(distances)
    (groups,) = families_of(result, {"x": models}, families)
    colors = colors_of(result, families, groups or ())
    ax = new_axes(ax, 4.6 + legend_width(models, groups), max(4.2, 0.4 + 0.16 * len(models)))
    handles, texts = numbered_points(ax, points[:, 0], points[:, 1], models, groups, colors)
    outside_legend(ax, handles, texts)
    ax.set_aspect("equal", adjustable="datalim")
    ax.margins(0.1)
    axis_labels(ax, "first coordinate", "second coordinate")
    title(ax, f"{quantity(result, metric)}: {share:.0%} of the squared distances in the plane")
    put_numbers(ax, points[:, 0], points[:, 1], groups, colors)
    return ax


def metric_scatter(result: Alignment, metric_a: str, metric_b: str, *, how: How = "best", ax: Any = None) -> Any:
    """Draw the scores of all model pairs by two metrics, with their rank correlation.

    Each point is two different models. If they were scored in both orders, as in a study of one side with itself, the
    point is at the mean of both scores.

    Parameters
    ----------
    result
        The scores to draw.
    metric_a, metric_b
        The metrics of the two axes.
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
        If the result lacks a metric, or fewer than three pairs have a score by both.
    """
    a, b = (pair_scores(result, metric, how) for metric in (metric_a, metric_b))
    known = np.isfinite(a) & np.isfinite(b)
    if known.sum() < 3:
        raise ValueError(
            f"Only {int(known.sum())} pairs of two different models have a score by both {metric_a} and {metric_b}; a "
            "scatter needs at least 3."
        )
    a, b = a[known], b[known]
    ax = new_axes(ax, 4.4, 3.8)
    ax.plot(a, b, "o", markersize=4.5, color=ink("#000000"), markeredgecolor=ax.get_facecolor(), markeredgewidth=0.5)
    title(ax, f"Spearman {spearman(a, b):.2f}, {len(a)} model pairs")
    axis_labels(ax, value_words(result, metric_a), value_words(result, metric_b))
    return ax


def model_distances(result: Alignment, metric: str, how: How = "best") -> tuple[np.ndarray, list[str]]:
    """Distances between the models of one side (highest score minus the mean of both directions), and their names."""
    table = result.reduce(metric, how)
    models = [str(name) for name in table["model_x"].values]
    apart = ~np.eye(len(models), dtype=bool)
    if not np.array_equal(self_cells(table), ~apart):
        raise ValueError("A space of models needs a study of one side with itself: prh_jax.align(stores) without y.")
    if len(models) < 3:
        raise ValueError(f"A space of models needs at least 3 of them; there are {len(models)}.")
    sign = result.provenance.sign(metric)
    scores = sign * table.values.astype(float)
    if np.isnan(scores[apart]).any():
        i, j = np.argwhere(np.isnan(scores) & apart)[0]
        raise ValueError(f"{models[i]!r} has no score (NaN) with {models[j]!r} by {metric}: leave one of them out.")
    scores = (scores + scores.T) / 2
    distances = np.nanmax(scores) - scores
    np.fill_diagonal(distances, 0)
    return distances, models


def scale_down(distances: np.ndarray) -> tuple[np.ndarray, float]:
    """Points in the plane with about these distances (Torgerson 1952), and their share of the positive spectrum."""
    centre = np.eye(len(distances)) - 1 / len(distances)
    values, vectors = np.linalg.eigh(-centre @ distances**2 @ centre / 2)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    vectors = vectors * np.where(np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], 0) < 0, -1, 1)
    total = values.sum()
    return vectors[:, :2] * np.sqrt(values[:2]), float(values[:2].sum() / total) if total > 0 else 1.0
