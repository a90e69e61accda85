"""Alignment along a number of the models: training steps of checkpoints, parameters, or numbers of your own."""

from typing import Any

import numpy as np
import xarray as xr

from ..results.alignment import Alignment
from ..results.covariates import Covariate, covariate_values
from ..results.reduce import How
from ..results.steps import without_step
from ..results.tables import self_cells
from ..results.wording import over_layers, value_words
from .base import (
    axis_labels,
    labels,
    legend_width,
    new_axes,
    number_axis,
    outside_legend,
    over_models,
    short_name,
    title,
)
from .colors import COLORS, GREY, Families, colors_of, families_of, family_colors, ink, line_look

MANY = 28
"""More lines than these are drawn thin."""


def curve(
    result: Alignment,
    metric: str,
    x: Covariate = "step",
    *,
    side: str = "x",
    how: How = "best",
    values: str = "score",
    mean: bool = False,
    log: bool = True,
    families: Families = None,
    xlabel: str | None = None,
    ax: Any = None,
) -> Any:
    """Draw the alignment of the models of a side along a number, with a line for each model of the other side.

    A dashed line is the critical score of the calibration, if the scores are those that it calibrates. At each number
    it is the strictest of the model pairs. A model is not aligned with itself.

    Parameters
    ----------
    result, metric
        The scores to draw.
    x
        As in `prh_jax.trend`: the name of an assigned or recorded number ("params"), numbers by model, or numbers in
        the order of the models. "step" is the training step, also from a revision or label (`pythia-70m@step1000`,
        `checkpoint-1000`). The figure omits models without a number, and draws the mean of models with the same number.
    side
        The side of the models that have the numbers, "x" or "y".
    how
        From layer pairs to model pairs, as in `Alignment.reduce`.
    values
        "score", or "calibrated" (0 is chance) if the result has a calibration.
    mean
        True draws one line, the mean over the models of the other side, in a band from the least to the greatest.
    log
        True makes the axis logarithmic. If a number is 0, the axis is linear from 0 to the smallest positive number.
    families
        Family of each model by name, or the name of an assigned or recorded value. A line joins the models of one
        family and has its colour. If None, the checkpoints of one model are a family, or models of the same assigned
        `family`, or else all models. More than 28 lines are thin, and their legend has only the families.
    xlabel
        Label of the axis of numbers; the name of `x` if None.
    ax
        Axes to draw into; a new figure if None.

    Returns
    -------
    Axes
        The axes, which are not shown.

    Raises
    ------
    ValueError
        If fewer than two different numbers are known, or a number is negative and the axis logarithmic.
    """
    if side not in ("x", "y"):
        raise ValueError(f"A side is 'x' or 'y', got {side!r}.")
    if values not in ("score", "calibrated"):
        raise ValueError(f"values is 'score' or 'calibrated', got {values!r}.")
    table = result.reduce(metric, how) if values == "score" else result.calibrated_pairs(metric)["calibrated"]
    dims = tuple(f"model_{each}" for each in (side, "y" if side == "x" else "x"))
    table = table.transpose(*dims)
    models, others = ([str(name) for name in table[dim].values] for dim in dims)
    number = covariate_values(result, models, x, side)
    known = np.isfinite(number)
    if len(set(number[known])) < 2:
        raise ValueError(
            f"A curve needs at least 2 models with different numbers; {int(known.sum())} of {len(models)} have one."
        )
    if log and number[known].min() < 0:
        raise ValueError(f"A logarithmic axis has no place for {number[known].min():g}: draw it with log=False.")
    apart = ~self_cells(table)
    scores = np.where(apart, table.values.astype(float), np.nan)
    groups = _groups(result, side, models, x, families)
    lines: list[tuple[str, str, np.ndarray, np.ndarray]] = []  # family, model, numbers, scores (numbers, models)
    for group in dict.fromkeys(np.array(groups, object)[known]):
        rows = np.array([known[i] and groups[i] == group for i in range(len(models))])
        at, found = _at_numbers(number[rows], scores[rows])
        if mean:
            lines.append((group, "all", at, found))
        else:
            lines += [(group, other, at, found[:, [j]]) for j, other in enumerate(others)]
    lines = [line for line in lines if np.isfinite(line[3]).any()]
    critical = _critical(result, metric, table, apart) if values == "score" else None
    drawn, partners = (
        list(dict.fromkeys(names)) for names in ([line[0] for line in lines], [line[1] for line in lines])
    )
    many = not mean and len(lines) > MANY
    texts = _texts(lines, together="mean" if mean else "all models" if many else None)
    colors = _colors(result, side, models, groups, x, families, drawn)
    ax = new_axes(ax, 4.8 + legend_width(dict.fromkeys(texts), None), max(3.6, 0.6 + 0.165 * len(set(texts))))
    handles: list[Any] = []
    for group, other, at, found in lines:
        alike = [each for each in drawn if each in colors and colors[each] == colors.get(group)]
        turn = 0 if many else partners.index(other)
        turn += len(partners) * alike.index(group) if group in alike else 0
        looks = line_look(drawn.index(group), turn) if len(drawn) > 1 else line_look(turn % 7, turn // 7)
        looks |= {"color": ink(colors[group])} if group in colors and len(drawn) > 1 else {}
        middle = _mean(found.T)
        (line,) = ax.plot(at, middle, markersize=2 if many else 3, lw=0.6 if many else 1.4, **looks)
        if mean:
            filled = np.isfinite(middle)
            low, high = (reach(found[filled], axis=1) for reach in (np.nanmin, np.nanmax))
            filling, edge = ((looks["color"], alpha) for alpha in (0.2, 0.6))
            band = ax.fill_between(at[filled], low, high, facecolor=filling, edgecolor=edge, linewidth=0.6)
        handles.append((band, line) if mean else line)
    if many:
        texts, handles = (list(each) for each in zip(*dict(zip(texts, handles, strict=True)).items(), strict=True))
    if critical is not None:
        sign = result.provenance.sign(metric)
        at = np.unique(number[known])
        hardest = np.array([np.nanmax(sign * critical[number == each], initial=-np.inf) for each in at])
        hardest[np.isinf(hardest)] = np.nan
        (chance,) = ax.plot(at, sign * hardest, color=GREY, lw=1.2, linestyle="--")
        level = result.calibration.settings["null"]["alpha"] if result.calibration else 0
        handles.append(chance)
        texts.append(f"critical score at {level:g}")
    elif values == "calibrated":
        handles.append(ax.axhline(0, color=GREY, lw=1.2, linestyle="--"))
        texts.append("chance")
    outside_legend(ax, handles, texts)
    number_axis(ax.xaxis, number[known], log=log)
    name = {"step": "training step"}.get(x, x) if isinstance(x, str) else "number"
    words = [value_words(result, metric, values), *([over_layers(how)] if values == "score" else [])]
    words += [f"{over_models(len(others), itself=not apart.all())} (band: least to greatest)"] if mean else []
    axis_labels(ax, name if xlabel is None else xlabel, ", ".join(words))
    if len(drawn) == 1 and drawn[0]:
        title(ax, short_name(drawn[0], 44))
    return ax


def _groups(result: Alignment, side: str, models: list[str], x: Covariate, families: Families) -> list[str]:
    """The name that the models on one line share."""
    if families is None and isinstance(x, str) and x == "step":
        return [without_step(model) for model in models]
    (groups,) = families_of(result, {side: models}, families)
    return [""] * len(models) if groups is None else groups


def _at_numbers(number: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different numbers in order, and the mean score of the models that have each."""
    at = np.unique(number)
    return at, np.stack([_mean(scores[number == each]) for each in at])


def _mean(values: np.ndarray) -> np.ndarray:
    """The mean along the first axis, without NaN."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, values, 0).sum(axis=0) / np.maximum(count, 1), np.nan)


def _colors(
    result: Alignment,
    side: str,
    models: list[str],
    groups: list[str],
    x: Covariate,
    families: Families,
    drawn: list[str],
) -> dict[str, str]:
    """The colour of each line's family; of checkpoints that have no family, of each model."""
    steps = families is None and isinstance(x, str) and x == "step"
    assigned = families_of(result, {side: models}, None)[0] if steps else None
    if assigned is not None:
        known = colors_of(result, None, assigned)
        return {group: known[family] for group, family in zip(groups, assigned, strict=True)}
    told = {} if steps or drawn == [""] else colors_of(result, families, drawn)
    if set(told) == set(drawn) or len(drawn) > len(COLORS):
        return told
    return family_colors(drawn)


def _texts(lines: list[tuple[str, str, np.ndarray, np.ndarray]], *, together: str | None) -> list[str]:
    """Name of each line in the legend: the model of the other side, the family, or both; the family if `together`."""
    families, others = ([line[part] for line in lines] for part in (0, 1))
    named = dict(zip(dict.fromkeys(families), labels(dict.fromkeys(families), 28), strict=True))
    other = dict(zip(dict.fromkeys(others), labels(dict.fromkeys(others)), strict=True))
    if together or (len(other) == 1 and len(named) > 1):
        return [named[each] if each else str(together) for each in families]
    if len(named) == 1:
        return [other[each] for each in others]
    return [f"{named[family]} · {other[each]}" for family, each in zip(families, others, strict=True)]


def _critical(result: Alignment, metric: str, table: xr.DataArray, apart: np.ndarray) -> np.ndarray | None:
    """Critical scores of the pairs of two models; None if the calibration is of other scores than the table."""
    if result.calibration is None or metric not in result.calibration.dataset["metric"].values:
        return None
    pairs = result.calibrated_pairs(metric).transpose(*table.dims)
    if not np.allclose(pairs["score"].values, table.values, rtol=1e-4, atol=1e-6, equal_nan=True):
        return None
    return np.where(apart, pairs["tau"].values, np.nan)
