"""Crossnobis distances, precisions of noise and scores of RDMs, by their definitions, scipy and known truths."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import pdist, squareform

from prh_jax import compare_rdms, crossnobis, noise_precision, rdm_noise_ceiling

RNG = np.random.default_rng(0)
REPEATS = RNG.normal(size=(6, 5)) + RNG.normal(size=(3, 6, 5))
MIX = RNG.normal(size=(5, 5))
RESIDUALS = RNG.normal(size=(12, 5)) @ MIX
RDMS = np.round(RNG.gamma(2, size=15) + RNG.gamma(2, size=(4, 15)), 1)
"""With ties."""


def correlate(a, b, compare_by):
    if compare_by == "cosine":
        return a @ b / np.sqrt((a @ a) * (b @ b))
    function = {"spearman": stats.spearmanr, "pearson": stats.pearsonr, "kendall": stats.kendalltau}[compare_by]
    return function(a, b).statistic


def test_crossnobis_is_the_mean_over_folds_of_distances_to_the_others():
    """Each repeat against the mean of the rest, as rsatoolbox has it."""
    precision = MIX @ MIX.T
    for given, matrix in ((None, np.eye(5)), (precision, precision)):
        expected = []
        for i, j in combinations(range(6), 2):
            folds = []
            for r in range(3):
                rest = np.delete(REPEATS, r, axis=0).mean(axis=0)
                folds.append((REPEATS[r, i] - REPEATS[r, j]) @ matrix @ (rest[i] - rest[j]) / 5)
            expected.append(np.mean(folds))
        np.testing.assert_allclose(crossnobis(REPEATS + 100, precision=given), expected, rtol=1e-9)


def test_crossnobis_of_noise_is_zero_on_average_and_of_signal_the_distance():
    rng = np.random.default_rng(1)
    true = rng.normal(size=(8, 40))
    found = np.mean([crossnobis(true + 2 * rng.normal(size=(3, 8, 40))) for _ in range(400)], axis=0)
    np.testing.assert_allclose(found, pdist(true, "sqeuclidean") / 40, atol=0.15)  # noise alone would add 8
    found = [crossnobis(rng.normal(size=(2, 8, 40))).mean() for _ in range(400)]
    assert abs(np.mean(found)) < 4 * np.std(found) / 20


def naive_precision(x, shrink, dof):
    """The formulas of Ledoit and Wolf, and of Schafer and Strimmer with given degrees of freedom, entry by entry."""
    x = x - x.mean(axis=0)
    m, d = x.shape
    products = np.einsum("mi,mj->mij", x, x)
    if shrink == "identity":
        s = products.mean(axis=0)
        mean = np.trace(s) / d
        spread = ((s - mean * np.eye(d)) ** 2).sum()
        error = min(spread, ((products - s) ** 2).sum() / m**2)
        return np.linalg.inv((error / spread * mean * np.eye(d) + (1 - error / spread) * s) * m / dof)
    s = products.sum(axis=0) / dof
    scale = np.sqrt(np.outer(np.diag(s), np.diag(s)))
    w = products / scale
    mean = w.sum(axis=0) / (m - 1)
    variance = m / dof**2 * ((w**2).sum(axis=0) / (m - 1) - mean**2)
    off = ~np.eye(d, dtype=bool)
    share = np.clip(variance[off].sum() / (mean[off] ** 2).sum(), 0, 1)
    assert 0 < share < 1
    return np.linalg.inv(np.where(off, (1 - share) * s, s))


@pytest.mark.parametrize("shrink", ["diagonal", "identity"])
def test_precision_is_that_of_the_formulas(shrink):
    found = noise_precision(1e5 * RESIDUALS + 3, shrink=shrink)
    np.testing.assert_allclose(1e10 * found, naive_precision(RESIDUALS, shrink, 11), rtol=1e-7)
    np.testing.assert_allclose(
        noise_precision(RESIDUALS, shrink=shrink, dof=8), naive_precision(RESIDUALS, shrink, 8), rtol=1e-9
    )
    rows = (REPEATS - REPEATS.mean(axis=0)).reshape(18, 5) @ MIX
    np.testing.assert_allclose(
        noise_precision(list(REPEATS @ MIX), shrink=shrink), naive_precision(rows, shrink, 12), rtol=1e-9
    )


def test_precision_of_many_residuals_is_that_of_the_noise():
    rows = np.random.default_rng(0).normal(size=(100_000, 3)) @ (np.eye(3) + 0.5)
    covariance = (np.eye(3) + 0.5) @ (np.eye(3) + 0.5)
    for shrink in ("diagonal", "identity"):
        np.testing.assert_allclose(noise_precision(rows, shrink=shrink) @ covariance, np.eye(3), atol=0.03)


@pytest.mark.parametrize("compare_by", ["spearman", "kendall", "pearson", "cosine"])
def test_scores_of_rdms_are_those_of_scipy(compare_by):
    expected = correlate(RDMS[0], RDMS[1], compare_by)
    assert compare_rdms(RDMS[0], 1e200 * RDMS[1], compare_by=compare_by) == pytest.approx(expected, rel=1e-12)
    assert compare_rdms(squareform(RDMS[0]), list(RDMS[1]), compare_by=compare_by) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("compare_by", ["spearman", "kendall", "pearson", "cosine"])
def test_ceilings_of_rdms_are_those_of_pooled_rdms(compare_by):
    forms = {
        "spearman": stats.rankdata(RDMS, axis=1),
        "kendall": stats.rankdata(RDMS, axis=1),
        "pearson": stats.zscore(RDMS, axis=1),
        "cosine": RDMS / np.sqrt((RDMS**2).mean(axis=1, keepdims=True)),
    }[compare_by]
    lower = [correlate(np.delete(forms, s, axis=0).mean(axis=0), RDMS[s], compare_by) for s in range(4)]
    upper = [correlate(forms.mean(axis=0), RDMS[s], compare_by) for s in range(4)]
    for given in (RDMS, [squareform(one) for one in RDMS], np.stack([squareform(one) for one in RDMS])):
        found = rdm_noise_ceiling(given, compare_by=compare_by)
        np.testing.assert_allclose(found.lower_each, lower, rtol=1e-12)
        np.testing.assert_allclose(found.upper_each, upper, rtol=1e-12)
    assert (found.lower, found.upper) == (pytest.approx(np.mean(lower)), pytest.approx(np.mean(upper)))


def test_no_rdm_exceeds_the_upper_ceiling():
    for compare_by in ("spearman", "pearson", "cosine"):
        upper = rdm_noise_ceiling(RDMS, compare_by=compare_by).upper
        for other in (*RDMS, *np.random.default_rng(0).gamma(2, size=(20, 15)), RDMS.mean(axis=0)):
            assert np.mean([compare_rdms(other, one, compare_by=compare_by) for one in RDMS]) <= upper + 1e-12


def test_input_that_is_refused():
    skewed = squareform(RDMS[0]) + np.triu(np.ones((6, 6)), 1)
    for call, words in (
        (lambda: compare_rdms(RDMS[0], RDMS[0, :10]), r"\[10, 15\] pairs"),
        (lambda: compare_rdms(RDMS[0, :7], RDMS[0, :7]), r"shape \(7,\)"),
        (lambda: compare_rdms(RDMS[0], skewed), "symmetric"),
        (lambda: compare_rdms(RDMS[0], np.full(15, 0.3)), "RDM 1 are all equal"),
        (lambda: compare_rdms(RDMS[0], np.zeros(15), compare_by="cosine"), "are all 0"),
        (lambda: compare_rdms(RDMS[0], np.full(15, np.inf)), "finite"),
        (lambda: compare_rdms(RDMS[0], RDMS[1], compare_by="tau"), "compares by"),
        (lambda: rdm_noise_ceiling(RDMS[:1]), "at least 2 RDMs"),
        (lambda: rdm_noise_ceiling(RDMS[0]), r"shape \(\)"),
        (lambda: rdm_noise_ceiling([]), "at least 2 RDMs"),
        (lambda: rdm_noise_ceiling(squareform(RDMS[0])), "one square matrix"),
        (lambda: rdm_noise_ceiling([[1, 2, 3], [3, 2, 1]]), "does not vary"),
        (lambda: crossnobis(REPEATS[:1]), "at least 2 repeats"),
        (lambda: crossnobis(REPEATS[:, :1]), "at least 2 samples"),
        (lambda: crossnobis(REPEATS, precision=np.eye(4)), r"matrix \(5, 5\), got shape \(4, 4\)"),
        (lambda: crossnobis(REPEATS, precision=MIX), "symmetric"),
        (lambda: crossnobis(REPEATS, precision=1e-9 * np.triu(np.ones((5, 5)))), "symmetric"),
        (lambda: crossnobis(REPEATS, precision=np.diag([1, 1, 1, 1, -0.1])), "negative in a direction"),
        (lambda: noise_precision(RESIDUALS[:2]), "at least 3 residuals"),
        (lambda: noise_precision(REPEATS * [1, 1, 1, 1, 0] + np.arange(6)[:, None] / 7), "1 of 5 features do not vary"),
        (lambda: noise_precision(RESIDUALS * [1, 1, 1, 1, 0] + 0.1), "1 of 5 features do not vary"),
        (lambda: noise_precision(RESIDUALS * [1, 1, 0, 1, 0]), "2 of 5 features do not vary"),
        (lambda: noise_precision(RESIDUALS, shrink="full"), "'diagonal' or 'identity'"),
        (lambda: noise_precision(RESIDUALS, dof=0), "degree of freedom"),
        (lambda: noise_precision(RESIDUALS * np.inf), "finite"),
    ):
        with np.errstate(invalid="ignore"), pytest.raises(ValueError, match=words):
            call()
    for call in (lambda: compare_rdms(RDMS[0], "no"), lambda: crossnobis(1j * REPEATS), lambda: noise_precision("no")):
        with pytest.raises(TypeError, match="takes real numbers, and was given"):
            call()
