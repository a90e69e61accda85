"""Ceilings and reliabilities of repeats, by scores computed one by one and by known variances."""

from itertools import permutations

import numpy as np
import pytest

import prh_jax
from prh_jax import disattenuate, noise_ceiling, split_half_reliability
from prh_jax.analysis.reliability import _halves

RNG = np.random.default_rng(0)
TRUE = RNG.normal(size=(24, 6))
REPEATS = TRUE + RNG.normal(size=(4, 24, 6))


def linear_cka(x, y):
    """CKA in float64, from the centred Gram matrices."""
    k, m = ((z - z.mean(axis=0)) @ (z - z.mean(axis=0)).T for z in (x, y))
    return np.sum(k * m) / np.sqrt(np.sum(k * k) * np.sum(m * m))


def correlation(x, y):
    import jax.numpy as jnp

    return jnp.corrcoef(x[:, 0], y[:, 0])[0, 1]


CORRELATION = prh_jax.FunctionMetric("correlation", correlation, symmetric=True, bounds=(-1.0, 1.0))
FIRST_LENGTH = prh_jax.FunctionMetric("first_length", lambda x, y: abs(x).sum() + 0 * y.sum())


def test_ceilings_are_scores_with_the_mean_of_others_and_of_all():
    found = noise_ceiling(list(REPEATS), "cka")
    lower = [linear_cka(np.mean([z for s, z in enumerate(REPEATS) if s != r], axis=0), REPEATS[r]) for r in range(4)]
    upper = [linear_cka(REPEATS.sum(axis=0) / 4, one) for one in REPEATS]
    np.testing.assert_allclose(found.lower_each, lower, rtol=1e-5)
    np.testing.assert_allclose(found.upper_each, upper, rtol=1e-5)
    assert (found.lower, found.upper) == (pytest.approx(np.mean(lower)), pytest.approx(np.mean(upper)))


@pytest.mark.parametrize("metric", ["unbiased_cka", "rsa", "mutual_knn:k=3"])
def test_the_truth_scores_between_the_ceilings(metric):
    metric, *_ = prh_jax.metrics.registry.make_metrics(metric).values()
    rows = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        true = rng.normal(size=(40, 8)).astype(np.float32)
        repeats = true + rng.normal(size=(4, 40, 8)).astype(np.float32)
        found = noise_ceiling(repeats, metric)
        rows.append((found.lower, np.mean([metric(true, one) for one in repeats]), found.upper))
    lower, truth, upper = np.mean(rows, axis=0)
    assert lower < truth < upper


def test_of_a_metric_with_a_direction_the_mean_is_x():
    found = noise_ceiling(REPEATS, FIRST_LENGTH)
    np.testing.assert_allclose(found.upper_each, np.abs(REPEATS.mean(axis=0)).sum(), rtol=1e-5)
    assert len(set(found.lower_each)) == 4


def test_each_split_is_made_once_if_there_are_few():
    for count, expected in ((2, 1), (3, 3), (4, 3), (5, 15), (6, 10)):
        halves = list(_halves(count, 100, 0))
        half, orders = count // 2, permutations(range(count))
        by_hand = {frozenset({frozenset(o[:half]), frozenset(o[half : 2 * half])}) for o in orders}
        assert len(halves) == expected == len(by_hand)
        assert {frozenset(map(frozenset, pair)) for pair in halves} == by_hand
    drawn = list(_halves(10, 5, 0))
    assert len(drawn) == 5 and all(len({*a, *b}) == 10 and len(a) == 5 for a, b in drawn)


def test_reliability_is_the_formula_of_the_mean_over_splits():
    halves = [([0, 1], [2, 3]), ([0, 2], [1, 3]), ([0, 3], [1, 2])]
    scores = [linear_cka(REPEATS[one].mean(axis=0), REPEATS[other].mean(axis=0)) for one, other in halves]
    found = split_half_reliability(REPEATS, "cka")
    np.testing.assert_allclose(found.scores, scores, rtol=1e-5)
    assert found.sd == pytest.approx(np.std(scores, ddof=1), rel=1e-3)
    mean = np.mean(scores)
    assert found.reliability == found.mean == pytest.approx(mean, rel=1e-5)
    found = split_half_reliability(REPEATS, "cka", spearman_brown=True)
    assert found.reliability == pytest.approx(2 * mean / (1 + mean), rel=1e-5)
    three = split_half_reliability(REPEATS[:3], "cka", spearman_brown=True)  # one of three repeats is a half
    assert three.reliability == pytest.approx(3 * three.mean / (1 + 2 * three.mean))
    assert np.isnan(split_half_reliability(REPEATS[:2], "cka").sd)


def test_a_metric_with_a_direction_has_the_mean_of_both():
    found = split_half_reliability(REPEATS[:2], FIRST_LENGTH)
    assert found.mean == pytest.approx(np.abs(REPEATS[:2]).sum() / 2, rel=1e-5)


def test_reliability_and_true_correlation_are_recovered():
    """Of a feature of variance 1 with noise of variance 4 in each of 8 repeats, reliability is 1 / (1 + 4 / 8)."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_000, 1))
    y = 0.6 * x + 0.8 * rng.normal(size=x.shape)
    noisy = [z + 2 * rng.normal(size=(8, *x.shape)) for z in (x, y)]
    found = [split_half_reliability(z, CORRELATION, splits=10) for z in noisy]
    assert [one.reliability for one in found] == pytest.approx([2 / 3, 2 / 3], abs=0.02)
    raw = np.corrcoef(*(z.mean(axis=0)[:, 0] for z in noisy))[0, 1]
    assert raw == pytest.approx(0.4, abs=0.02)
    assert disattenuate(raw, *found) == pytest.approx(0.6, abs=0.03)


def test_reliability_at_or_below_zero_is_left_and_refused():
    opposite = [TRUE, -TRUE]
    found = split_half_reliability(opposite, CORRELATION)
    assert found.reliability == found.mean == pytest.approx(-1)
    with pytest.raises(ValueError, match="reliability_y must be above 0"):
        disattenuate(0.5, 1.0, found)
    for wrong in (0.0, np.nan, 1.5, [0.5, -0.1]):
        with pytest.raises(ValueError, match="reliability_x must be above 0 and at most 1"):
            disattenuate(0.5, wrong)


def test_disattenuation_by_arithmetic():
    assert disattenuate(0.6, 0.64, 0.25) == pytest.approx(1.5)
    np.testing.assert_allclose(disattenuate([[0.2], [0.4]], [0.25, 1.0]), [[0.4, 0.2], [0.8, 0.4]])


@pytest.mark.parametrize("function", [noise_ceiling, split_half_reliability])
def test_input_that_is_refused(function):
    for wrong, words in (
        (REPEATS[0], r"\(n, d\)"),
        (REPEATS[:1], "at least 2 repeats, got 1"),
        ([], "of no repeat"),
        ([TRUE, TRUE[:, :3]], r"shapes \(24, 3\), \(24, 6\)"),
        ([TRUE, np.where(TRUE > 2, np.nan, TRUE)], "finite"),
    ):
        with pytest.raises(ValueError, match=words):
            function(wrong, "cka")
    with pytest.raises(ValueError, match="Unknown metric"):
        function(REPEATS, "ckaa")


def test_settings_that_are_refused():
    with pytest.raises(ValueError, match="splits is a whole number of at least 1"):
        split_half_reliability(REPEATS, "cka", splits=0)
    with pytest.raises(ValueError, match="procrustes_distance is a distance"):
        split_half_reliability(REPEATS, "procrustes_distance", spearman_brown=True)
