"""The same scores by other packages, if they are installed: torch, rsatoolbox, netrep."""

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from .opponents import cached_torch

UNIT_ROWS = ("mutual_knn", "cycle_knn", "lcs_knn", "edit_distance_knn")
"""Metrics for which `cached_torch` expects rows of length one."""

OTHER_FORM = ("cknna",)
"""Metrics that `cached_torch` computes in the reference's form, which differs from that of a plain call."""


def by_packages(name: str) -> dict[str, Callable[[Any, Any], Any]]:
    """Functions of two arrays (n, dx) and (n, dy) that score the metric, by installed package."""
    found = {
        "torch": by_torch(name),
        "rsatoolbox": by_rsatoolbox if name == "rsa" else None,
        "netrep": by_netrep if name == "angular_shape_distance" else None,
    }
    return {
        package: function
        for package, function in found.items()
        if function is not None and importlib.util.find_spec(package) is not None
    }


def by_torch(name: str) -> Callable[[Any, Any], Any] | None:
    """The metric as a careful user of torch writes it; None if torch is missing or the reference lacks the metric."""
    if importlib.util.find_spec("torch") is None:
        return None
    kept, score = cached_torch(10).get(name, (None, None))
    if kept is None or score is None or name in OTHER_FORM:
        return None

    def function(x: np.ndarray, y: np.ndarray) -> Any:
        import torch

        layers = [torch.from_numpy(z) for z in (x, y)]
        if name in UNIT_ROWS:
            layers = [torch.nn.functional.normalize(z, dim=1) for z in layers]
        made = score(*map(kept, layers))
        return 1 - made / 10 if name == "edit_distance_knn" else made / 10 if name == "lcs_knn" else made

    return function


def by_rsatoolbox(x: np.ndarray, y: np.ndarray) -> Any:
    """Spearman correlation of the correlation distances of two layers, by rsatoolbox."""
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm, compare

    a, b = (calc_rdm(Dataset(z), method="correlation") for z in (x, y))
    return compare(a, b, method="spearman").item()


def by_netrep(x: np.ndarray, y: np.ndarray) -> Any:
    """Angle between two layers after the best rotation, by netrep; zeros fill the narrower layer."""
    from netrep.metrics import LinearMetric

    width = max(x.shape[1], y.shape[1])
    x, y = (np.pad(z, ((0, 0), (0, width - z.shape[1]))) for z in (x, y))
    return LinearMetric(alpha=1.0, center_columns=True).fit_score(x, y)
