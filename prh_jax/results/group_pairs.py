"""Pairs of models in groups, and the standard error of a mean over pairs, which share models."""

from typing import Any, NamedTuple

import numpy as np

from .families import Families, families_known
from .reduce import How
from .selection import near_names


class GroupedPairs(NamedTuple):
    """The pairs of two models that count, have a score, and whose models both have a group.

    scores    (pairs,)
    x, y      (pairs,): the models of each pair, as places in `groups`
    groups    (models,): the group of each model, as a place in `names`
    names     the groups in the order of their models, x before y
    strata    (models,): models that vary together: those of one group and, unless sides share models, of one side
    moved     (moved,): the models whose groups are permuted: all if the sides share models, else those of y
    mirrored  whether both orders of two models are one pair
    unknown   number of pairs that count and have no score
    left_out  labels of models without a group
    """

    scores: np.ndarray
    x: np.ndarray
    y: np.ndarray
    groups: np.ndarray
    names: tuple[str, ...]
    strata: np.ndarray
    moved: np.ndarray
    mirrored: bool
    unknown: int
    left_out: tuple[str, ...]


def score_table(result: Any, metric: str, values: str, how: How) -> np.ndarray:
    """Scores of model pairs (x, y) of an Alignment: reduced by `how`, or calibrated."""
    if values not in ("score", "calibrated"):
        raise ValueError(f"values is 'score' or 'calibrated', got {values!r}.")
    table = result.reduce(metric, how) if values == "score" else result.calibrated_pairs(metric)["calibrated"]
    return table.transpose("model_x", "model_y").values.astype(float)


def grouped_pairs(result: Any, groups: Families, metric: str, values: str, how: How) -> GroupedPairs:
    """The pairs of an Alignment in groups.

    Raises
    ------
    ValueError
        If a group is given for an unknown model, no model has a group, or a model has one group as x, another as y.
    """
    table, pairs = score_table(result, metric, values, how), result.model_pairs(metric)
    symmetric = result.is_symmetric(metric)
    labels = {"x": result.models_x, "y": result.models_y}
    rows, columns = len(labels["x"]), len(labels["y"])
    both = pairs.own.any(axis=0)
    places = {"x": np.arange(rows), "y": np.where(both, pairs.own.argmax(axis=0), rows + np.arange(columns))}
    given = _groups_by_place(result, groups, labels, places)
    names = tuple(dict.fromkeys(given[place] for place in sorted(given)))
    codes = np.array([names.index(given[place]) if place in given else -1 for place in range(rows + columns)])
    joined = bool(both.any())
    counted = pairs.counted(symmetric=symmetric) & np.logical_and.outer(*(codes[places[side]] >= 0 for side in "xy"))
    known = counted & np.isfinite(table)
    i, j = np.nonzero(known)
    kept = np.flatnonzero(codes >= 0)
    place = np.cumsum(codes >= 0) - 1
    side_y = kept >= rows
    return GroupedPairs(
        table[known],
        place[places["x"][i]],
        place[places["y"][j]],
        codes[kept],
        names,
        codes[kept] + (0 if joined else len(names) * side_y),
        np.arange(len(kept)) if joined else np.flatnonzero(side_y),
        joined and symmetric,
        int((counted & ~known).sum()),
        tuple(
            dict.fromkeys(label for s in "xy" for label, at in zip(labels[s], places[s], strict=True) if codes[at] < 0)
        ),
    )


def _groups_by_place(
    result: Any, groups: Families, labels: dict[str, list[str]], places: dict[str, np.ndarray]
) -> dict[int, str]:
    """The group of each model that has one, by its place."""
    known = families_known(result, groups)
    everyone = list(dict.fromkeys(label for side in "xy" for label in labels[side]))
    unknown = [str(label) for found in known.values() for label, _ in found.items() if label not in everyone]
    if unknown:
        raise ValueError(
            f"This result has no model {unknown[0]!r}, for which a group is given; {near_names(unknown[0], everyone)}."
        )
    given: dict[int, str] = {}
    for side in "xy":
        for label, place in zip(labels[side], places[side].tolist(), strict=True):
            group = known[side].get(label)
            if group is not None and given.setdefault(place, str(group)) != str(group):
                raise ValueError(
                    f"Model {label!r} is in group {given[place]!r} as a model of x, and in {str(group)!r} as one of y: "
                    "give it one group."
                )
    if not given:
        name = "family" if groups is None else groups
        raise ValueError(f"No model has a group {name!r}: give groups by model, or `assign` them to the result.")
    return given


class Estimate(NamedTuple):
    """A mean with its standard error over models, and the ends of its interval."""

    mean: float
    standard_error: float
    low: float
    high: float


def estimate(pairs: GroupedPairs, chosen: np.ndarray, confidence: float, less: np.ndarray | None = None) -> Estimate:
    """The mean over chosen pairs, or how much it is above the mean over others, with an interval over models.

    Pairs that share a model are not independent. The variance is the jackknife's, which leaves out one model at a time
    (Arvesen 1969), summed over the strata. Quantiles are Student's, with Satterthwaite's degrees of freedom. A model
    that is alone in its stratum is fixed. NaN if every model is, or if two strata, or the models of one, have no pair
    without some model.
    """
    means, without = _left_out_means(pairs, chosen)
    involved = _involved(pairs, chosen)
    if less is not None:
        other, without_other = _left_out_means(pairs, less)
        means, without, involved = means - other, without - without_other, involved | _involved(pairs, less)
    variances, freedoms = [], []
    for stratum in np.unique(pairs.strata[involved]):
        inside = without[involved & (pairs.strata == stratum)]
        if len(inside) > 1:
            variances.append((len(inside) - 1) ** 2 / len(inside) * inside.var(ddof=1))
            freedoms.append(len(inside) - 1)
    if not variances or not np.isfinite(variances).all():
        return Estimate(means, np.nan, np.nan, np.nan)
    from scipy import special  # slow to import, and needed here alone

    parts = np.array(variances)
    total = float(parts.sum())
    freedom = total**2 / float((parts**2 / np.array(freedoms)).sum()) if total > 0 else float(sum(freedoms))
    error = total**0.5
    reach = float(special.stdtrit(freedom, 0.5 + confidence / 2)) * error
    return Estimate(means, error, means - reach, means + reach)


def _involved(pairs: GroupedPairs, chosen: np.ndarray) -> np.ndarray:
    """Which models are in the chosen pairs."""
    found = np.zeros(len(pairs.groups), bool)
    found[pairs.x[chosen]] = found[pairs.y[chosen]] = True
    return found


def _left_out_means(pairs: GroupedPairs, chosen: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean over chosen pairs, and without each of the models.

    Pairs of the same two strata are a cell, which keeps its weight if a model is left out: else that would also move
    weight between cells, and the variance of small groups would be far too small. NaN where no pair of a cell is left.
    """
    scores, models = pairs.scores[chosen], len(pairs.groups)
    if not len(scores):
        return float("nan"), np.full(models, np.nan)
    ends = [side[chosen] for side in (pairs.x, pairs.y)]
    strata = np.stack([pairs.strata[end] for end in ends])
    strata = np.sort(strata, axis=0) if pairs.mirrored else strata
    cell = np.unique(strata, axis=1, return_inverse=True)[1].ravel()
    sizes, totals = np.bincount(cell)[:, None], np.bincount(cell, scores)[:, None]
    x, y = (cell * models + end for end in ends)
    shape, cells = (len(sizes), models), len(sizes) * models
    left = sizes - (np.bincount(x, minlength=cells) + np.bincount(y, minlength=cells)).reshape(shape)
    sums = totals - (np.bincount(x, scores, cells) + np.bincount(y, scores, cells)).reshape(shape)
    means = np.where(left > 0, sums / np.maximum(left, 1), np.nan)
    return float(scores.mean()), (means * sizes).sum(axis=0) / len(scores)
