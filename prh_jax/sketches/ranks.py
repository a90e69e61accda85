"""Ranks of dissimilarities: made of float32 numbers, and again in float64 where rounding has mixed them up."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Num

from ..numerics.exact_neighbors import ExactFeatures
from ..numerics.exact_pairs import ExactPairs

PROBES = 1024
"""Dissimilarities of a layer that are asked how many others rounding may have put on their wrong side."""

DOUBT = 5e-4
"""Root mean square of that number, as a share of all, above which ranks are recomputed. A correlation of ranks differs
by less than four times that, and by far less where the same ranks change places in the other layer."""


def in_doubt(ordered: Float[Array, " m"], margins: Float[Array, " m"], first: int = 0) -> Bool[Array, ""]:
    """Whether rounding may have mixed up the order of numbers by more than DOUBT.

    Parameters
    ----------
    ordered
        The numbers, in ascending order.
    margins
        How near to each another one may be that belongs on its other side; negative where that is not known.
    first
        How many numbers at the start are no dissimilarities.
    """
    many = ordered.shape[0] - first
    probes = first + np.linspace(0, many - 1, min(many, PROBES)).astype(np.int32)
    values, margin = ordered[probes], margins[probes]
    above = jnp.searchsorted(ordered, values + margin, side="right")
    below = jnp.searchsorted(ordered, values - margin, side="left")
    # a pair that stands twice is not in doubt with itself
    between = jnp.maximum(above - below - (2 if first else 1), 0).astype(ordered.dtype) / many
    return (jnp.min(margin) >= 0) & (jnp.mean(between * between) > DOUBT**2)


def entry_margins(margin: Float[Array, " n"]) -> Float[Array, "n n"]:
    """Margins of the dissimilarities of all pairs, from those of all that a sample has."""
    return lax.stop_gradient(jnp.minimum(margin[:, None], margin[None, :]))


def exact_levels(
    dissimilarity: str, x: Num[np.ndarray, "n d"], threshold: float, *, normalized: bool
) -> Int[np.ndarray, "n n"]:
    """`ExactPairs.levels` of features that are clipped and, if `normalized`, divided by their lengths."""
    euclidean = dissimilarity == "euclidean"
    features: Any = ExactFeatures(
        x,
        "distance" if euclidean else "product",
        normalized or not euclidean,
        threshold,
        row_centered=dissimilarity == "correlation",
    )
    return ExactPairs(features).levels()
