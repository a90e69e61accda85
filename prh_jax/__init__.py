"""Alignment of neural representations: all layer pairs of all model pairs, many metrics, in JAX.

Importing the package starts no JAX backend and imports no torch.
"""

from ._version import __version__
from .analysis.curves import curve_over_k, curve_over_n
from .analysis.intervals import Interval, interval
from .analysis.neighbor_gallery import neighbor_gallery
from .analysis.trend import trend
from .engine.preprocess import Preprocess
from .errors import StoreError
from .metrics.base import Metric
from .metrics.cka import Cka, UnbiasedCka, cka, unbiased_cka
from .metrics.distance_correlation import DistanceCorrelation, distance_correlation
from .metrics.linear_regression import LinearRegression, linear_regression
from .metrics.matching import (
    HardCorrelationMatch,
    PermutationProcrustes,
    SoftCorrelationMatch,
    hard_correlation_match,
    permutation_procrustes,
    soft_correlation_match,
)
from .metrics.neighbors.cknna import Cknna, cknna
from .metrics.neighbors.cycle_knn import CycleKnn, cycle_knn
from .metrics.neighbors.edit_distance_knn import EditDistanceKnn, edit_distance_knn
from .metrics.neighbors.lcs_knn import LcsKnn, lcs_knn
from .metrics.neighbors.mutual_knn import MutualKnn, mutual_knn
from .metrics.neighbors.rank_similarity import (
    JointRankJaccard,
    KnnJaccard,
    RankSimilarity,
    joint_rank_jaccard,
    knn_jaccard,
    rank_similarity,
)
from .metrics.neighbors.second_order_cosine import SecondOrderCosine, second_order_cosine
from .metrics.pwcca import Pwcca, pwcca
from .metrics.registry import METRICS, PRH_METRICS, SUPPORTED_METRICS, make_metric
from .metrics.rsa import Rsa, rsa
from .metrics.rsm_norm_difference import RsmNormDifference, rsm_norm_difference
from .metrics.shapes import (
    AlignedCosine,
    AngularShapeDistance,
    NormalizedBures,
    ProcrustesDistance,
    aligned_cosine,
    angular_shape_distance,
    normalized_bures,
    procrustes_distance,
)
from .metrics.statistics import (
    ConcentricityDifference,
    Imd,
    MagnitudeDifference,
    UniformityDifference,
    concentricity_difference,
    imd,
    magnitude_difference,
    uniformity_difference,
)
from .metrics.subspaces import Cca, EigenspaceOverlap, Gulp, MeanCca, cca, eigenspace_overlap, gulp, mean_cca
from .metrics.svcca import Svcca, svcca
from .null.settings import Null
from .plot.html_report import report
from .results.alignment import Alignment, load_alignment
from .results.calibration import Calibration
from .results.export import export
from .results.gallery import Gallery
from .results.merge import merge
from .runtime.compilation_cache import keep_compiled
from .stores.inspect import inspect_store
from .stores.reader import FeatureStore, open_store
from .stores.writer import write_features
from .study.align import align, align_share
from .study.distributed import align_distributed
from .study.plan import Plan, plan
from .study.resume import calibrate, finish_alignment
from .training.losses import batch_cka, gram_cka, soft_mutual_knn
from .training.streaming import MinibatchCka, StreamingCka

__all__ = [
    "METRICS",
    "PRH_METRICS",
    "SUPPORTED_METRICS",
    "AlignedCosine",
    "Alignment",
    "AngularShapeDistance",
    "Calibration",
    "Cca",
    "Cka",
    "Cknna",
    "ConcentricityDifference",
    "CycleKnn",
    "DistanceCorrelation",
    "EditDistanceKnn",
    "EigenspaceOverlap",
    "FeatureStore",
    "Gallery",
    "Gulp",
    "HardCorrelationMatch",
    "Imd",
    "Interval",
    "JointRankJaccard",
    "KnnJaccard",
    "LcsKnn",
    "LinearRegression",
    "MagnitudeDifference",
    "MeanCca",
    "Metric",
    "MinibatchCka",
    "MutualKnn",
    "NormalizedBures",
    "Null",
    "PermutationProcrustes",
    "Plan",
    "Preprocess",
    "ProcrustesDistance",
    "Pwcca",
    "RankSimilarity",
    "Rsa",
    "RsmNormDifference",
    "SecondOrderCosine",
    "SoftCorrelationMatch",
    "StoreError",
    "StreamingCka",
    "Svcca",
    "UnbiasedCka",
    "UniformityDifference",
    "__version__",
    "align",
    "align_distributed",
    "align_share",
    "aligned_cosine",
    "angular_shape_distance",
    "batch_cka",
    "calibrate",
    "cca",
    "cka",
    "cknna",
    "concentricity_difference",
    "curve_over_k",
    "curve_over_n",
    "cycle_knn",
    "distance_correlation",
    "edit_distance_knn",
    "eigenspace_overlap",
    "export",
    "finish_alignment",
    "gram_cka",
    "gulp",
    "hard_correlation_match",
    "imd",
    "inspect_store",
    "interval",
    "joint_rank_jaccard",
    "keep_compiled",
    "knn_jaccard",
    "lcs_knn",
    "linear_regression",
    "load_alignment",
    "magnitude_difference",
    "make_metric",
    "mean_cca",
    "merge",
    "mutual_knn",
    "neighbor_gallery",
    "normalized_bures",
    "open_store",
    "permutation_procrustes",
    "plan",
    "procrustes_distance",
    "pwcca",
    "rank_similarity",
    "report",
    "rsa",
    "rsm_norm_difference",
    "second_order_cosine",
    "soft_correlation_match",
    "soft_mutual_knn",
    "svcca",
    "trend",
    "unbiased_cka",
    "uniformity_difference",
    "write_features",
]
