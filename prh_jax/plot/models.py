"""Models as points and trees: alignment against a covariate, the space of models, how metrics agree on pairs."""

from typing import Any

import numpy as np

from ..results.alignment import Alignment
from ..results.covariates import Covariate, covariate_values, pearson, spearman
from ..results.pairs import pair_scores
from ..results.reduce import How
from ..results.tables import self_cells
from .base import (
    COLORS,
    GREY,
    Families,
    as_text,
    families_of,
    family_colors,
    labels,
    legend_width,
    new_axes,
    numbered_points,
    outside_legend,
    put_numbers,
    title,
)


def covariate_scatter(
    result: Alignment,
    metric: str,
    covariate: Covariate,
    *,
    side: str = "x",
    other: str | None = None,
    how: How = "best",
    families: Families = None,
    ax: Any = None,
) -> Any:
    """Draw the alignment of every model of a side against a number of the model, with the line of least squares.

    The legend has Spearman's and Pearson's correlation. `prh_jax.trend` tests them.

    Parameters
    ----------
    result, metric
        The scores to draw.
    covariate
        As in `prh_jax.trend`: by model, in their order, or a name that was assigned or recorded.
    side
        The side of these models, "x" or "y".
    other
        The model of the other side; the mean over all of them if None. A model is not aligned with itself: if a model
        is on both sides, the mean is over the others, and `other` itself has no point.
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
    number, score, models = number[known], score[known], [m for m, k in zip(models, known, strict=True) if k]
    (groups,) = families_of(result, {side: models}, families)
    ax = new_axes(ax, 4.4 + legend_width(models, groups), max(4.0, 0.8 + 0.15 * len(models)))
    handles, texts = numbered_points(ax, number, score, models, groups)
    slope, intercept = np.polyfit(number, score, 1)
    ends = np.array([number.min(), number.max()])
    (line,) = ax.plot(ends, intercept + slope * ends, color=GREY, lw=1.2, zorder=2)
    words = f"Spearman {spearman(number, score):.2f}, Pearson {pearson(number, score):.2f}"
    outside_legend(ax, [line, *handles], [words, *texts])
    ax.margins(0.08)
    ax.set_xlabel(as_text(covariate) if isinstance(covariate, str) else "covariate", fontsize=8)
    of_all = f"mean over {table.sizes[f'model_{far}']} models" + ", itself aside" * bool(own.any())
    with_whom = of_all if other is None else labels([other], 28)[0]
    ax.set_ylabel(f"{as_text(metric)}, {with_whom}", fontsize=8)
    ax.tick_params(labelsize=8)
    put_numbers(ax, number, score, groups)
    return ax


def model_tree(
    result: Alignment,
    metric: str,
    *,
    how: How = "best",
    families: Families = None,
    ax: Any = None,
) -> Any:
    """Dendrogram of the models of a study of one side with itself (average linkage)."""
    from scipy.cluster import hierarchy
    from scipy.spatial.distance import squareform

    distances, models = model_distances(result, metric, how)
    tree = hierarchy.linkage(squareform(distances, checks=False), "average", optimal_ordering=True)
    ax = new_axes(ax, 6.2, 1.0 + 0.2 * len(models))
    drawn = hierarchy.dendrogram(tree, no_plot=True)
    for across, along in zip(drawn["icoord"], drawn["dcoord"], strict=True):
        ax.plot(along, (np.array(across) - 5) / 10, color=COLORS[0], lw=1.2)
    names, (groups,) = labels(models), families_of(result, {"x": models}, families)
    ax.set_yticks(range(len(models)), [names[leaf] for leaf in drawn["leaves"]])
    ax.yaxis.tick_right()
    ax.tick_params(axis="y", length=0, labelsize=7, pad=9 if groups else 3)
    ax.tick_params(axis="x", labelsize=7)
    ax.set(xlim=(1.03 * max(map(max, drawn["dcoord"])) or 1, 0), ylim=(-0.6, len(models) - 0.4))
    if groups is not None:
        from matplotlib.lines import Line2D

        colors = family_colors(groups)
        marks: dict[str, dict[str, Any]] = {
            name: {"marker": "s", "linestyle": "", "color": color} for name, color in colors.items()
        }
        for i, leaf in enumerate(drawn["leaves"]):
            ax.plot(1.02, i, markersize=5, transform=ax.get_yaxis_transform(), clip_on=False, **marks[groups[leaf]])
        handles = [Line2D([], [], **mark) for mark in marks.values()]
        outside_legend(ax, handles, [as_text(name) for name in colors], where="below")
    ax.set_xlabel(f"distance: highest score less {as_text(metric)}", fontsize=8)
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
    """The models of a study of one side with itself in the plane: classical multidimensional scaling."""
    distances, models = model_distances(result, metric, how)
    points, share = scale_down(distances)
    (groups,) = families_of(result, {"x": models}, families)
    ax = new_axes(ax, 4.6 + legend_width(models, groups), max(4.2, 0.4 + 0.15 * len(models)))
    handles, texts = numbered_points(ax, points[:, 0], points[:, 1], models, groups)
    outside_legend(ax, handles, texts)
    ax.set_aspect("equal", adjustable="datalim")
    ax.margins(0.1)
    ax.tick_params(labelsize=7)
    title(ax, f"{metric}: {share:.0%} of the squared distances in the plane")
    put_numbers(ax, points[:, 0], points[:, 1], groups)
    return ax


def metric_scatter(result: Alignment, metric_a: str, metric_b: str, *, how: How = "best", ax: Any = None) -> Any:
    """Scores of all model pairs by two metrics, with their rank correlation.

    A point is two models: none is a model with itself, and where two models were scored in both orders, as in a study
    of one side with itself, the point has the mean of both.
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
    ax.plot(a, b, "o", markersize=4, color=COLORS[0], alpha=0.6, markeredgewidth=0)
    title(ax, f"Spearman {spearman(a, b):.2f}, {len(a)} model pairs")
    ax.set_xlabel(as_text(metric_a), fontsize=8)
    ax.set_ylabel(as_text(metric_b), fontsize=8)
    ax.tick_params(labelsize=8)
    return ax


def model_distances(result: Alignment, metric: str, how: How = "best") -> tuple[np.ndarray, list[str]]:
    """Distances between the models of one side, and their names: the highest score less both directions' mean score."""
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
    """Points in the plane with about these distances (Torgerson 1952), and the share of the positive spectrum kept."""
    centre = np.eye(len(distances)) - 1 / len(distances)
    values, vectors = np.linalg.eigh(-centre @ distances**2 @ centre / 2)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    vectors = vectors * np.where(np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], 0) < 0, -1, 1)
    total = values.sum()
    return vectors[:, :2] * np.sqrt(values[:2]), float(values[:2].sum() / total) if total > 0 else 1.0
