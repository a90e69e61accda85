"""Why a layer has no score: said to the user, of features on the host."""

import warnings
from typing import Any

import jax
import numpy as np
from jaxtyping import Int, Num

from ..numerics.exact_neighbors import ExactFeatures

NO_DIGITS = (
    "leaves the metric undefined, or rounding leaves no digits of it: standardise or clip features, or pass float64 "
    "arrays within jax.enable_x64(True)"
)
"""Message for a layer whose features look sound."""


def same_features(n: int) -> str:
    """Message for a layer of n samples that are all equal."""
    return f"is constant: all {n} samples have the same features"


def listed(samples: Int[np.ndarray, " m"]) -> str:
    """The first of some samples, for messages."""
    return "samples " + ", ".join(map(str, samples[:3])) + (", ..." if len(samples) > 3 else "")


def has_nan(sketch: Any) -> bool:
    """Whether a sketch has no information: a number of it is NaN, or its lists of neighbours are empty."""
    for leaf in jax.tree.leaves(sketch):
        leaf = np.asarray(leaf)
        lists = leaf.dtype.kind == "i" and leaf.size
        if (lists and leaf.flat[0] < 0) or (leaf.dtype.kind == "f" and np.isnan(np.sum(leaf))):
            return True
    return False


def why_no_score(x: Num[np.ndarray, "n d"], threshold: float = np.inf) -> str | None:
    """Fault of a layer of these features, clipped at a threshold, and the remedy; None if it is not seen.

    The sentence goes on from the name of the layer.
    """
    x = ExactFeatures(x, "distance", False, threshold).rows(slice(None))
    wrong = ~np.isfinite(x).all(axis=1)
    if wrong.any():
        return f"has values that are NaN or infinite in {wrong.sum()} of {len(x)} samples: leave these samples out"
    largest = np.abs(x).max()
    if 0 < largest < np.finfo(np.float32).tiny:
        return (
            f"has no value above {largest:.1e}, where float32 has no digits: multiply its features by 2.0**100, say, "
            "before they are rounded to float32"
        )
    if (x == x[:1]).all():
        return same_features(len(x))
    if np.abs(x - x[:1]).max() <= 4 * np.finfo(np.float32).eps * largest:
        return (
            "is constant up to the rounding of float32: subtract the mean of each feature before features are rounded, "
            "or pass float64 arrays within jax.enable_x64(True)"
        )
    zero = np.flatnonzero(~x.any(axis=1))
    if len(zero):
        return f"has rows of zeros, which have no direction ({listed(zero)}): leave these samples out"
    lengths = np.sqrt(np.square(x / largest).sum(axis=1, keepdims=True))
    unit = x / largest / lengths
    if np.abs(unit - unit[:1]).max() <= 4 * np.finfo(np.float32).eps:
        return "has samples of one direction, so that all cosines are 1: subtract the mean of each feature"
    equal = np.flatnonzero((x == x[:, :1]).all(axis=1))
    if len(equal):
        return f"has rows of equal features, which correlate with nothing ({listed(equal)}): leave these samples out"
    away = np.abs(x - np.median(x, axis=0)).max(axis=1)
    far = np.flatnonzero(away > 1000 * np.median(away))
    if len(far):
        return (
            f"has samples far from all others ({listed(far)}), and rounding leaves few digits of these: leave "
            "them out, or clip features"
        )
    return None


def warn_of_nan(metric: str, score: Any, *layers: tuple[str, Any, Any]) -> None:
    """Warn that a score is NaN, and of the layers it is due to: each its name, its features and its sketch."""
    if not np.isnan(np.asarray(score)):
        return
    found = {name: why_no_score(np.asarray(x)) for name, x, _ in layers}
    blamed = [name for name, _, sketch in layers if has_nan(sketch)] or [name for name, why in found.items() if why]
    said = [f"{name} {found.get(name) or NO_DIGITS}" for name in blamed or [" or ".join(found)]]
    warnings.warn(f"{metric} is NaN: {'; '.join(said)}.", RuntimeWarning, stacklevel=3)
