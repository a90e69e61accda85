"""Names of quantities in figures, reports and notebooks, and the finding of a result in one sentence."""

from typing import Any

import numpy as np

from .._names import LEAD_METRIC, METRIC_NAMES
from ..stores.shown import plain_name, shorten
from .pairs import ModelPairs

_WORDS = "CCA CKA CKNNA GULP IMD LCS PWCCA RSA RSM SVCCA kNN Bures Jaccard Procrustes"
SPELLED = {word.lower(): word for word in _WORDS.split()}
"""Words in names of metrics that are not in lower case."""
OVER_LAYERS = {
    **dict.fromkeys(("best", "max"), "best over layer pairs"),
    "mean": "mean over layer pairs",
    "same_depth": "same relative depth",
    "row_max_mean": "mean of the best of each layer of x",
    "assignment": "layers matched one to one",
    "dtw": "layers matched in order",
    "transport": "layers coupled by optimal transport",
}
"""Words for the ways to get one number from layer pairs; "max" is the closest pair, even if smaller is closer."""


def lead_metric(metrics: list[str]) -> str:
    """The metric that a report and a notebook show first."""
    return LEAD_METRIC if LEAD_METRIC in metrics else metrics[0]


def spelled(metric: str) -> str:
    """A metric as papers write it: "mutual kNN". One that does not ship keeps its name."""
    known = metric in METRIC_NAMES
    return " ".join(SPELLED.get(word, word) for word in metric.split("_")) if known else plain_name(metric)


def quantity(result: Any, metric: str) -> str:
    """A metric as papers write it, with its k: "mutual kNN (k = 10)"."""
    words = spelled(metric)
    if metric not in METRIC_NAMES:
        return words
    settings = result.provenance.metrics[metric].settings
    told = [f"k = {settings['k']}"] if "k" in settings else []
    if settings.get("kernel", "linear") != "linear":
        told.append(f"{settings['kernel']} kernel")
    return f"{words} ({', '.join(told)})" if told else words


def value_words(result: Any, metric: str, values: str = "score") -> str:
    """Label of an axis or a colour bar: the quantity, calibrated or not, and "smaller is closer" for a distance."""
    if values == "calibrated":
        return f"calibrated {quantity(result, metric)}"
    closer = "" if result.provenance.larger_is_closer(metric) else ", smaller is closer"
    return quantity(result, metric) + closer


def over_layers(how: Any) -> str:
    """Words for a reduction or an aggregate of layer pairs, given by its name or as a function."""
    name = how if isinstance(how, str) else getattr(how, "__name__", "function")
    return OVER_LAYERS.get(name, f"{plain_name(name)} over layer pairs")


def finding(result: Any, metric: str) -> str:
    """The finding of a result by a metric, in one sentence: the number of pairs closer than chance, and the closest.

    A model with itself does not count, and two models count once if the metric is symmetric.
    """
    by, pairs = f"By {quantity(result, metric)}", result.model_pairs(metric)
    symmetric = result.is_symmetric(metric)
    if pairs.own.all():
        return f"{by}, nothing is compared: every pair is a model with itself."
    if result.calibration is None or metric not in result.calibration.dataset["metric"].values:
        return _closest_alone(result, metric, by, pairs)
    tables = result.calibrated_pairs(metric)
    score, tau, p, q = (tables[name].values.astype(float) for name in ("score", "tau", "p", "q_bh"))
    counted = pairs.counted(symmetric=symmetric) & np.isfinite(score)
    if not counted.any():
        return f"{by}, no pair of two models has a score."
    level, how = (result.calibration.settings["null"][name] for name in ("alpha", "aggregate"))
    beyond = counted & (q <= level)
    where = _closest(result.provenance.sign(metric) * score, beyond if beyond.any() else counted)
    names = _names(tables, where, symmetric=symmetric)
    found = (
        f"{names}: {score[where]:.4f} ({over_layers(how)}), critical score {tau[where]:.4f} at level {level:g}, "
        f"p = {p[where]:.2g}, q = {q[where]:.2g}"
    )
    rate = f"closer than chance (q at most {level:g}, Benjamini-Hochberg)"
    total, told = int(counted.sum()), _pairs(pairs, counted, symmetric=symmetric)
    if total == 1:
        return f"{by}, the one pair of two models is {'' if beyond.any() else 'not '}{rate}: {found}."
    many = f"{beyond.sum()} of {told} {'is' if beyond.sum() == 1 else 'are'}" if beyond.any() else f"none of {told} is"
    many = f"all {told} are" if beyond.sum() == total else many
    of_them = "the closest of them are" if beyond.sum() > 1 else "these are" if beyond.any() else "the closest are"
    return f"{by}, {many} {rate}; {of_them} {found}."


def _closest_alone(result: Any, metric: str, by: str, pairs: ModelPairs) -> str:
    """The finding without a calibration: the closest pair, and the mean of all."""
    best, symmetric = result.best(metric), result.is_symmetric(metric)
    score = best["score"].values.astype(float)
    counted = pairs.counted(symmetric=symmetric) & np.isfinite(score)
    total = int(counted.sum())
    if not total:
        return f"{by}, no pair of two models has a score."
    where = _closest(result.provenance.sign(metric) * score, counted)
    found = f"{_names(best, where, symmetric=symmetric)}: {score[where]:.4f} (best over layer pairs)"
    if total == 1:
        return f"{by}, one pair of two models has a score, {found}; chance was not measured."
    told = _pairs(pairs, counted, symmetric=symmetric)
    mean = f"where the mean is {score[counted].mean():.4f}"
    return f"{by}, the closest of {told} are {found}, {mean}; chance was not measured."


def _pairs(pairs: ModelPairs, counted: np.ndarray, *, symmetric: bool) -> str:
    """The number of counted pairs, called "ordered" if both orders of two models count because their scores differ."""
    all_score = np.array_equal(counted, pairs.counted(symmetric=symmetric))
    ordered = "" if symmetric or not pairs.again.any() else "ordered "
    return f"{counted.sum()} {ordered}pairs of two models{'' if all_score else ' with a score'}"


def _closest(values: np.ndarray, among: np.ndarray) -> tuple[int, int]:
    i, j = np.unravel_index(np.where(among, values, -np.inf).argmax(), values.shape)
    return int(i), int(j)


def _names(tables: Any, where: tuple[int, int], *, symmetric: bool) -> str:
    """The two models of a pair, without their organisations, and which is x and y where that matters."""
    labels = (str(tables[f"model_{side}"].values[place]) for side, place in zip("xy", where, strict=True))
    x, y = (shorten(plain_name(label), 60) for label in labels)
    return f"{x} and {y}" if symmetric else f"{x} (x) and {y} (y)"
