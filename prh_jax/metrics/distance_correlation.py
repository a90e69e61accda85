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

    `score = sqrt(<HDH, HEH> / (|HDH| |HEH|))`, with D and E the Euclidean distances between samples and
    `H = I - 11'/n`. The function `distance_correlation` has the details.

    Parameters
    ----------
    biased
        As in `distance_correlation`.
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
    """Return the distance correlation of two layers.

    `score = sqrt(<HDH, HEH> / (|HDH| |HEH|))`, with D and E the Euclidean distances between samples and
    `H = I - 11'/n`. With many samples, 0 means that the layers are independent. With few samples, wide independent
    layers score near 1.

    Parameters
    ----------
    x, y
        Features (n, dx) and (n, dy), n >= 4. Row i of both is the same sample.
    biased
        True computes the score above. False computes the bias-corrected square: the cosine of the U-centred
        distances, 0 on average at chance. The function `distance_correlation` of dcor is biased=True, its
        `u_distance_correlation_sqr` is biased=False. Other packages return the square of the biased score.

    Returns
    -------
    Array
        Score in [0, 1], or in [-1, 1] with biased=False. NaN where all samples of a layer are equal, or a feature is
        not finite.

    Raises
    ------
    ValueError
        If the shapes do not match or a setting is out of range.
    TypeError
        If the features are not real numbers.

    References
    ----------
    Szekely et al. 2007, arXiv:0803.4101; Szekely and Rizzo 2014, arXiv:1310.2926.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> y = x + rng.normal(size=(20, 4))
    >>> print(f"{prh_jax.distance_correlation(x, y):.2f}")
    0.84
    """
    return DistanceCorrelation(biased)(x, y)
