"""Metrics: each is a sketch of a layer, and a comparison of two sketches."""

from .aligned_cosine import AlignedCosine
from .base import INVARIANCES, Metric
from .cka import Cka, UnbiasedCka
from .distance_correlation import DistanceCorrelation
from .function import FunctionMetric
from .linear_regression import LinearRegression
from .matching import HardCorrelationMatch, PermutationProcrustes, SoftCorrelationMatch
from .neighbors.cknna import Cknna
from .neighbors.cycle_knn import CycleKnn
from .neighbors.edit_distance_knn import EditDistanceKnn
from .neighbors.lcs_knn import LcsKnn
from .neighbors.mutual_knn import MutualKnn
from .neighbors.rank_similarity import JointRankJaccard, KnnJaccard, RankSimilarity
from .neighbors.second_order_cosine import SecondOrderCosine
from .pwcca import Pwcca
from .registry import (
    GROUPS,
    HOST_METRICS,
    METRICS,
    PRH_METRICS,
    SUPPORTED_METRICS,
    make_metric,
    make_metrics,
    parse_metric,
    register_metric,
)
from .rsa import Rsa
from .rsm_norm_difference import RsmNormDifference
from .shapes import AngularShapeDistance, NormalizedBures, ProcrustesDistance
from .statistics import ConcentricityDifference, Imd, MagnitudeDifference, UniformityDifference
from .subspaces import Cca, EigenspaceOverlap, Gulp, MeanCca
from .svcca import Svcca

__all__ = [
    "GROUPS",
    "HOST_METRICS",
    "INVARIANCES",
    "METRICS",
    "PRH_METRICS",
    "SUPPORTED_METRICS",
    "AlignedCosine",
    "AngularShapeDistance",
    "Cca",
    "Cka",
    "Cknna",
    "ConcentricityDifference",
    "CycleKnn",
    "DistanceCorrelation",
    "EditDistanceKnn",
    "EigenspaceOverlap",
    "FunctionMetric",
    "Gulp",
    "HardCorrelationMatch",
    "Imd",
    "JointRankJaccard",
    "KnnJaccard",
    "LcsKnn",
    "LinearRegression",
    "MagnitudeDifference",
    "MeanCca",
    "Metric",
    "MutualKnn",
    "NormalizedBures",
    "PermutationProcrustes",
    "ProcrustesDistance",
    "Pwcca",
    "RankSimilarity",
    "Rsa",
    "RsmNormDifference",
    "SecondOrderCosine",
    "SoftCorrelationMatch",
    "Svcca",
    "UnbiasedCka",
    "UniformityDifference",
    "make_metric",
    "make_metrics",
    "parse_metric",
    "register_metric",
]
