"""The reference's eight metrics, with its signatures and numbers, on any array."""

from typing import Any

import jax
import numpy as np

from ..arrays import NotRealError, real_numbers
from ..metrics.base import Metric
from ..metrics.registry import PRH_METRICS, SUPPORTED_METRICS, make_metric

_scored = jax.jit(lambda metric, x, y: metric(x, y), static_argnums=0)


def to_numpy(features: Any) -> np.ndarray:
    """Any array of real numbers on the host, as float32; float64 stays so.

    TypeError where it holds other than real numbers.
    """
    try:
        features = np.asarray(real_numbers(features))
    except NotRealError as error:
        raise TypeError(f"Features are real numbers, and these are {error}.") from error
    return features if features.dtype == np.float64 else features.astype(np.float32)


class AlignmentMetrics:
    """The reference's eight metrics with its settings; each takes features (n, dx) and (n, dy) and returns a float.

    Rows are used as given: the reference's own scripts L2-normalise them first. float64 features are scored in float64.
    Two differences: ties between neighbours go to the lowest index, and svcca is the exact value, where the reference's
    is random and about 0.1 lower.
    """

    SUPPORTED_METRICS = SUPPORTED_METRICS

    @staticmethod
    def measure(metric: str, *args: Any, **kwargs: Any) -> float:
        """The metric of that name on the arguments; ValueError where there is none."""
        if metric not in SUPPORTED_METRICS:
            raise ValueError(f"Unrecognized metric: {metric}. The metrics are {', '.join(SUPPORTED_METRICS)}.")
        return getattr(AlignmentMetrics, metric)(*args, **kwargs)

    @staticmethod
    def _score(name: str, feats_A: Any, feats_B: Any, **settings: Any) -> float:
        metric: Metric = make_metric(name, base=PRH_METRICS[name], **settings)
        x, y = to_numpy(feats_A), to_numpy(feats_B)
        with jax.enable_x64(np.float64 in (x.dtype, y.dtype)):
            return float(_scored(metric, x, y))

    @staticmethod
    def cycle_knn(feats_A: Any, feats_B: Any, topk: int) -> float:
        """Share of samples that are a neighbour in A of one of their neighbours in B."""
        return AlignmentMetrics._score("cycle_knn", feats_A, feats_B, k=topk, swapped=False)

    @staticmethod
    def mutual_knn(feats_A: Any, feats_B: Any, topk: int) -> float:
        """Mean share of the topk neighbours that A and B agree on."""
        return AlignmentMetrics._score("mutual_knn", feats_A, feats_B, k=topk)

    @staticmethod
    def lcs_knn(feats_A: Any, feats_B: Any, topk: int) -> float:
        """Mean length, 0 to topk, of the longest common subsequence of the ordered neighbour lists."""
        return AlignmentMetrics._score("lcs_knn", feats_A, feats_B, k=topk)

    @staticmethod
    def cka(
        feats_A: Any, feats_B: Any, kernel_metric: str = "ip", rbf_sigma: float = 1.0, unbiased: bool = False
    ) -> float:
        """Centred kernel alignment; `kernel_metric` is "ip" or "rbf"."""
        kernels = {"ip": "linear", "rbf": "rbf"}
        if kernel_metric not in kernels:
            raise ValueError(f"Invalid kernel metric {kernel_metric}; it is 'ip' or 'rbf'.")
        name = "unbiased_cka" if unbiased else "cka"
        return AlignmentMetrics._score(name, feats_A, feats_B, kernel=kernels[kernel_metric], sigma=rbf_sigma)

    @staticmethod
    def unbiased_cka(*args: Any, **kwargs: Any) -> float:
        """Centred kernel alignment from the unbiased HSIC."""
        kwargs["unbiased"] = True
        return AlignmentMetrics.cka(*args, **kwargs)

    @staticmethod
    def svcca(feats_A: Any, feats_B: Any, cca_dim: int = 10) -> float:
        """Mean canonical correlation of the first cca_dim singular directions (exact)."""
        return AlignmentMetrics._score("svcca", feats_A, feats_B, dim=cca_dim)

    @staticmethod
    def edit_distance_knn(feats_A: Any, feats_B: Any, topk: int) -> float:
        """One minus the mean edit distance of the ordered neighbour lists over topk."""
        return AlignmentMetrics._score("edit_distance_knn", feats_A, feats_B, k=topk)

    @staticmethod
    def cknna(
        feats_A: Any,
        feats_B: Any,
        topk: int | None = None,
        distance_agnostic: bool = False,
        unbiased: bool = True,
    ) -> float:
        """CKA over shared nearest neighbours; `topk=None` takes all n - 1, where the reference crashes."""
        if distance_agnostic:
            raise ValueError("distance_agnostic=True is not defined: the reference's own code crashes on it.")
        if topk is None:
            topk = len(to_numpy(feats_A)) - 1
        if topk < 2:
            raise ValueError("CKNNA requires topk >= 2")
        return AlignmentMetrics._score("cknna", feats_A, feats_B, k=topk, unbiased=unbiased)
