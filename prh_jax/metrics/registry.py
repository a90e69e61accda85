"""The table of metrics: everything else reads it, and nothing else names a metric."""

import dataclasses
import importlib
import itertools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .aligned_cosine import AlignedCosine
from .base import Metric
from .cka import Cka, UnbiasedCka
from .distance_correlation import DistanceCorrelation
from .function import FunctionMetric
from .linear_regression import LinearRegression
from .matching import HardCorrelationMatch, PermutationProcrustes, SoftCorrelationMatch
from .neighbors.cknna import Cknna
from .neighbors.cycle_knn import CycleKnn
from .neighbors.edit_distance_knn import EditDistanceKnn
from .neighbors.information_imbalance import InformationImbalance
from .neighbors.lcs_knn import LcsKnn
from .neighbors.mutual_knn import MutualKnn
from .neighbors.rank_similarity import JointRankJaccard, KnnJaccard, RankSimilarity
from .neighbors.second_order_cosine import SecondOrderCosine
from .out_of_sample.prediction import RidgePrediction
from .out_of_sample.retrieval import Retrieval
from .pwcca import Pwcca
from .rsa import Rsa
from .rsm_norm_difference import RsmNormDifference
from .sampled_units import FeatureUnbiasedCka
from .shapes import AngularShapeDistance, NormalizedBures, ProcrustesDistance
from .statistics import ConcentricityDifference, Imd, MagnitudeDifference, UniformityDifference
from .subspaces import Cca, EigenspaceOverlap, Gulp, MeanCca
from .svcca import Svcca


def check_permutable(metrics: dict[str, Metric]) -> None:
    """ValueError naming the first metric that has no null by permutation."""
    for key, metric in metrics.items():
        if not metric.permutable:
            raise ValueError(
                f"{key} has no null: permuted samples need the neighbours of others than its queries. Ask for all "
                "samples (queries=0), or leave the null out."
            )


METRICS: dict[str, type[Metric]] = {
    metric.name: metric
    for metric in (
        *(CycleKnn, MutualKnn, LcsKnn, Cka, UnbiasedCka, Cknna, Svcca, EditDistanceKnn),
        *(KnnJaccard, RankSimilarity, JointRankJaccard, SecondOrderCosine, InformationImbalance),
        *(DistanceCorrelation, Rsa, RsmNormDifference),
        *(Cca, MeanCca, Pwcca, EigenspaceOverlap, Gulp, LinearRegression),
        *(ProcrustesDistance, AngularShapeDistance, NormalizedBures, AlignedCosine),
        *(SoftCorrelationMatch, HardCorrelationMatch, PermutationProcrustes),
        *(MagnitudeDifference, ConcentricityDifference, UniformityDifference, Imd),
    )
}
"""Every metric by its name, those of the reference first; a new one is a file here and a name in this table."""


HOST_METRICS: dict[str, type[Metric]] = {
    metric.name: metric for metric in (RidgePrediction, Retrieval, FeatureUnbiasedCka)
}
"""Metrics that numpy computes, by their names: they are known as METRICS are, but are no functions of JAX."""


PRH_METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        CycleKnn(normalize=False, swapped=True),
        MutualKnn(normalize=False),
        LcsKnn(normalize=False, per_k=False),
        Cka(eps=1e-6),
        UnbiasedCka(eps=1e-6),
        Cknna(eps=1e-6),
        Svcca(),
        EditDistanceKnn(normalize=False),
    )
}
"""The reference's metrics with the settings of its measuring script, for its numbers."""


SUPPORTED_METRICS: list[str] = list(PRH_METRICS)
"""The names of the reference's metrics: those that a study takes by default."""


GROUPS: dict[str, list[str]] = {"prh": SUPPORTED_METRICS, "all": list(METRICS)}
"""Words that stand for several metrics."""


_REGISTERED: dict[str, type[Metric] | Metric] = {}


def register_metric(metric: Any) -> Any:
    """Register a metric of your own under its name, in this process.

    Its name then works like those of the metrics that ship: `align(..., metrics="mine")`, `make_metric("mine")`. To
    score a saved result again you need the metric that scored it; to read, print and plot it you do not.

    Parameters
    ----------
    metric
        A subclass of `Metric`, whose settings all have defaults, or a `FunctionMetric`. It replaces a metric that you
        registered under the same name.

    Returns
    -------
    Metric
        The same metric, so that this can decorate a class.

    Raises
    ------
    ValueError
        If it is no metric, has the name of a metric that ships, or cannot be made without settings.
    """
    if isinstance(metric, type) and issubclass(metric, Metric):
        try:
            made = metric()
        except TypeError as error:
            raise ValueError(f"{metric.__name__} needs a default for each of its settings ({error}).") from error
    elif isinstance(metric, Metric):
        made = metric
    else:
        raise ValueError(f"A metric is a subclass of prh_jax.Metric or a FunctionMetric, got {metric!r}.")
    name = getattr(made, "name", None)
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"A metric has a name of letters, digits and underscores; {metric!r} has {name!r}.")
    if name in METRICS or name in HOST_METRICS:
        raise ValueError(f"{name!r} is a metric of prh_jax; give yours another name.")
    _REGISTERED[name] = metric
    return metric


def known_metrics() -> list[str]:
    """Names of all metrics that this process knows, shipped ones first."""
    return [*METRICS, *HOST_METRICS, *_REGISTERED]


def is_known(name: str) -> bool:
    """Whether this process has a metric of that name."""
    return name in METRICS or name in HOST_METRICS or name in _REGISTERED


def _as_call(text: str) -> str:
    """Return a call of `make_metric` for a metric given as text."""
    name, _, settings = text.partition(":")
    return f"make_metric({name!r}, {settings.replace(',', ', ')})"


def make_metric(name: str, *, base: Metric | None = None, **settings: Any) -> Metric:
    """Make a metric by name, with settings.

    Parameters
    ----------
    name
        A name in METRICS, or one that you registered.
    base
        A metric of the same name, whose settings are the defaults.
    **settings
        Settings of the metric.

    Returns
    -------
    Metric
        The metric.

    Raises
    ------
    ValueError
        If the name or a setting is unknown; the message lists the known ones.

    Examples
    --------
    >>> import prh_jax
    >>> print(prh_jax.make_metric("mutual_knn", k=5))
    mutual_knn:k=5
    """
    if not is_known(name):
        if ":" in name and is_known(name.partition(":")[0]):
            raise ValueError(
                f"make_metric takes settings as keywords. Write {_as_call(name)}, or pass the text to align."
            )
        raise ValueError(
            f"Unknown metric {name!r}; the metrics are {', '.join(known_metrics())}. One of your own has to be "
            "registered first: prh_jax.register_metric(...), or --metric MODULE:NAME on the command line."
        )
    known = METRICS.get(name) or HOST_METRICS.get(name) or _REGISTERED[name]
    metric = base or (known() if isinstance(known, type) else known)
    for key in settings:
        if key not in metric.settings:
            names = ", ".join(sorted(metric.settings)) or "none"
            raise ValueError(f"{name} has no setting {key!r}; its settings are {names}.")
    return dataclasses.replace(metric, **settings) if settings else metric


def import_metric(text: str) -> Metric:
    """Import and register the metric that "module:name" stands for: a Metric, a subclass, or a function of two layers.

    The working folder is looked at last, after all that is installed.
    """
    module, _, name = text.partition(":")
    sys.path.append(str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"There is no metric {text!r}: {error}. It is written module:name, such as my_metrics:mine."
        ) from error
    finally:
        sys.path.pop()
    if not isinstance(found, Metric) and not isinstance(found, type) and callable(found):
        found = FunctionMetric(name, found)
    register_metric(found)
    return found() if isinstance(found, type) else found


def each_setting(text: str) -> list[str]:
    """Texts of one metric each from one that may list values: "mutual_knn:k=5,20" is "mutual_knn:k=5" and k=20."""
    name, _, tail = text.partition(":")
    listed: list[list[str]] = []
    for item in filter(None, tail.split(",")):
        if "=" in item or not listed:
            listed.append([item])
        else:
            listed[-1].append(f"{listed[-1][0].partition('=')[0]}={item.strip()}")
    keys = [items[0].partition("=")[0].strip() for items in listed]
    if len(set(keys)) < len(keys):
        raise ValueError(f"{text!r} gives a setting twice. Several values are written {name}:k=5,20.")
    return [":".join(filter(None, (name, ",".join(chosen)))) for chosen in itertools.product(*listed)]


def parse_metric(text: str, *, prh: bool = False, k: int | None = None) -> Metric:
    """A metric from text: `cka`, `cka:kernel=rbf,sigma=2`, or `module:name` for one of your own.

    `k` applies where the metric has such a setting.
    """
    name, _, tail = text.partition(":")
    if tail and "=" not in tail and not is_known(name):
        return import_metric(text)
    base = PRH_METRICS.get(name) if prh else None
    settings: dict[str, Any] = {}
    defaults = make_metric(name, base=base).settings
    if k is not None and "k" in defaults:
        settings["k"] = k
    for item in filter(None, tail.split(",")):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals:
            raise ValueError(f"Settings of a metric are written {name}:key=value,...; got {text!r}.")
        settings[key] = _parse_value(name, key, value, defaults.get(key))
    return make_metric(name, base=base, **settings)


def _parse_value(name: str, key: str, text: str, default: Any) -> Any:
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{name}:{key} is true or false, got {text!r}.")
        return text.lower() == "true"
    if isinstance(default, int | float):
        try:
            return type(default)(text)
        except ValueError:
            raise ValueError(f"{name}:{key} is a number such as {default}, got {text!r}.") from None
    return text


def make_metrics(metrics: Any = None) -> dict[str, Metric]:
    """Metrics by the key of their scores: the name, with settings where a name occurs twice; the eight if None.

    A mapping names the keys itself.
    """
    if isinstance(metrics, Mapping):
        return dict(zip(map(str, metrics), make_metrics(list(metrics.values())).values(), strict=True))
    if metrics is None:
        metrics = SUPPORTED_METRICS
    elif isinstance(metrics, str | Metric):
        metrics = [metrics]
    metrics = [one for m in metrics for one in (each_setting(m) if isinstance(m, str) else [m])]
    made = [parse_metric(m) if isinstance(m, str) else m for m in metrics]
    for metric in made:
        if not isinstance(metric, Metric):
            raise ValueError(f"A metric is a name or a Metric object such as MutualKnn(), got {metric!r}.")
        shipped = METRICS | HOST_METRICS
        if metric.name in shipped and not isinstance(metric, shipped[metric.name]):
            raise ValueError(f"{metric.name!r} is a metric of prh_jax; give yours another name.")
    if not made:
        raise ValueError(f"No metric was asked for; the metrics are {', '.join(known_metrics())}.")
    names = [metric.name for metric in made]
    keys = [
        metric.name if names.count(metric.name) == 1 else asked if isinstance(asked, str) else str(metric)
        for asked, metric in zip(metrics, made, strict=True)
    ]
    found = dict(zip(keys, made, strict=True))
    for key, metric in zip(keys, made, strict=True):
        if found[key] != metric:
            raise ValueError(f"Two different metrics are named {key!r}; give each its own name.")
    return found
