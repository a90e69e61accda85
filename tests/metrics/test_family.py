"""What contract tests cannot know of single metrics: ties, widths, arguments of papers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inputs import correlated, make_store, scored
from oracles import ORACLES
from oracles.dissimilarities import rsa
from scipy.optimize import linear_sum_assignment
from scipy.stats import kendalltau

from prh_jax import Null, Preprocess, align, curve_over_n
from prh_jax.metrics import PermutationProcrustes, Rsa
from prh_jax.metrics.registry import make_metric
from prh_jax.numerics.assignment import best_match
from prh_jax.numerics.inversions import inversions, share
from prh_jax.sketches.base import SketchContext


@pytest.mark.parametrize("n", [5, 8, 17, 30])
@pytest.mark.parametrize("values", [2, 9, 1000])
def test_tau_of_ties(n, values, x64):
    """Few values, so that pairs of pairs are tied in one layer, in the other, and in both; against scipy."""
    rng = np.random.default_rng(n)
    x, y = rng.integers(0, values, size=(2, n, 3)).astype(float)
    y[:, 0] = x[:, 0]
    score = float(scored(Rsa("euclidean", "kendall"), x, y))
    assert score == pytest.approx(rsa(x, y, "euclidean", "kendall"), abs=1e-12)


def test_inversions_are_counted_exactly():
    """Of a permutation of 4,224, as many as the definition counts; tau from float32 shares is scipy's."""
    order = np.random.default_rng(0).permutation(4224).astype(np.int32)
    counts = np.asarray(jax.jit(inversions)(order), np.int64)
    assert counts.sum() == sum(int((order[:i] > order[i]).sum()) for i in range(len(order)))
    large = jnp.asarray(np.full(2**12, 2**23 + 5, np.int32))
    assert float(share(large)) == pytest.approx((2**23 + 5) / ((2**12 - 1) / 2), rel=1e-6)
    x, y = correlated(n=150, dx=14, dy=11)
    assert float(scored(Rsa("euclidean", "kendall"), x, y)) == pytest.approx(
        kendalltau(*(rsa_pairs(z) for z in (x, y)))[0], abs=2e-6
    )


def rsa_pairs(x):
    return np.array([np.linalg.norm(x[i].astype(float) - x[j]) for i in range(len(x)) for j in range(i)])


WIDTHS = [(8, 8), (5, 8), (7, 3), (1, 6), (8, 1)]
"""Real features of both layers, of 8."""


@pytest.mark.parametrize("kind", ["normal", "integers", "equal", "nan"])
def test_a_match_is_the_best_there_is(kind, x64):
    """As good as scipy's on the real features, each of which has one partner; the rest is matched with the rest."""
    matched = jax.jit(best_match)
    for seed, (first, second) in enumerate(WIDTHS * 2):
        rng = np.random.default_rng(seed)
        gain = rng.integers(-3, 3, size=(8, 8)).astype(float) if kind == "integers" else rng.normal(size=(8, 8))
        gain = np.full((8, 8), np.nan if kind == "nan" else -2.0) if kind in ("equal", "nan") else gain
        match = np.asarray(matched(gain, jnp.int32(first), jnp.int32(second)))
        assert sorted(match) == list(range(8))
        pairs = [(i, j) for i, j in enumerate(match) if i < first and j < second]
        assert len(pairs) == min(first, second)
        if kind != "nan":
            real = gain[:first, :second]
            best = real[linear_sum_assignment(real, maximize=True)].sum()
            assert sum(real[i, j] for i, j in pairs) == pytest.approx(best, abs=1e-12)


def test_a_larger_match_is_that_of_scipy():
    rng = np.random.default_rng(0)
    gain = rng.normal(size=(90, 90)).astype(np.float32)
    match = np.asarray(jax.jit(best_match)(gain, jnp.int32(90), jnp.int32(70)))
    real = gain[:, :70]
    found = sum(float(real[i, j]) for i, j in enumerate(match) if j < 70)
    assert found == pytest.approx(float(real[linear_sum_assignment(real, maximize=True)].sum()), rel=1e-6)


FEATURES = ["soft_correlation_match", "hard_correlation_match", "permutation_procrustes", "pwcca"]


@pytest.mark.parametrize("name", FEATURES)
def test_the_width_of_others_changes_nothing(name, x64):
    """Scores of a pair whose sketches were filled up for a wider layer; of layers narrower and wider than samples."""
    metric = make_metric(name)
    for dx, dy in ((5, 12), (30, 7)):
        x, y = correlated(n=20, dx=dx, dy=dy, dtype=np.float64)
        sketch = jax.jit(metric.sketcher.specialise(SketchContext(20, (33,))))
        found = float(jax.jit(metric.compare)(sketch(x), sketch(y)))
        assert found == pytest.approx(ORACLES[name](x, y), abs=1e-10)


def test_shuffled_features_are_found_again():
    x, _ = correlated(dx=14)
    order = np.random.default_rng(0).permutation(14)
    for name in FEATURES:
        metric = make_metric(name)
        best = metric.bounds[1] if metric.larger_is_closer else 0
        assert float(scored(metric, x, x[:, order])) == pytest.approx(best, abs=1e-5)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(14, 14)))[0].astype(np.float32)
    assert float(scored(PermutationProcrustes(), x, x @ rotation)) > 0.1


def test_a_study_of_features(tmp_path):
    """Layers of four widths through the whole flow: scores are those of the definitions, and chance is below them."""
    stores = [make_store(tmp_path / "a.zarr", "a", (14, 9)), make_store(tmp_path / "b.zarr", "b", (11, 20), seed=1)]
    plain = Preprocess(clip_quantile=1.0, normalize=False)
    names = ["permutation_procrustes"]
    result = align(*stores, metrics=names, preprocess=plain, null=6)
    xs, ys = ([store.read_layer(i) for i in range(2)] for store in stores)
    for name in names:
        expected = [[ORACLES[name](x, y) for y in ys] for x in xs]
        np.testing.assert_allclose(result.dataset[name], expected, atol=2e-5)
        assert float(result.calibration.pairs(name)["p"].values.min()) == pytest.approx(1 / 7)
    curve = curve_over_n(xs, ys, names[0], [60], Null(orders=3))
    assert float(curve["score"][0]) == pytest.approx(float(result.dataset[names[0]].min()), abs=1e-6)


def test_chance_says_nothing_of_single_layers(tmp_path):
    """No order changes a score that does not ask which sample is which: every p is 1, and nothing is above chance."""
    stores = [make_store(tmp_path / "a.zarr", "a", (9,)), make_store(tmp_path / "b.zarr", "b", (12,), seed=1)]
    result = align(*stores, metrics="imd", null=4)
    pairs = result.calibration.pairs("imd")
    assert float(pairs["p"].values.max()) == 1 and not (pairs["calibrated"].values > 0).any()
    assert (result.calibration.null("imd").values == result.scores("imd").values).all()


def test_statistics_of_layers_that_can_be_reckoned_by_hand(x64):
    """Means (3, 4) and (0, 1); rows along their mean, and at 60 degrees from it; two places, each with half of them."""
    x = np.array([[1.0, 2], [5, 6], [3, 4], [3, 4]])
    y = np.array([[0.0, 2], [0, 0], [1, 1], [-1, 1]])
    assert float(scored(make_metric("magnitude_difference"), x, y)) == pytest.approx(5 - 1)
    along = np.array([[1.0, 0], [2, 0], [3, 0], [4, 0]])
    apart = np.array([[1.0, 3**0.5], [1, -(3**0.5)], [2, 12**0.5], [2, -(12**0.5)]])
    assert float(scored(make_metric("concentricity_difference"), along, apart)) == pytest.approx(1 - 0.5)
    one, two = (np.array([[0.0], [0], [gap], [gap]]) for gap in (1, 2))
    spread = [np.log((1 + np.exp(-2 * gap**2)) / 2) for gap in (1, 2)]
    assert float(scored(make_metric("uniformity_difference"), one, two)) == pytest.approx(spread[0] - spread[1])
