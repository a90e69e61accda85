"""Representational similarity analysis: whether two layers agree on which samples are unlike."""

import dataclasses
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jax import lax

from ..null.forms import Dense
from ..numerics.inversions import LANES, entries, inversions, share
from ..numerics.varying import varying_as
from ..runtime.host import quiet_blas
from ..sketches.base import Sketcher
from ..sketches.dissimilarities import Dissimilarity, DissimilaritySketcher
from ..sketches.packed_matrix import PackedMatrix
from ..sketches.pair_order import PairOrder, PairOrderSketcher
from .base import Score, on_host
from .inner_product import InnerProductMetric
from .kernels import PairwiseKernel, TileKernel


def tau(a: PairOrder, b: PairOrder) -> Score:
    """Tau-b: concordant minus discordant pairs of pairs, over the root of those not tied in a times those not in b."""
    first, second = ([entries(z) for z in (side.places, side.mirrored)] for side in (a, b))
    many = first[0].shape[0]
    filling = jnp.arange(many, -(-many // LANES) * LANES, dtype=jnp.int32)  # at the end, and in order

    def discordant(p, q):
        order = jnp.zeros_like(p).at[p].set(q, unique_indices=True, mode="promise_in_bounds")
        return share(inversions(jnp.concatenate([order, varying_as(filling, order)]))[:many]).astype(a.tied.dtype)

    def add(i, total):
        p, q = jnp.where(i % 2 == 1, first[1], first[0]), jnp.where(i >= 2, second[1], second[0])
        needless = ((i % 2 == 1) & ~(a.tied > 0)) | ((i >= 2) & ~(b.tied > 0))
        return total + lax.cond(needless, lambda *_: jnp.zeros_like(total), discordant, p, q)

    total = lax.fori_loop(0, 4, add, jnp.zeros_like(a.tied))
    count = jnp.where(a.tied > 0, 2, 1) * jnp.where(b.tied > 0, 2, 1)
    return (1 - 2 * total / count.astype(total.dtype)) / jnp.sqrt((1 - a.tied) * (1 - b.tied))


Comparison = Literal["spearman", "kendall", "pearson", "cosine"]
FORMS: dict[Comparison, Literal["ranks", "centered", "unit"]] = {
    "spearman": "ranks",
    "pearson": "centered",
    "cosine": "unit",
}


@dataclasses.dataclass(frozen=True)
class Rsa(InnerProductMetric):
    """Correlation of the two layers' dissimilarities between samples, over all pairs of samples.

    `score = corr_{i<j}(D_ij, E_ij)`, with D and E the dissimilarities between samples in the two layers. The function
    `rsa` has the details.

    Parameters
    ----------
    rdm, compare_by
        As in `rsa`.
    """

    name = "rsa"
    source = "Kriegeskorte et al. 2008, doi:10.3389/neuro.06.004.2008"
    stand_in = "prh_jax.rsa with compare_by='pearson' or 'cosine'"

    rdm: Dissimilarity = "correlation"
    compare_by: Comparison = "spearman"

    def __post_init__(self):
        super().__post_init__()
        if self.rdm not in ("correlation", "euclidean", "cosine"):
            raise ValueError(f"{self.name} has rdm 'correlation', 'euclidean' and 'cosine', got {self.rdm!r}.")
        if self.compare_by not in (*FORMS, "kendall"):
            raise ValueError(f"{self.name} compares by {', '.join(FORMS)} and kendall, got {self.compare_by!r}.")

    @property
    def differentiable(self) -> bool:
        return self.compare_by not in ("spearman", "kendall")

    @property
    def bounds(self) -> tuple[float, float]:
        return (0.0, 1.0) if self.compare_by == "cosine" else (-1.0, 1.0)

    @property
    def invariances(self) -> frozenset[str]:
        others = {
            "correlation": {"row_scaling"},
            "euclidean": {"orthogonal", "translation"},
            "cosine": {"row_scaling", "orthogonal"},
        }
        return frozenset({"isotropic_scaling"} | others[self.rdm])

    @property
    def sketcher(self) -> Sketcher:
        if self.compare_by == "kendall":
            return PairOrderSketcher(self.rdm)
        return DissimilaritySketcher(self.rdm, FORMS[self.compare_by])

    def score(self, upper: Any, diagonal: Any, a: PackedMatrix, b: PackedMatrix) -> Any:
        return 2 * upper + diagonal

    def inner_form(self, sketch: Any) -> Dense | None:
        return None if self.compare_by == "kendall" else Dense(sketch.matrix())

    @property
    def tile_kernel(self) -> TileKernel:
        # tau is no inner product: it is counted pair by pair
        return PairwiseKernel(self) if self.compare_by == "kendall" else super().tile_kernel

    def compare(self, a: Any, b: Any) -> Score:
        return tau(a, b) if self.compare_by == "kendall" else super().compare(a, b)

    def masked(self, x: Any, y: Any, where: Any) -> Score:
        sketcher = self.sketcher
        if not isinstance(sketcher, DissimilaritySketcher):
            raise ValueError(f"{self.name} by kendall takes no where= under jit; pass x[mask], y[mask] outside of it.")
        a, b = (sketcher.masked(sketcher.summarizer(z), where) for z in (x, y))
        return self.compare(a, b)

    def alone(self, x: Any, y: Any) -> Any:
        sketcher = self.sketcher
        if not isinstance(sketcher, DissimilaritySketcher) or sketcher.form != "ranks" or not on_host(x, y):
            return None
        with quiet_blas():
            a, b = (sketcher.ranks_on_host(z) for z in (x, y))
            if a is None or b is None:
                return None
            return np.float32(a @ b / np.sqrt((a @ a) * (b @ b)))

    def chance(self, n: int) -> float | None:
        return None if self.compare_by == "cosine" else 0.0


def rsa(
    x: Any,
    y: Any,
    *,
    rdm: Dissimilarity = "correlation",
    compare_by: Comparison = "spearman",
    where: Any = None,
) -> Score:
    """Return the representational similarity (RSA) of two layers.

    `score = corr_{i<j}(D_ij, E_ij)`, with D and E the dissimilarities between samples in the two layers. It is 0 on
    average at chance, except with compare_by="cosine". There is a gradient with "pearson" and "cosine" alone.

    Parameters
    ----------
    x, y
        Features (n, dx) and (n, dy), n >= 4. Row i of both is the same sample.
    rdm
        Dissimilarity of two samples: 1 minus the Pearson "correlation" of their rows over features, "euclidean"
        distance, or 1 minus the "cosine" of their rows. In rsatoolbox "euclidean" is the squared distance divided by
        the width, which has the same ranks.
    compare_by
        Correlation of the dissimilarities: "spearman" (equal values get their mean rank), "kendall" (tau-b),
        "pearson" or "cosine". The "tau-a" of rsatoolbox leaves ties in the denominator.
    where
        Booleans (n,), True for the rows that count. All rows count if None.

    Returns
    -------
    Array
        Score in [-1, 1], or in [0, 1] with compare_by="cosine". NaN where a dissimilarity is undefined: for a
        row of zeros by "cosine", and for a row of equal features by "correlation". So it is where all samples of a
        layer are equal, or a feature is not finite.

    Raises
    ------
    ValueError
        If the shapes do not match or a setting is out of range.
    TypeError
        If the features are not real numbers.

    Notes
    -----
    "kendall" takes N log N steps of `N = n (n - 1) / 2` for every pair of layers: half a second at n = 1024 on a CPU,
    where "spearman" takes microseconds. It takes at most 5,793 samples.

    References
    ----------
    Kriegeskorte et al. 2008, doi:10.3389/neuro.06.004.2008.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> y = x + rng.normal(size=(20, 4))
    >>> print(f"{prh_jax.rsa(x, y):.2f}")
    0.48
    """
    return Rsa(rdm, compare_by)(x, y, where=where)
