"""Alignment along a number of the models: training steps of checkpoints, parameters, or numbers that are given."""

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
    """Alignment of the models of a side along a number that they have, a line for each model of the other side.

    Parameters
    ----------
    result, metric
        What is drawn.
    x
        As in `prh_jax.trend`: a name that was assigned or recorded ("params"), numbers by model or in their order.
        "step" is the training step, which a revision or label tells, too (`pythia-70m@step1000`, `checkpoint-1000`).
        Models without a number are left out; of models with the same number the mean is drawn.
    side
        Whose models have the numbers.
    how
        From layer pairs to model pairs, as in `Alignment.reduce`.
    values
        "score", or "calibrated" (0 is chance) where the result has a calibration.
    mean
        One line for all models of the other side, their mean, in a band from the least to the greatest.
    log
        A logarithmic axis; it is linear from 0 to the smallest positive number where there is a 0.
    families
        Models of one family are joined by a line: of each model by name, or the name of what was assigned or recorded.
        If None, the checkpoints of one model, or else the assigned `family`; all models where there is none. Lines of a
        family have its colour. More than 28 lines are drawn thin, and the legend names families alone.
    xlabel
        What the axis of the numbers is called; the name of `x` if None.
    ax
        Axes to draw into.

    Returns
    -------
    Axes
        A dashed line has the critical score of a calibration, where scores are those that it calibrates: at each number
        that of the model pair for which it is hardest to reach. A model with itself is left out.

    Raises
    ------
    ValueError
        If fewer than two different numbers are known, or a logarithmic axis has no place for one.
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
    colors = _colors(result, x, families, drawn)
    ax = new_axes(ax, 4.8 + legend_width(dict.fromkeys(texts), None), max(3.6, 0.6 + 0.165 * len(set(texts))))
    handles: list[Any] = []
    for group, other, at, found in lines:
        turn = 0 if many else partners.index(other)
        looks = line_look(drawn.index(group), turn) if len(drawn) > 1 else line_look(turn % 7, turn // 7)
        looks |= {"color": ink(colors[group])} if group in colors and len(drawn) > 1 else {}
        middle = _mean(found.T)
        (line,) = ax.plot(at, middle, markersize=2 if many else 3, lw=0.6 if many else 1.4, **looks)
        if mean:
            filled = np.isfinite(middle)
            low, high = (reach(found[filled], axis=1) for reach in (np.nanmin, np.nanmax))
            band = ax.fill_between(at[filled], low, high, color=looks["color"], alpha=0.2, linewidth=0)
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
    words += [f"mean over {len(others)} models (band: least to greatest)"] if mean else []
    axis_labels(ax, name if xlabel is None else xlabel, ", ".join(words))
    if len(drawn) == 1 and drawn[0]:
        title(ax, short_name(drawn[0], 44))
    return ax


def _groups(result: Alignment, side: str, models: list[str], x: Covariate, families: Families) -> list[str]:
    """What the models on one line have in common."""
    if families is None and isinstance(x, str) and x == "step":
        return [without_step(model) for model in models]
    (groups,) = families_of(result, {side: models}, families)
    return [""] * len(models) if groups is None else groups


def _at_numbers(number: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different numbers in order, and the mean score of the models that have each."""
    at = np.unique(number)
    return at, np.stack([_mean(scores[number == each]) for each in at])


def _mean(values: np.ndarray) -> np.ndarray:
    """The mean along the first axis, NaN passed over."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, values, 0).sum(axis=0) / np.maximum(count, 1), np.nan)


def _colors(result: Alignment, x: Covariate, families: Families, drawn: list[str]) -> dict[str, str]:
    """The colour of each line's family; of checkpoints that have no family, of each model."""
    steps = families is None and isinstance(x, str) and x == "step"
    told = {} if steps or drawn == [""] else colors_of(result, families, drawn)
    if set(told) == set(drawn) or len(drawn) > len(COLORS):
        return told
    return family_colors(drawn)


def _texts(lines: list[tuple[str, str, np.ndarray, np.ndarray]], *, together: str | None) -> list[str]:
    """What the legend calls each line: the model of the other side, the family, or both; the family if `together`."""
    families, others = ([line[part] for line in lines] for part in (0, 1))
    named = dict(zip(dict.fromkeys(families), labels(dict.fromkeys(families), 28), strict=True))
    other = dict(zip(dict.fromkeys(others), labels(dict.fromkeys(others)), strict=True))
    if together or (len(other) == 1 and len(named) > 1):
        return [named[each] if each else str(together) for each in families]
    if len(named) == 1:
        return [other[each] for each in others]
    return [f"{named[family]} · {other[each]}" for family, each in zip(families, others, strict=True)]


def _critical(result: Alignment, metric: str, table: xr.DataArray, apart: np.ndarray) -> np.ndarray | None:
    """Critical scores of the pairs of two models; None where other scores are calibrated than those of the table."""
    if result.calibration is None or metric not in result.calibration.dataset["metric"].values:
        return None
    pairs = result.calibrated_pairs(metric).transpose(*table.dims)
    if not np.allclose(pairs["score"].values, table.values, rtol=1e-4, atol=1e-6, equal_nan=True):
        return None
    return np.where(apart, pairs["tau"].values, np.nan)
