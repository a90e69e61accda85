"""Estimators of the dimension of a layer, and their standard errors: numpy in float64."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ..numerics.exact_neighbors import ExactFeatures, parts
from ..runtime.host import quiet_blas


class Estimate(NamedTuple):
    """An estimate and its standard error, NaN if there is none."""

    value: float
    error: float


def two_nn(distances: Float[np.ndarray, "n k"], discard: float) -> float:
    """The dimension from ratios of the distances to the second and the first neighbour (Facco et al. 2017).

    A line through the origin is fitted to `-log(1 - i / n)` against the i-th smallest log ratio, without the largest
    ratios. With discard=0 it is the estimate of maximum likelihood, `(n - 1) / sum(log ratio)`.
    """
    logs = np.log(distances[:, 1] / distances[:, 0])
    n, kept = len(logs), kept_ratios(len(logs), discard)
    if kept == n:
        return over(n - 1, logs.sum())
    logs = np.sort(logs)[:kept]
    heights = -np.log1p(-np.arange(1, kept + 1) / n)
    return over(heights @ logs, logs @ logs)


def kept_ratios(n: int, discard: float) -> int:
    """How many of n ratios are not discarded."""
    return int(n * (1 - discard))


def inverse_dimensions(distances: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " n"]:
    """The inverse of Levina and Bickel's estimate at each sample: the mean of `log(T_k / T_j)` over j < k.

    Rows may have infinite distances at their end, which do not count.
    """
    known = np.isfinite(distances)
    last = known.sum(axis=1) - 1
    farthest = np.take_along_axis(distances, last[:, None], axis=1)
    return np.log(farthest / np.where(known, distances, farthest)).sum(axis=1) / last


def maximum_likelihood(distances: Float[np.ndarray, "n k"]) -> float:
    """The inverse of the mean of the inverse estimates (MacKay and Ghahramani 2005)."""
    return over(1.0, inverse_dimensions(distances).mean())


def over(top: Any, bottom: Any) -> float:
    """A quotient, infinite for a divisor of zero: all distances are then equal."""
    return float(top / bottom) if bottom > 0 else float("inf")


def errors_by_halves(
    estimators: Sequence[Callable[[Any], float]],
    values: Sequence[float],
    lists: Int[np.ndarray, "n m"],
    distances: Float[np.ndarray, "n m"],
    k: int,
    splits: int,
    seed: int,
) -> list[float]:
    """Standard errors of estimators of the k nearest distances, from random halves of the samples.

    The halves of a split have no sample in common. Half the mean squared difference of the logarithms of their
    estimates is the squared relative error at n / 2 samples, and half of that is the one at n samples. Estimates of
    fewer samples are smaller, and so are their errors in proportion, which logarithms allow for.

    Parameters
    ----------
    lists, distances
        The samples nearest to each, nearest first: enough for each to have k of its own half among them.
    """
    n = len(lists)
    found = np.empty((splits, 2, len(estimators)))
    for split in range(splits):
        half = np.zeros(n, bool)
        half[np.random.default_rng([seed, split]).permutation(n)[: n // 2]] = True
        near = first_of_own(half, lists, distances, k)
        for side in (0, 1):
            found[split, side] = [estimate(near[half == side]) for estimate in estimators]
    with np.errstate(invalid="ignore"):  # of infinite estimates
        errors = np.sqrt(np.log(found).var(axis=1, ddof=1).mean(axis=0) / 2)
        return [float(error) for error in np.asarray(values) * errors]


def first_of_own(
    half: Bool[np.ndarray, " n"], lists: Int[np.ndarray, "n m"], distances: Float[np.ndarray, "n m"], k: int
) -> Float[np.ndarray, "n k"]:
    """The distances to the first k in each list that are in the sample's own half; infinite if a list has fewer."""
    near = np.full((len(lists), k), np.inf)
    for part in parts(*lists.shape):
        own = half[lists[part]] == half[part, None]
        place = np.cumsum(own, axis=1, dtype=np.int32) - 1
        rows, columns = np.nonzero(own & (place < k))
        near[rows + part.start, place[rows, columns]] = distances[part][rows, columns]
    return near


def spectral_estimates(exact: ExactFeatures, names: Sequence[str], *, errors: bool) -> dict[str, Estimate] | None:
    """The participation ratio and the effective rank; None if all samples are equal.

    The squared standard error is that of the infinitesimal jackknife, `n / (n - 1) * sum(influence^2)`. The influence
    of a sample on a function of the eigenvalues l_k of `x'x` is `sum_k f_k l_k v_ki^2`: f_k is the derivative by l_k,
    and v_ki are the left singular vectors of x. Influences sum to zero, as the scale of x changes no estimate.
    """
    spectrum = decompose(exact, vectors=errors)
    if spectrum is None:
        return None
    found = {name: SPECTRAL[name](spectrum.values) for name in names}
    if spectrum.shares is None:
        return {name: Estimate(value, np.nan) for name, (value, _) in found.items()}
    influences = spectrum.shares(np.stack([slopes for _, slopes in found.values()], axis=1))
    n = len(influences)
    sizes = np.sqrt((influences**2).sum(axis=0) * n / (n - 1))
    return {name: Estimate(value, float(size)) for (name, (value, _)), size in zip(found.items(), sizes, strict=True)}


class Spectrum(NamedTuple):
    """Eigenvalues of the covariance times n, none of them zero, and the sum of `weights_k v_ki^2` for each sample i."""

    values: Float[np.ndarray, " r"]
    shares: Callable[[Float[np.ndarray, "r e"]], Float[np.ndarray, "n e"]] | None


def decompose(exact: ExactFeatures, *, vectors: bool) -> Spectrum | None:
    """The spectrum of features less their mean, from the smaller of `x'x` and `x x'`; None if it is zero."""
    n, width = exact.given.shape
    pieces = list(parts(n, width))
    # equal rows become zeros: the mean alone leaves its rounding
    origin = exact.rows(slice(0, 1))
    mean = sum((exact.rows(part) - origin).sum(axis=0) for part in pieces) / n

    def centered(part: slice) -> Float[np.ndarray, "m d"]:
        rows = exact.rows(part)
        rows -= origin
        rows -= mean
        return rows

    if width <= n:
        products = sum((rows := centered(part)).T @ rows for part in pieces)
    else:
        whole = centered(slice(None))
        products = whole @ whole.T
    with quiet_blas():
        values, basis = np.linalg.eigh(products) if vectors else (np.linalg.eigvalsh(products), None)
    # what rounding leaves of eigenvalues that are zero has no meaning, and the effective rank takes its root
    kept = values > max(n, width) * np.finfo(float).eps * values[-1]
    if not kept.any():
        return None
    values = values[kept]
    if basis is None:
        return Spectrum(values, None)
    basis = basis[:, kept]

    def shares(weights: Float[np.ndarray, "r e"]) -> Float[np.ndarray, "n e"]:
        if width > n:
            return basis**2 @ weights
        weights = weights / values[:, None]
        return np.concatenate([(centered(part) @ basis) ** 2 @ weights for part in pieces])

    return Spectrum(values, shares)


def participation_ratio(values: Float[np.ndarray, " r"]) -> tuple[float, Float[np.ndarray, " r"]]:
    """`(sum l)^2 / sum l^2` of eigenvalues, and its derivatives by them times l_k."""
    total, squares = values.sum(), values @ values
    ratio = total**2 / squares
    return float(ratio), 2 * ratio * values * (1 / total - values / squares)


def effective_rank(values: Float[np.ndarray, " r"]) -> tuple[float, Float[np.ndarray, " r"]]:
    """`exp(entropy)` of singular values divided by their sum (Roy and Vetterli 2007), and its derivatives times l_k."""
    shares = np.sqrt(values) / np.sqrt(values).sum()
    entropy = -(shares * np.log(shares)).sum()
    rank = np.exp(entropy)
    return float(rank), -rank * shares * (np.log(shares) + entropy) / 2


SPECTRAL = {"participation_ratio": participation_ratio, "effective_rank": effective_rank}
