"""Centred kernel alignment, biased and unbiased: the cosine of two centred Gram matrices."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ..null.forms import Dense
from ..null.low_rank import LowRank
from ..numerics.blocks import gram
from ..numerics.linalg import HIGHEST, inner
from ..sketches.gram import Gram, GramSketcher, Kernel
from ..sketches.gram_factor import GramFactor
from ..sketches.layer_factors import unit_factor
from ..sketches.masks import at_least, fill_in
from ..sketches.on_host import centered_on_host, squared_norm_of_gram, squared_norm_on_host
from ..sketches.packed_matrix import squared_norm
from .base import Score, check_positive, checked_mask
from .factors import ScoredByFactors
from .inner_product import InnerProductMetric, unbiased_cosine


@dataclasses.dataclass(frozen=True)
class Cka(ScoredByFactors, InnerProductMetric):
    """Cosine of the two layers' centred Gram matrices.

    `score = <HKH, HLH> / (|HKH| |HLH|)`, with K and L the Gram matrices of the kernel and `H = I - 11'/n`. The
    function `cka` has the details.

    Parameters
    ----------
    kernel, sigma, eps, median
        As in `cka`.
    """

    name = "cka"
    source = "Kornblith et al. 2019, arXiv:1905.00414"
    differentiable = True

    kernel: Kernel = "linear"
    sigma: float = 1.0
    eps: float = 0.0
    median: bool = False

    def __post_init__(self):
        super().__post_init__()
        if self.kernel not in ("linear", "rbf"):
            raise ValueError(f"{self.name} has kernels 'linear' and 'rbf', got {self.kernel!r}.")
        check_positive(self.name, sigma=self.sigma)
        if self.median and self.kernel != "rbf":
            raise ValueError(f"{self.name} has a sigma, and a median that scales it, with kernel='rbf' only.")
        if not self.eps >= 0:
            raise ValueError(f"{self.name} needs eps >= 0, got {self.eps!r}.")

    @property
    def invariances(self) -> frozenset[str]:
        scale_free = (self.kernel == "linear" and self.eps == 0) or self.median
        return frozenset({"orthogonal", "translation"} | ({"isotropic_scaling"} if scale_free else set()))

    @property
    def sketcher(self) -> GramSketcher:
        return GramSketcher(self.kernel, self.sigma if self.kernel == "rbf" else 1.0, self.median)

    def inner_form(self, sketch: Gram | GramFactor) -> Dense | LowRank | None:
        if self.eps:
            return None
        return LowRank.of(sketch.columns) if isinstance(sketch, GramFactor) else Dense(sketch.matrix())

    def score(self, upper: Any, diagonal: Any, a: Any, b: Any, n: Any = None) -> Any:
        cosine = 2 * upper + diagonal
        return cosine / (1 + self.eps * a.inverse_norm * b.inverse_norm) if self.eps else cosine

    def masked(self, x: Any, y: Any, where: Any, sigma: Any = None) -> Score:
        sketcher = self.sketcher
        a, b = (sketcher.sketch(sketcher.summarizer(z), where, sigma) for z in (x, y))
        n = at_least(where, 4).astype(a.upper.dtype)
        return self.score(inner(a.upper, b.upper), inner(a.diagonal, b.diagonal), a, b, n)

    def serves(self, x: Any, y: Any) -> bool:
        return self.kernel == "linear" and max(x.shape[1], y.shape[1]) < x.shape[0]

    def by_numpy(self, x: Any, y: Any) -> Any:
        if not self.serves(x, y):
            return None
        a, b = centered_on_host(x), centered_on_host(y)
        if a is None or b is None:
            return None
        shared = squared_norm_on_host(a.columns.T @ b.columns)
        own = [squared_norm_of_gram(z.columns) for z in (a, b)]
        return shared / ((own[0] * own[1]) ** 0.5 + self.eps)

    def of_factors(self, x: Any, y: Any) -> tuple[Score, Any]:
        a, b = unit_factor(x), unit_factor(y)
        shared = squared_norm(jnp.matmul(a.columns.T, b.columns, precision=HIGHEST))
        own = [squared_norm(gram(z.columns.T)) ** 0.5 for z in (a, b)]
        cosine = shared / own[0] / own[1]
        if self.eps:
            cosine = cosine / (1 + self.eps / own[0] / own[1] / a.size / a.size / b.size / b.size)
        return cosine, a.sure & b.sure


@dataclasses.dataclass(frozen=True)
class UnbiasedCka(Cka):
    """Cosine of the two layers' U-centred Gram matrices: CKA from the unbiased HSIC, 0 on average at chance.

    `score = <A, B> / (|A| |B|)`, with A and B the U-centred Gram matrices. The function `unbiased_cka` has the
    details.

    Parameters
    ----------
    kernel, sigma, eps, median
        As in `unbiased_cka`.
    """

    name = "unbiased_cka"
    source = "Song et al. 2012, JMLR 13, eq. 5; Szekely and Rizzo 2014, arXiv:1310.2926"
    bounds = (-1.0, 1.0)

    def serves(self, x: Any, y: Any) -> bool:
        """Return False: without the diagonal, there is no shorter way for all layers."""
        return False

    def by_numpy(self, x: Any, y: Any) -> Any:
        n = len(x)
        if self.kernel != "linear" or max(x.shape[1], y.shape[1]) >= n:
            return None
        a, b = centered_on_host(x), centered_on_host(y)
        if a is None or b is None:
            return None
        p, q = (np.vecdot(z.columns, z.columns).astype(np.float64) for z in (a, b))  # the diagonals
        whole = squared_norm_on_host(a.columns.T @ b.columns), *(squared_norm_of_gram(z.columns) for z in (a, b))
        shared, *own = (
            square + k.sum() * m.sum() / ((n - 1) * (n - 2)) - (k @ m) * (1 + 2 / (n - 2))
            for square, k, m in zip(whole, (p, p, q), (q, p, q), strict=True)
        )
        if not (own[0] > whole[1] / 30 and own[1] > whole[2] / 30):
            return None  # of the products of features next to nothing is left without the diagonals
        norm = (own[0] * own[1]) ** 0.5
        return shared / (norm + self.eps * n * (n - 3)) if whole[0] < 30 * norm else None

    def score(self, upper: Any, diagonal: Any, a: Any, b: Any, n: Any = None) -> Any:
        n = 1.0 * (a.diagonal.shape[-1] if n is None else n)
        extra = self.eps * (n * (n - 3)) * a.inverse_norm * b.inverse_norm if self.eps else 0
        return unbiased_cosine(upper, a, b, extra=extra)

    def inner_form(self, sketch: Gram | GramFactor) -> Dense | LowRank | None:
        form = super().inner_form(sketch)
        return None if form is None else form.u_centered(sketch.unbiased_norm)

    def chance(self, n: int) -> float:
        return 0.0


def _scored(kind: type[Cka], x: Any, y: Any, where: Any, sigma: Any, **settings: Any) -> Score:
    """The score by settings of which sigma may be traced, for a metric whose own settings are static."""
    if not isinstance(sigma, Tracer):
        return kind(sigma=sigma.item() if isinstance(sigma, jax.Array) else sigma, **settings)(x, y, where=where)
    if sigma.shape != ():
        raise ValueError(
            f"{kind.name} needs sigma to be one number, got an array of shape {sigma.shape}: use jax.vmap."
        )
    metric = kind(**settings)
    x, y = (jnp.asarray(z) for z in metric._checked_pair(x, y))
    where = jnp.ones(x.shape[0], bool) if where is None else jnp.asarray(checked_mask(metric, where, x.shape[0]))
    score = metric.masked(fill_in(x, where), fill_in(y, where), where, jnp.where(sigma > 0, sigma, 1))
    return jnp.where((sigma > 0) & (jnp.sum(where) >= 4), score, jnp.nan)


def cka(
    x: Any,
    y: Any,
    *,
    kernel: Kernel = "linear",
    sigma: Any = 1.0,
    eps: float = 0.0,
    median: bool = False,
    where: Any = None,
) -> Score:
    """Return the centred kernel alignment (CKA) of two layers.

    `score = <HKH, HLH> / (|HKH| |HLH|)`, with K and L the Gram matrices of the kernel and `H = I - 11'/n`.
    Independent layers score far above 0 if they are wider than there are samples. Compare the score with chance, or
    use `unbiased_cka`.

    Parameters
    ----------
    x, y
        Features (n, dx) and (n, dy), n >= 4. Row i of both is the same sample.
    kernel
        "linear", the inner product of rows, or "rbf", `exp(-|x_i - x_j|^2 / (2 sigma^2))`.
    sigma
        Bandwidth of the RBF kernel, above 0. It may be traced under `jit` and has a derivative; a traced sigma that
        is not above 0 gives NaN.
    eps
        Number added to the denominator `|HKH| |HLH|`. The reference adds 1e-6. With it the score depends on the scale
        of the features.
    median
        True gives sigma in units of the median distance between two samples of the layer, as in Kornblith et al.
        Other packages take the median of squared distances, or count each sample's distance 0 to itself.
    where
        Booleans (n,), True for the rows that count. All rows count if None.

    Returns
    -------
    Array
        Score in [0, 1]. NaN where all samples of a layer are equal, or a feature is not finite.

    Raises
    ------
    ValueError
        If the shapes do not match or a setting is out of range.
    TypeError
        If the features are not real numbers.

    References
    ----------
    Kornblith et al. 2019, arXiv:1905.00414.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> y = x + rng.normal(size=(20, 4))
    >>> print(f"{prh_jax.cka(x, y):.2f}")
    0.55
    """
    return _scored(Cka, x, y, where, sigma, kernel=kernel, eps=eps, median=median)


def unbiased_cka(
    x: Any,
    y: Any,
    *,
    kernel: Kernel = "linear",
    sigma: Any = 1.0,
    eps: float = 0.0,
    median: bool = False,
    where: Any = None,
) -> Score:
    """Return the CKA of two layers from the unbiased HSIC, which is 0 on average at chance.

    `score = <A, B> / (|A| |B|)`, with A and B the U-centred Gram matrices. This equals
    `HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))` with the unbiased HSIC of Song et al.

    Parameters
    ----------
    x, y
        Features (n, dx) and (n, dy), n >= 4. Row i of both is the same sample.
    kernel
        "linear", the inner product of rows, or "rbf", `exp(-|x_i - x_j|^2 / (2 sigma^2))`.
    sigma
        Bandwidth of the RBF kernel, above 0. It may be traced under `jit` and has a derivative; a traced sigma that
        is not above 0 gives NaN.
    eps
        Number added to the denominator `sqrt(HSIC(K, K) HSIC(L, L))`, with HSIC divided by `n (n - 3)`. The reference
        adds 1e-6, which lowers the score by 0.1 % at n = 1024.
    median
        True gives sigma in units of the median distance between two samples of the layer, as in Kornblith et al.
        Other packages take the median of squared distances, or count each sample's distance 0 to itself.
    where
        Booleans (n,), True for the rows that count. All rows count if None.

    Returns
    -------
    Array
        Score in [-1, 1]. NaN where all samples of a layer are equal, or a feature is not finite.

    Raises
    ------
    ValueError
        If the shapes do not match or a setting is out of range.
    TypeError
        If the features are not real numbers.

    References
    ----------
    Song et al. 2012, JMLR 13, eq. 5; Szekely and Rizzo 2014, arXiv:1310.2926.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> y = x + rng.normal(size=(20, 4))
    >>> print(f"{prh_jax.unbiased_cka(x, y):.2f}")
    0.47
    """
    return _scored(UnbiasedCka, x, y, where, sigma, kernel=kernel, eps=eps, median=median)
