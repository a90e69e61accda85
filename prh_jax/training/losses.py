"""Alignment inside a training step: differentiable scores of batches that may be padded or spread over devices.

Every metric that declares a gradient is also a loss (`1 - prh_jax.cknna(x, y)`). The functions here take `where` and
`axis_name` as well.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Num

from ..numerics import linalg
from ..numerics.linalg import HIGHEST
from ..numerics.real import as_real
from ..numerics.whole import is_whole


class Hsic(NamedTuple):
    """Hilbert-Schmidt independence criterion of x with y and of each with itself."""

    xy: Float[Array, ""]
    xx: Float[Array, ""]
    yy: Float[Array, ""]

    @property
    def cosine(self) -> Float[Array, ""]:
        """`xy / sqrt(xx yy)`: CKA. NaN, with a finite gradient, where a side does not vary or leaves the floats."""
        defined = (self.xx > 0) & (self.yy > 0) & jnp.isfinite(self.xx) & jnp.isfinite(self.yy)
        xx, yy = (jnp.where(defined, z, 1) for z in (self.xx, self.yy))
        return jnp.where(defined, self.xy / jnp.sqrt(xx) / jnp.sqrt(yy), jnp.nan)


def hsic_sums(a: Float[Array, "n n"], b: Float[Array, "n n"], where: Bool[Array, " n"], unbiased: bool) -> Hsic:
    """HSIC times the number of pairs of samples, from Gram matrices and the samples of them that count.

    Unbiased: Song et al. 2012, eq. 5, times `m (m - 3)`; NaN below 4 samples. Biased: `<HKH, HLH>`.
    """
    count = jnp.sum(where)
    (u, g), (v, h) = (linalg.split_center(gram, where, jnp.maximum(count, 4)) for gram in (a, b))

    def product(k, q, own, other):
        whole = linalg.inner(k, q)
        return jnp.where(count >= 4, whole, jnp.nan) if unbiased else whole + linalg.inner(own, other)

    return Hsic(product(u, v, g, h), product(u, u, g, g), product(v, v, h, h))


def batch_cka(
    x: Any,
    y: Any,
    *,
    unbiased: bool = True,
    where: Any = None,
    axis_name: Any = None,
) -> Float[Array, ""]:
    """Return the linear CKA of the samples of a batch that count, for use as a loss: `1 - batch_cka(x, y)`.

    Parameters
    ----------
    x, y
        Features (n, dx) and (n, dy). Row i of both is the same sample.
    unbiased
        True is `unbiased_cka` of the rows that count, False `cka`.
    where
        Booleans (n,), True for the rows that count; all if None. The others may hold anything, such as padding.
    axis_name
        Axis of a `shard_map` or `pmap` over which the samples are spread. Their rows are gathered first.

    Returns
    -------
    Array
        Score in [-1, 1], or in [0, 1] with unbiased=False. NaN, with a finite gradient, if a side is constant.

    Raises
    ------
    ValueError
        If the shapes do not match.

    Examples
    --------
    >>> import jax
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> y = x + rng.normal(size=(20, 4))
    >>> print(f"{jax.jit(prh_jax.batch_cka)(x, y, where=np.arange(20) < 12):.2f}")
    0.39
    """
    x, y, where = gathered("batch_cka", x, y, where, axis_name)
    gram_x, gram_y = scaled_gram(x, where)[0], scaled_gram(y, where)[0]
    return hsic_sums(gram_x, gram_y, where, unbiased).cosine


def gram_cka(gram_x: Any, gram_y: Any, *, unbiased: bool = False) -> Float[Array, ""]:
    """Return the CKA of two Gram matrices, for kernels of your own: `gram_cka(kernel(x), kernel(y))`.

    `score = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))`, which is `cka` of these kernels, or `unbiased_cka` with
    unbiased=True.

    Parameters
    ----------
    gram_x, gram_y
        Symmetric matrices (n, n), n >= 4. Entry (i, j) is the kernel of samples i and j.
    unbiased
        Take the unbiased HSIC.

    Returns
    -------
    Array
        Score in [-1, 1], or in [0, 1] for positive kernels and the biased form. NaN, with a finite gradient, for a
        constant matrix.

    Raises
    ------
    ValueError
        If the matrices are not square or differ in shape.

    Examples
    --------
    >>> import jax
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> y = x + rng.normal(size=(20, 4))
    >>> print(f"{jax.jit(prh_jax.gram_cka)(x @ x.T, y @ y.T):.2f}")
    0.55
    """
    grams = [as_real("gram_cka", gram) for gram in (gram_x, gram_y)]
    if grams[0].ndim != 2 or len({*grams[0].shape, *grams[1].shape}) > 1 or len(grams[0]) < 4:
        raise ValueError(
            f"gram_cka compares two (n, n) matrices with n >= 4, got shapes {grams[0].shape} and {grams[1].shape}."
        )
    a, b = (z * linalg.power_of_two(z) for z in map(linalg.at_least_float32, grams))
    # no score depends on what all entries share, and a constant matrix is to be zero to the bit
    a, b = (z - lax.stop_gradient(z.reshape(-1)[jnp.argmin(jnp.abs(z))]) for z in (a, b))
    return hsic_sums(a, b, jnp.ones(len(a), bool), unbiased).cosine


def soft_mutual_knn(
    x: Any,
    y: Any,
    *,
    k: int = 10,
    temperature: Any = 0.05,
    where: Any = None,
    axis_name: Any = None,
) -> Float[Array, ""]:
    """Return mutual kNN with soft neighbourhoods, which has a gradient.

    `score = <m_x, m_y> / (|m_x| |m_y|)`, with `m_ij = sigmoid((s_ij - t_i) / temperature)` for i != j, s the cosine
    similarities of rows and t_i half-way between the k-th and the next largest of row i. It goes to `mutual_knn` as the
    temperature goes to 0. At a high temperature all samples are neighbours and the score goes to 1. Compare layers at
    one temperature, and report `mutual_knn` in tables.

    Parameters
    ----------
    x, y
        Features (n, dx) and (n, dy). Row i of both is the same sample.
    k
        Number of neighbours, 1 <= k <= n - 2.
    temperature
        Width of the neighbourhoods' edge in units of the cosine, above 0. It may be traced; a traced temperature that
        is not above 0 gives NaN.
    where, axis_name
        As in `batch_cka`.

    Returns
    -------
    Array
        Score in [0, 1]. NaN, with a finite gradient, if a side is constant, or if fewer than k + 2 samples count.

    Raises
    ------
    ValueError
        If k or the temperature is out of range, or the shapes do not match.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> y = x + rng.normal(size=(20, 4))
    >>> print(f"{prh_jax.soft_mutual_knn(x, y, k=3, temperature=1e-6):.2f}")
    0.50
    """
    if not isinstance(temperature, Tracer) and not temperature > 0:
        raise ValueError(f"soft_mutual_knn needs temperature > 0, got {temperature!r}.")
    x, y, where = gathered("soft_mutual_knn", x, y, where, axis_name)
    n = x.shape[0]
    if not (is_whole(k) and 1 <= k <= n - 2):
        raise ValueError(
            f"soft_mutual_knn of {n} samples needs a whole number k, 1 <= k <= {n - 2}, got k = {k!r}. Choose a "
            "smaller k."
        )
    others = where[None, :] & ~jnp.eye(n, dtype=bool)

    def neighborhoods(z):
        rows = linalg.unit_rows(jnp.where(where[:, None], linalg.at_least_float32(z), 0))
        similarity = jnp.where(others, jnp.matmul(rows, rows.T, precision=HIGHEST), -jnp.inf)
        nearest = lax.top_k(similarity, k + 1)[0]
        limit = (nearest[:, k - 1 : k] + nearest[:, k:]) / 2
        soft = jax.nn.sigmoid((jnp.where(others, similarity, 0) - limit) / jnp.asarray(temperature, similarity.dtype))
        return jnp.where(others & where[:, None] & ~constant(rows, where), soft, 0)

    a, b = neighborhoods(x), neighborhoods(y)
    score = Hsic(*(jnp.vdot(p, q, precision=HIGHEST) for p, q in ((a, b), (a, a), (b, b)))).cosine
    return jnp.where((jnp.sum(where) >= k + 2) & (jnp.asarray(temperature) > 0), score, jnp.nan)


def gathered(who: str, x: Any, y: Any, where: Any, axis_name: Any) -> tuple[Any, Any, Any]:
    """Both layers and the samples that count, checked, and put together from all devices of an axis."""
    x, y = (as_real(who, z) for z in (x, y))
    if x.ndim != 2 or y.ndim != 2 or x.shape[0] != y.shape[0]:
        raise ValueError(
            f"{who} compares features of shapes (n, dx) and (n, dy) whose row i is the same sample; got {x.shape} and "
            f"{y.shape}."
        )
    where = jnp.ones(x.shape[0], bool) if where is None else jnp.asarray(where)
    if where.shape != x.shape[:1] or where.dtype != bool:
        raise ValueError(f"where= is a boolean for each of the {x.shape[0]} samples, got {where.dtype} {where.shape}.")
    if axis_name is None:
        return x, y, where
    return tuple(lax.all_gather(z, axis_name, tiled=True) for z in (x, y, where))  # type: ignore[return-value]


def constant(x: Float[Array, "n d"], where: Bool[Array, " n"]) -> Bool[Array, ""]:
    """Whether the rows that count are equal up to rounding, as `column_ranges` judges a layer; others are zero."""
    spread = jnp.max(jnp.where(where[:, None], jnp.abs(x - x[jnp.argmax(where)][None, :]), 0))
    return spread <= 4 * jnp.finfo(x.dtype).eps * jnp.max(jnp.abs(x))


def scaled_gram(x: Num[Array, "n d"], where: Bool[Array, " n"]) -> tuple[Float[Array, "n n"], Float[Array, ""]]:
    """Gram matrix of the rows that count, less a point in their midst, the others zero, and the power of two in it.

    The point is the mean of each feature without its largest and its smallest value: one sample far from all others
    would draw the mean away from these, and digits are lost with the distance.

    Zero where these rows are equal up to rounding: a mean that is rounded would leave a remnant, to be scaled up.
    """
    x = jnp.where(where[:, None], linalg.at_least_float32(x), 0)
    first = linalg.power_of_two(x)
    x = x * first
    inner = (
        jnp.sum(x, axis=0)
        - jnp.max(x, axis=0, where=where[:, None], initial=-1)
        - jnp.min(x, axis=0, where=where[:, None], initial=1)
    )
    # scores do not depend on it
    center = lax.stop_gradient(inner / jnp.maximum(jnp.sum(where) - 2, 1).astype(x.dtype))[None, :]
    x = jnp.where(where[:, None] & ~constant(x, where), x - center, 0)
    second = linalg.power_of_two(x)
    return jnp.matmul(x * second, (x * second).T, precision=HIGHEST), (first * second) ** 2
