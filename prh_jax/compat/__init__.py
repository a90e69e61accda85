"""A drop-in for users of the PRH reference: its classes and functions with their signatures and numbers, on any array.

from prh_jax.compat import Alignment, AlignmentMetrics, compute_score, prepare_features, remove_outliers
AlignmentMetrics.measure("cknna", feats_A, feats_B, topk=10)
Alignment(dataset="minhuh/prh", subset="wit_1024", models=["dinov2_g"]).score(features, metric="mutual_knn", topk=10)
"""

from .alignment import Alignment
from .metrics import AlignmentMetrics, to_numpy
from .scoring import compute_score, prepare_features, remove_outliers

__all__ = ["Alignment", "AlignmentMetrics", "compute_score", "prepare_features", "remove_outliers", "to_numpy"]
