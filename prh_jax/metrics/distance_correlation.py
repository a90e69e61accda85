"""Distance correlation: CKA whose kernel is the Euclidean distance."""

import dataclasses
from typing import Any

import numpy as np

from ..null.forms import Dense
from ..numerics import linalg
from ..sketches.gram import Gram, GramSketcher
from ..sketches.on_host import distances_on_host
from .base import Score
from .inner_product import InnerProductMetric, unbiased_cosine


@dataclasses.dataclass(frozen=True)
class DistanceCorrelation(InnerProductMetric):
    """Root of the cosine of the two layers' centred matrices of Euclidean distances.

    `score = sqrt(<HDH, HEH> / (|HDH| |HEH|))`, in [0, 1]; D, E the distances between samples, `H = I - 11'/n`. In the
    limit of many samples 0 means independent layers; of few, wide independent layers score near 1.

    Settings: `biased`, as above, or with False the bias-corrected square: the cosine of U-centred distances, in [-1, 1]
    and 0 on average at chance. Packages differ: dcor's `distance_correlation` is our default and its
    `u_distance_correlation_sqr` is biased=False; others return the square of the former.
    """

    name = "distance_correlation"
    source = "Szekely et al. 2007, arXiv:0803.4101; bias-corrected: Szekely and Rizzo 2014, arXiv:1310.2926"
    differentiable = True
    invariances = frozenset({"orthogonal", "isotropic_scaling", "translation"})

    biased: bool = True

    @property
    def bounds(self) -> tuple[float, float]:
        return (0.0, 1.0) if self.biased else (-1.0, 1.0)

    @property
    def sketcher(self) -> GramSketcher:
        return GramSketcher("distance")

    def by_numpy(self, x: Any, y: Any) -> Any:
        if not self.biased:
            return None
        layers = []
        for z in (x, y):
            distances = distances_on_host(z)
            if distances is None:
                return None
            means = distances.mean(axis=0)
            distances -= means
            distances -= (means - means.mean())[:, None]
            layers.append(distances)
        a, b = layers
        shared, *own = (float(np.vdot(p, q)) for p, q in ((a, b), (a, a), (b, b)))
        return max(shared, 0) ** 0.5 / (own[0] * own[1]) ** 0.25

    def score(self, upper: Any, diagonal: Any, a: Gram, b: Gram) -> Any:
        if self.biased:
            return linalg.safe_sqrt(2 * upper + diagonal)
        return unbiased_cosine(upper, a, b)

    def inner_form(self, sketch: Gram) -> Dense | None:
        # biased it is a root of an inner product
        return None if self.biased else Dense(sketch.matrix()).u_centered(sketch.unbiased_norm)

    def chance(self, n: int) -> float | None:
        return None if self.biased else 0.0


def distance_correlation(x: Any, y: Any, *, biased: bool = True) -> Score:
    """Root of the cosine of the two layers' centred matrices of distances: `DistanceCorrelation(biased)(x, y)`.

    x (n, dx) and y (n, dy) hold one sample a row, in the same order. Range [0, 1]. Differentiable.
    """
    return DistanceCorrelation(biased)(x, y)
