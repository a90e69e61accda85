"""Scores of given dissimilarities (RDMs): of crossnobis distances, for example, which no sketch of features has."""

from typing import Any

import numpy as np

from ..arrays import NotRealError, real_numbers
from ..metrics.rsa import FORMS
from .repeats import NoiseCeiling


def compare_rdms(a: Any, b: Any, *, compare_by: str = "spearman") -> float:
    """Compare two matrices of dissimilarities of the same samples, as `rsa` does.

    `score = corr_{i<j}(a_ij, b_ij)`. `rsa` makes the dissimilarities from features; use this function if you have
    dissimilarities already, such as those of `crossnobis`.

    Parameters
    ----------
    a, b
        Dissimilarities of n >= 3 samples: (n (n - 1) / 2,) in the order of `scipy.spatial.distance.pdist`, or symmetric
        matrices (n, n), whose diagonals do not count.
    compare_by
        "spearman", "kendall" (tau-b), "pearson" or "cosine", as in `rsa`.

    Returns
    -------
    float
        Score in [-1, 1].

    Raises
    ------
    ValueError
        If shapes do not match, values are not finite, or the dissimilarities do not vary (are all 0 for "cosine").
    TypeError
        If the dissimilarities are not real numbers.

    References
    ----------
    Kriegeskorte et al. 2008, doi:10.3389/neuro.06.004.2008.

    Examples
    --------
    >>> import prh_jax
    >>> print(round(prh_jax.compare_rdms([1.0, 2.0, 3.0], [1.0, 3.0, 2.0]), 3))
    0.5
    """
    one, other = _vectors("compare_rdms", [a, b], compare_by)
    return _correlate(one, other, compare_by)


def rdm_noise_ceiling(rdms: Any, *, compare_by: str = "spearman") -> NoiseCeiling:
    """Estimate the lower and upper noise ceiling of RSA from the dissimilarities of several subjects or repeats.

    `lower = mean_s corr(mean of the others, s)` and `upper = mean_s corr(mean of all, s)`. The mean is that of ranks
    for "spearman" and "kendall". For "pearson" each RDM first gets mean 0 and length 1, and for "cosine" length 1.
    `upper` is then the highest score that one RDM can have on average with all subjects; for "kendall" it is close to
    it. `lower` is, on average, below the score of the true RDM.

    Parameters
    ----------
    rdms
        Dissimilarities of the same n >= 3 samples, one for each subject: an array (subjects, n (n - 1) / 2) or
        (subjects, n, n), or a list. Subjects may have different features.
    compare_by
        "spearman", "kendall" (tau-b), "pearson" or "cosine", as in `rsa`.

    Returns
    -------
    NoiseCeiling
        Bounds in [-1, 1], and the scores of single subjects.

    Raises
    ------
    ValueError
        If there are fewer than 2 RDMs, shapes do not match, values are not finite, or an RDM or a mean of them does
        not vary.
    TypeError
        If the dissimilarities are not real numbers.

    Notes
    -----
    Equal to `boot_noise_ceiling` of rsatoolbox. `noise_ceiling` compares means of features, not of dissimilarities, and
    takes any metric.

    References
    ----------
    Nili et al. 2014, doi:10.1371/journal.pcbi.1003553.

    Examples
    --------
    >>> import prh_jax
    >>> found = prh_jax.rdm_noise_ceiling([[1.0, 2.0, 3.0], [1.0, 3.0, 2.0]], compare_by="spearman")
    >>> print(round(found.lower, 3), round(found.upper, 3))
    0.5 0.866
    """
    if not isinstance(rdms, list | tuple) and _is_rdm(rdms):
        raise ValueError("A noise ceiling needs at least 2 RDMs, got one square matrix.")
    given = _vectors("rdm_noise_ceiling", rdms, compare_by)
    if len(given) < 2:
        raise ValueError(f"A noise ceiling needs at least 2 RDMs, got {len(given)}.")
    forms = np.stack([_normal_form(one, compare_by) for one in given])
    total, count = forms.sum(axis=0), len(forms)
    lower = [_correlate((total - form) / (count - 1), one, compare_by) for form, one in zip(forms, given, strict=True)]
    upper = [_correlate(total / count, one, compare_by) for one in given]
    if not np.isfinite([*lower, *upper]).all():
        raise ValueError("The mean of some RDMs does not vary, so that it has no score: there is nothing they share.")
    return NoiseCeiling(float(np.mean(lower)), float(np.mean(upper)), np.array(lower), np.array(upper))


def _is_rdm(given: Any) -> bool:
    """Whether something is one matrix of dissimilarities: square, symmetric, with zeros on its diagonal."""
    matrix = np.asarray(given)
    square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1] and matrix.dtype.kind in "fiu"
    return square and not np.diagonal(matrix).any() and np.allclose(matrix, matrix.T)


def _normal_form(rdm: np.ndarray, compare_by: str) -> np.ndarray:
    """The form in which dissimilarities of subjects are averaged."""
    from scipy.stats import rankdata  # slow to import, and needed here alone

    if compare_by in ("spearman", "kendall"):
        return rankdata(rdm)
    apart = rdm - rdm.mean() if compare_by == "pearson" else rdm
    return apart / np.linalg.norm(apart)


def _correlate(a: np.ndarray, b: np.ndarray, compare_by: str) -> float:
    from scipy.stats import kendalltau, rankdata  # slow to import, and needed here alone

    if compare_by == "kendall":
        found: Any = kendalltau(a, b)
        return float(found.statistic)
    if compare_by == "spearman":
        a, b = rankdata(a), rankdata(b)
    if compare_by != "cosine":
        a, b = a - a.mean(), b - b.mean()
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    return float(np.clip(a @ b / norms, -1, 1)) if norms > 0 else float("nan")


def _vectors(who: str, rdms: Any, compare_by: str) -> list[np.ndarray]:
    """Each RDM as a vector in float64, its largest entry 1; ValueError unless they are of the same samples and vary."""
    if compare_by not in (*FORMS, "kendall"):
        raise ValueError(f"{who} compares by {', '.join(FORMS)} and kendall, got {compare_by!r}.")
    try:
        items = list(rdms) if isinstance(rdms, list | tuple) else list(np.atleast_1d(np.asarray(real_numbers(rdms))))
        found = [_vector(who, np.asarray(real_numbers(item), np.float64)) for item in items]
    except NotRealError as error:
        raise TypeError(f"{who} takes real numbers, and was given {error}.") from error
    sizes = sorted({len(one) for one in found})
    if len(sizes) > 1:
        raise ValueError(f"{who} compares dissimilarities of the same samples; got {sizes} pairs of samples.")
    for place, one in enumerate(found):
        apart = one if compare_by == "cosine" else one - one.mean()
        if np.abs(apart).max() <= 1e-14:
            state = "are all 0" if compare_by == "cosine" else "are all equal"
            raise ValueError(f"The dissimilarities of RDM {place} {state}, so that they have no {compare_by} score.")
    return found


def _vector(who: str, rdm: np.ndarray) -> np.ndarray:
    square = rdm.ndim == 2 and rdm.shape[0] == rdm.shape[1] >= 3
    n = len(rdm) if square else int((2 * rdm.size) ** 0.5) + 1
    if not square and (rdm.ndim != 1 or n < 3 or rdm.size != n * (n - 1) // 2):
        raise ValueError(
            f"{who} takes dissimilarities of n >= 3 samples as a vector of n (n - 1) / 2 pairs or a matrix (n, n), got "
            f"shape {rdm.shape}."
        )
    found = rdm[np.triu_indices(n, 1)] if square else rdm
    if not np.isfinite(found).all():
        raise ValueError(f"{who} needs finite dissimilarities: leave out samples with NaN or infinity.")
    if square and not np.allclose(found, rdm.T[np.triu_indices(n, 1)], rtol=1e-5, atol=1e-6 * np.abs(found).max()):
        raise ValueError(f"{who} takes symmetric matrices: give their mean with the transpose, (rdm + rdm.T) / 2.")
    return found / (np.abs(found).max() or 1)
