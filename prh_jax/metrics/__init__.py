"""The table of metrics: everything else reads it, and nothing else names a metric."""

import dataclasses
from typing import Any

from ..metric import Metric
from .cka import Cka, UnbiasedCka
from .cknna import Cknna
from .cycle_knn import CycleKnn
from .distance_correlation import DistanceCorrelation
from .edit_distance_knn import EditDistanceKnn
from .lcs_knn import LcsKnn
from .linear_regression import LinearRegression
from .matching import HardCorrelationMatch, PermutationProcrustes, SoftCorrelationMatch
from .mutual_knn import MutualKnn
from .pwcca import Pwcca
from .rank_similarity import JointRankJaccard, KnnJaccard, RankSimilarity
from .rsa import Rsa
from .rsm_norm_difference import RsmNormDifference
from .second_order_cosine import SecondOrderCosine
from .shapes import AlignedCosine, AngularShapeDistance, NormalizedBures, ProcrustesDistance
from .statistics import ConcentricityDifference, Imd, MagnitudeDifference, UniformityDifference
from .subspaces import Cca, EigenspaceOverlap, Gulp, MeanCca
from .svcca import Svcca

METRICS: dict[str, type[Metric]] = {
    metric.name: metric
    for metric in (
        *(CycleKnn, MutualKnn, LcsKnn, Cka, UnbiasedCka, Cknna, Svcca, EditDistanceKnn),
        *(KnnJaccard, RankSimilarity, JointRankJaccard, SecondOrderCosine),
        *(DistanceCorrelation, Rsa, RsmNormDifference),
        *(Cca, MeanCca, Pwcca, EigenspaceOverlap, Gulp, LinearRegression),
        *(ProcrustesDistance, AngularShapeDistance, NormalizedBures, AlignedCosine),
        *(SoftCorrelationMatch, HardCorrelationMatch, PermutationProcrustes),
        *(MagnitudeDifference, ConcentricityDifference, UniformityDifference, Imd),
    )
}
"""Every metric by its name, those of the reference first; a new one is a file here and a name in this table."""

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
"""The names of the reference's metrics: those that a study takes unless told."""

GROUPS: dict[str, list[str]] = {"prh": SUPPORTED_METRICS, "all": list(METRICS)}
"""Words that stand for several metrics."""


def make_metric(name: str, *, base: Metric | None = None, **settings: Any) -> Metric:
    """A metric by name with settings; ValueError that lists the metrics, or the settings, where one is unknown."""
    if name not in METRICS:
        raise ValueError(f"Unknown metric {name!r}; the metrics are {', '.join(METRICS)}.")
    fields = {f.name for f in dataclasses.fields(METRICS[name])}
    for key in settings:
        if key not in fields:
            raise ValueError(f"{name} has no setting {key!r}; its settings are {', '.join(sorted(fields))}.")
    return dataclasses.replace(base or METRICS[name](), **settings)


def parse_metric(text: str, *, prh: bool = False, k: int | None = None) -> Metric:
    """A metric from text such as `cka` or `cka:kernel=rbf,sigma=2`; `k` applies where the metric has such a setting."""
    name, _, tail = text.partition(":")
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
