"""Alignment of neural representations: all layer pairs of all model pairs, many metrics, in JAX.

Importing the package starts no JAX backend and imports no torch.
"""

from ._version import __version__
from .align import align, align_share
from .calibrate import calibrate, finish_alignment
from .calibration import Null
from .checks import StoreError
from .compilation_cache import keep_compiled
from .curves import curve_over_k, curve_over_n
from .export import export
from .feature_store import FeatureStore, inspect_store, open_store
from .feature_writer import write_features
from .gallery import Gallery, neighbor_gallery
from .intervals import Interval, interval
from .losses import batch_cka, soft_mutual_knn
from .merge import merge
from .metric import Metric
from .metrics import METRICS, PRH_METRICS, SUPPORTED_METRICS, make_metric
from .metrics.cka import Cka, UnbiasedCka, cka, unbiased_cka
from .metrics.cknna import Cknna, cknna
from .metrics.cycle_knn import CycleKnn, cycle_knn
from .metrics.edit_distance_knn import EditDistanceKnn, edit_distance_knn
from .metrics.lcs_knn import LcsKnn, lcs_knn
from .metrics.mutual_knn import MutualKnn, mutual_knn
from .metrics.svcca import Svcca, svcca
from .null_store import Calibration
from .plan import Plan, plan
from .preprocess import Preprocess
from .report import report
from .result_store import Alignment, load_alignment
from .streaming import MinibatchCka, StreamingCka
from .trend import trend

__all__ = [
    "METRICS",
    "PRH_METRICS",
    "SUPPORTED_METRICS",
    "Alignment",
    "Calibration",
    "Cka",
    "Cknna",
    "CycleKnn",
    "EditDistanceKnn",
    "FeatureStore",
    "Gallery",
    "Interval",
    "LcsKnn",
    "Metric",
    "MinibatchCka",
    "MutualKnn",
    "Null",
    "Plan",
    "Preprocess",
    "StoreError",
    "StreamingCka",
    "Svcca",
    "UnbiasedCka",
    "__version__",
    "align",
    "align_share",
    "batch_cka",
    "calibrate",
    "cka",
    "cknna",
    "curve_over_k",
    "curve_over_n",
    "cycle_knn",
    "edit_distance_knn",
    "export",
    "finish_alignment",
    "inspect_store",
    "interval",
    "keep_compiled",
    "lcs_knn",
    "load_alignment",
    "make_metric",
    "merge",
    "mutual_knn",
    "neighbor_gallery",
    "open_store",
    "plan",
    "report",
    "soft_mutual_knn",
    "svcca",
    "trend",
    "unbiased_cka",
    "write_features",
]
