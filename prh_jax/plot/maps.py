"""Heat maps: models by models, layers by layers, metrics by metrics."""

from typing import Any

import numpy as np
import xarray as xr

from ..null.layer_matching import layer_weights
from ..results.alignment import Alignment
from ..results.covariates import spearman
from ..results.pairs import pair_scores
from ..results.reduce import How
from ..results.tables import self_cells
from ..results.wording import over_layers, quantity, spelled, value_words
from .base import as_text, axis_labels, labels, new_axes, outside_legend, short_name, title, wrapped
from .colors import Families, colors_of, families_of, ink, ink_upon

HATCHED: dict[str, Any] = {"facecolor": "#ededed", "edgecolor": "#b5b5b5", "hatch": "////", "linewidth": 0}
"""Look of the cell of a model or layer with itself, which has no colour of the scale."""
_RATES = {"p": "p", "q_bh": "q (Benjamini-Hochberg)", "q_by": "q (Benjamini-Yekutieli)"}


def heat_map(
    scores: xr.DataArray, *, ax: Any = None, title: str = "", low: float | None = None, high: float | None = None
) -> Any:
    """Draw model-by-model scores as coloured cells with numbers; rows are models of x, columns models of y.

    A model with itself (the coordinate `self_pair` of the scores) is hatched, and does not affect the colours.

    Parameters
    ----------
    scores
        Table (model_x, model_y) of `Alignment.scores` or `Alignment.reduce`.
    ax
        Axes to draw into; a new figure if None.
    title
        Title of the figure.
    low, high
        Ends of the colour scale; the least and the greatest score if None. The score at chance is a good `low`.

    Returns
    -------
    Axes
        The axes, which are not shown.
    """
    rows, columns = (labels(scores[f"model_{side}"].values) for side in "xy")
    return _cells(
        scores.values,
        rows,
        columns,
        ax=ax,
        heading=title,
        name=spelled(str(scores.name or "score")),
        low=low,
        high=high,
        own=self_cells(scores),
    )


def model_map(
    result: Alignment,
    metric: str,
    *,
    how: How = "best",
    values: str = "score",
    cluster: bool = True,
    families: Families = None,
    significance: str | None = None,
    alpha: float = 0.05,
    ax: Any = None,
) -> Any:
    """Draw the scores of the models of x with those of y, in the order of a hierarchical clustering.

    Bright cells are close, even if the metric is a distance. A model with itself is hatched: it does not affect the
    colours and the clustering, and is never pale.

    Parameters
    ----------
    result, metric
        The scores to draw.
    how
        From layer pairs to model pairs, as in `Alignment.reduce`.
    values
        "score", or "calibrated" (0 is chance) if the result has a calibration.
    cluster
        False keeps the order of the result.
    families
        Family of each model by name, or the name of an assigned or recorded value ("pool"), drawn as coloured strips;
        the assigned `family` if None.
    significance
        "p", "q_bh" or "q_by" of the calibration: cells above `alpha` are pale. None makes no cell pale.
    alpha
        Level of significance.
    ax
        Axes to draw into; a new figure if None.

    Returns
    -------
    Axes
        The axes, which are not shown.

    Raises
    ------
    ValueError
        If a setting is unknown, or the result has no such metric or no calibration that the settings need.
    """
    if values not in ("score", "calibrated"):
        raise ValueError(f"values is 'score' or 'calibrated', got {values!r}.")
    table = result.reduce(metric, how) if values == "score" else result.calibrated_pairs(metric)["calibrated"]
    rows, columns = np.arange(table.shape[0]), np.arange(table.shape[1])
    if cluster:
        own = self_cells(table)
        rows, columns = leaf_order(table.values, own), leaf_order(table.values.T, own.T)
    table = table[rows][:, columns]
    own = self_cells(table)
    pale = None
    if significance is not None:
        if significance not in _RATES:
            raise ValueError(f"significance is 'p', 'q_bh' or 'q_by', got {significance!r}.")
        pale = (result.calibrated_pairs(metric)[significance].values[rows][:, columns] > alpha) & ~own
    sides = families_of(result, {side: table[f"model_{side}"].values for side in "xy"}, families)
    heading = over_layers(how) if values == "score" else "0 is chance"
    names = [labels(table[f"model_{side}"].values) for side in "xy"]
    ax = _cells(
        table.values,
        *names,
        ax=ax,
        heading=heading,
        name=value_words(result, metric, values),
        turned=values == "score" and not result.provenance.larger_is_closer(metric),
        low=0.0 if values == "calibrated" else None,
        own=own,
        pale=pale,
        strips=any(side is not None for side in sides),
    )
    colors = colors_of(result, families, [family for side in sides for family in side or ()])
    _explain(
        ax,
        sides,
        colors,
        None if pale is None else f"pale: {_RATES[str(significance)]} above {alpha:g}",
        own=bool(own.any()),
    )
    return ax


def layer_map(
    result: Alignment, metric: str, model_x: str, model_y: str, *, match: str | None = None, ax: Any = None
) -> Any:
    """Draw the layer-by-layer scores of one model pair, with a ring around the best layer pair.

    Depth grows to the right and down. Bright cells are close, even if the metric is a distance. If both models are the
    same, each layer with itself is hatched, and the best pair is of two different layers.

    Parameters
    ----------
    result, metric
        The scores to draw.
    model_x, model_y
        Labels of the two models.
    match
        Mark the layers that match, by a way of `match_layers`: "assignment", "dtw" or "transport". Larger dots weigh
        more. The title has the score of the match.
    ax
        Axes to draw into; a new figure if None.

    Returns
    -------
    Axes
        The axes, which are not shown.

    Raises
    ------
    ValueError
        If the result has no such model or metric.
    """
    from matplotlib.ticker import MaxNLocator

    scores = result.layers(metric, model_x, model_y, with_self=False).transpose("layer_x", "layer_y")
    best = result.best(metric, with_self=False).sel(model_x=model_x, model_y=model_y)
    ax = new_axes(ax, 5.2, 4.0)
    cmap = _color_map(turned=not result.provenance.larger_is_closer(metric))
    image = ax.imshow(np.ma.masked_invalid(scores.values.astype(float)), cmap=cmap, aspect="auto", origin="upper")
    ax.set_facecolor("lightgrey")
    if best["self_pair"]:
        _hatch(ax, np.eye(*scores.shape, dtype=bool))
    if best["depth_x"] >= 0:
        at = (float(best["depth_y"]), float(best["depth_x"]))
        ax.plot(*at, "o", markersize=11, markerfacecolor="none", markeredgecolor="white", markeredgewidth=3.2)
        ax.plot(*at, "o", markersize=11, markerfacecolor="none", markeredgecolor="black", markeredgewidth=1.8)
    matched = None
    if match is not None and best["depth_x"] >= 0:
        matched = _dots(ax, scores.values, match, result.provenance.sign(metric))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axis_labels(ax, *(f"depth in {short_name(model, 40)}" for model in (model_y, model_x)))
    if best["depth_x"] >= 0:
        _bar(ax, image, value_words(result, metric), 3.2)
    where = "" if matched is None else f"{over_layers(match)} {matched:.4f}; "
    where += f"best {float(best['score']):.4f} at depths {int(best['depth_x'])}, {int(best['depth_y'])}"
    lone = "one layer, with itself: nothing to compare"
    nothing = lone if best["self_pair"] and scores.size == 1 else "no score"
    words = where if best["depth_x"] >= 0 else nothing
    title(ax, f"{words}; hatched: a layer with itself" if best["self_pair"] and scores.size > 1 else words)
    return ax


def _dots(ax: Any, scores: np.ndarray, how: str, sign: int) -> float:
    """Draw a dot on each matched layer pair, larger for more weight, and return the score of the match."""
    weights = layer_weights(sign * scores, how)
    rows, columns = np.nonzero(weights > 1e-12)
    share = weights[rows, columns]
    ax.scatter(columns, rows, s=36 * share / share.max(), color="white", edgecolors="black", linewidths=0.8, zorder=3)
    return float(np.sum(share * scores[rows, columns]))


def metric_map(result: Alignment, *, how: How = "best", per: str = "model", ax: Any = None) -> Any:
    """Draw the agreement of the metrics: Spearman's correlation of their scores over model pairs or layer pairs.

    A distance counts with its sign turned, so that 1 means that two metrics order the pairs alike by closeness.
    A model with itself is no pair. Two models that were scored in both orders are one pair, with the mean of both
    scores.

    Parameters
    ----------
    result
        A result of several metrics.
    how
        From layer pairs to model pairs, as in `Alignment.reduce`.
    per
        "model" correlates over model pairs, "layer" over all layer pairs.
    ax
        Axes to draw into; a new figure if None.

    Returns
    -------
    Axes
        The axes, which are not shown.

    Raises
    ------
    ValueError
        If `per` is neither "model" nor "layer".
    """
    if per not in ("model", "layer"):
        raise ValueError(f"Scores are per 'model' or per 'layer' pair, got {per!r}.")
    over = None if per == "layer" else how
    flat = [result.provenance.sign(m) * pair_scores(result, m, over) for m in result.metrics]
    found = np.ones((len(flat), len(flat)))
    for i, one in enumerate(flat):
        for j, other in enumerate(flat):
            known = np.isfinite(one) & np.isfinite(other)
            found[i, j] = spearman(one[known], other[known])
    names = [as_text(quantity(result, metric)) for metric in result.metrics]
    turned = not all(result.provenance.larger_is_closer(metric) for metric in result.metrics)
    heading = f"rank correlation of {'closeness' if turned else 'scores'} over {per} pairs"
    return _cells(found, names, names, ax=ax, heading=heading, name="Spearman", low=-1, high=1, cmap="PuOr", digits=2)


def leaf_order(table: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
    """Rows in the order of the leaves of their hierarchical clustering (average linkage, Euclidean distance).

    `own` is True for the cells of a model with itself: two rows are compared in the columns where neither has one.
    """
    from scipy.cluster import hierarchy
    from scipy.spatial.distance import pdist

    if len(table) < 3:
        return np.arange(len(table))
    known = np.isfinite(table)
    filled = np.where(known, table, table[known].mean() if known.any() else 0).astype(float)
    distances = pdist(filled)
    if own is not None and own.any():
        upper = np.triu_indices(len(table), 1)
        gaps = (filled[upper[0]] - filled[upper[1]]) ** 2
        apart = ~own[upper[0]] & ~own[upper[1]]
        # as many columns as the others have: each pair of rows lacks one or two
        distances = np.sqrt((gaps * apart).sum(axis=1) * table.shape[1] / np.maximum(apart.sum(axis=1), 1))
    return hierarchy.leaves_list(hierarchy.linkage(distances, "average", optimal_ordering=True))


def _cells(
    values: Any,
    rows: list[str],
    columns: list[str],
    *,
    ax: Any,
    heading: str,
    name: str,
    low: float | None = None,
    high: float | None = None,
    own: Any = None,
    pale: Any = None,
    strips: bool = False,
    turned: bool = False,
    cmap: str = "",
    digits: int = 3,
) -> Any:
    """Cells with numbers and names; those of a model with itself (`own`) are hatched and do not affect the colours."""
    width, height = _size(rows, columns)
    ax = new_axes(ax, width, height + 0.4 * strips)
    from matplotlib.patches import Rectangle

    own = np.zeros(values.shape, bool) if own is None else own
    values = np.where(own, np.nan, values.astype(float))
    known = values[np.isfinite(values)]
    low = (float(known.min()) if known.size else 0.0) if low is None else low
    high = (float(known.max()) if known.size else 1.0) if high is None else high
    high = high if high > low else low + 1e-9
    cmap = cmap or _color_map(turned=turned)
    image = ax.imshow(np.ma.masked_invalid(values), cmap=cmap, vmin=low, vmax=high, aspect="auto")
    ax.set_facecolor("lightgrey")
    _hatch(ax, own)
    gap = 10 if strips else 3
    ax.set_xticks(range(len(columns)), columns, rotation=50, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(rows)), rows)
    ax.tick_params(length=0, labelsize=7, pad=gap)
    for (i, j), value in np.ndenumerate(values):
        if own[i, j]:
            continue
        faint = pale is not None and pale[i, j]
        if faint:
            ax.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, color="white", alpha=0.8, linewidth=0))
        upon = ink_upon(image.cmap(image.norm(value))[:3]) if np.isfinite(value) else "black"
        shown = f"{value:.{digits}f}" if np.isfinite(value) else "-"
        ax.text(j, i, shown, ha="center", va="center", fontsize=6.5, color="#505050" if faint else upon)
    ax.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    if known.size:
        _bar(ax, image, name, 0.32 * len(rows))
    title(ax, heading)
    return ax


def _color_map(*, turned: bool) -> str:
    """A colour map whose bright end is close: reversed (`turned`) if smaller is closer."""
    return "cividis_r" if turned else "cividis"


def _hatch(ax: Any, own: np.ndarray) -> None:
    """Cover the cells of a model or layer with itself with grey hatching."""
    from matplotlib.patches import Rectangle

    for i, j in np.argwhere(own):
        ax.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, **HATCHED))


def _size(rows: list[str], columns: list[str]) -> tuple[float, float]:
    """Width and height in inches that leave room for the names, and for a legend below."""
    wide, high = max(map(len, rows)), max(map(len, columns))
    return max(3.2, 1.6 + 0.055 * max(wide, 0.65 * high) + 0.46 * len(columns)), 1.1 + 0.045 * high + 0.32 * len(rows)


def _bar(ax: Any, image: Any, name: str, inches: float) -> None:
    """Add a colour bar, whose name fits on lines of about `inches`."""
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.9, pad=0.02)
    bar.set_label(wrapped(name, inches, 8), fontsize=8)
    bar.ax.tick_params(labelsize=7)


def _explain(ax: Any, sides: list[list[str] | None], colors: dict[str, str], note: str | None, *, own: bool) -> None:
    """Draw strips of the families along both axes, and a legend of the colours."""
    from matplotlib import colormaps
    from matplotlib.legend_handler import HandlerTuple
    from matplotlib.patches import Patch, Rectangle

    colors = {family: ink(color) for family, color in colors.items()}
    row_families, column_families = sides
    along_y, along_x = ax.get_yaxis_transform(), ax.get_xaxis_transform()
    box = ax.get_window_extent()
    for i, family in enumerate(row_families or ()):
        width = 5 * ax.figure.dpi / 72 / box.width
        ax.add_patch(
            Rectangle((-1.4 * width, i - 0.5), width, 1, color=colors[family], lw=0, transform=along_y, clip_on=False)
        )
    for j, family in enumerate(column_families or ()):
        height = 5 * ax.figure.dpi / 72 / box.height
        ax.add_patch(
            Rectangle((j - 0.5, -1.4 * height), 1, height, color=colors[family], lw=0, transform=along_x, clip_on=False)
        )
    handles: list[Any] = [Patch(color=color) for color in colors.values()]
    texts = [as_text(family) for family in colors]
    more: dict[str, Any] = {}
    if note:  # both ends of the scale: white alone is a family's colour on dark backgrounds
        ends = [0.8 + 0.2 * np.array(colormaps["cividis"](end)[:3]) for end in (0.0, 1.0)]
        handles.append(tuple(Patch(facecolor=tuple(end)) for end in ends))
        texts.append(note)
        more["handler_map"] = {tuple: HandlerTuple(ndivide=None, pad=0)}
    if own:
        handles.append(Patch(**HATCHED))
        texts.append("a model with itself")
    if handles:
        outside_legend(ax, handles, texts, where="below", **more)
