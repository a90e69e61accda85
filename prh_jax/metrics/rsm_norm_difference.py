"""Norm of the difference of two layers' dissimilarities: how far apart, not only how correlated."""

import dataclasses
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from ..numerics import linalg
from ..numerics.packing import unpack_upper
from ..sketches.dissimilarities import Dissimilarity, DissimilaritySketcher
from ..sketches.on_host import distances_on_host
from ..sketches.packed_matrix import PackedMatrix
from .base import PairwiseMetric, Score

Norm = Literal["frobenius", "spectral"]


@dataclasses.dataclass(frozen=True)
class RsmNormDifference(PairwiseMetric):
    """Norm of the difference of the two layers' matrices of dissimilarities between samples.

    `score = |D - E|`, with D and E the dissimilarities between samples. The function `rsm_norm_difference` has the
    details.

    Parameters
    ----------
    rdm, norm
        As in `rsm_norm_difference`.
    """

    name = "rsm_norm_difference"
    source = "Yin and Shen 2018, arXiv:1812.04224; Klabunde et al. 2025, arXiv:2305.06329"
    larger_is_closer = False
    differentiable = True
    bounds = (0.0, float("inf"))
    self_score = 0.0

    rdm: Dissimilarity = "euclidean"
    norm: Norm = "frobenius"

    def __post_init__(self):
        super().__post_init__()
        if self.rdm not in ("correlation", "euclidean", "cosine"):
            raise ValueError(f"{self.name} has rdm 'euclidean', 'cosine' and 'correlation', got {self.rdm!r}.")
        if self.norm not in ("frobenius", "spectral"):
            raise ValueError(f"{self.name} has norms 'frobenius' and 'spectral', got {self.norm!r}.")

    @property
    def decomposes(self) -> bool:
        return self.norm == "spectral"

    @property
    def invariances(self) -> frozenset[str]:
        names = {
            "euclidean": {"orthogonal", "translation"},
            "cosine": {"orthogonal", "isotropic_scaling", "row_scaling"},
            "correlation": {"isotropic_scaling", "row_scaling"},
        }
        return frozenset(names[self.rdm])

    @property
    def sketcher(self) -> DissimilaritySketcher:
        return DissimilaritySketcher(self.rdm, "raw")

    def by_numpy(self, x: Any, y: Any) -> Any:
        if self.rdm != "euclidean" or self.norm != "frobenius":
            return None
        a, b = distances_on_host(x), distances_on_host(y)
        return None if a is None or b is None else np.linalg.norm(np.subtract(a, b, out=a))

    def compare(self, a: PackedMatrix, b: PackedMatrix) -> Score:
        difference = a.upper - b.upper
        if self.norm == "frobenius":
            return 2**0.5 * linalg.frobenius_norm(difference)
        return jnp.max(jnp.abs(jnp.linalg.eigvalsh(unpack_upper(difference))))


def rsm_norm_difference(x: Any, y: Any, *, rdm: Dissimilarity = "euclidean", norm: Norm = "frobenius") -> Score:
    """Return the norm of the difference of two layers' dissimilarity matrices.

    `score = |D - E|`, with D and E the dissimilarities between samples. With the Euclidean distance the score is on
    the scale of the features. It grows with n.

    Parameters
    ----------
    x, y
        Features (n, dx) and (n, dy), n >= 4. Row i of both is the same sample.
    rdm
        Dissimilarity of two samples: "euclidean" distance, or 1 minus the "cosine" or "correlation" of their rows.
    norm
        "frobenius", the norm of the whole matrix, in which each pair of samples counts twice, or "spectral", the
        largest absolute eigenvalue. Some packages compute one and name it the other.

    Returns
    -------
    Array
        Distance from 0 up. Smaller is closer. NaN where a dissimilarity is undefined: for a row of zeros by
        "cosine", and for a row of equal features by "correlation". So it is where all samples of a layer are equal,
        or a feature is not finite.

    Raises
    ------
    ValueError
        If the shapes do not match or a setting is out of range.
    TypeError
        If the features are not real numbers.

    References
    ----------
    Yin and Shen 2018, arXiv:1812.04224; Klabunde et al. 2025, arXiv:2305.06329.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> y = x + rng.normal(size=(20, 4))
    >>> print(f"{prh_jax.rsm_norm_difference(x, y):.2f}")
    29.87
    """
    return RsmNormDifference(rdm, norm)(x, y)
