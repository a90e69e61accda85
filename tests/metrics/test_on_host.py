"""Metrics of numpy go through align as those of JAX do: scores of the plain functions, nulls, groups, files."""

import dataclasses

import jax
import numpy as np
import pytest
from inputs import correlated, make_store
from scipy import spatial

import prh_jax
from prh_jax import FunctionMetric, Null, Preprocess
from prh_jax.metrics.out_of_sample.folds import RIDGES
from prh_jax.metrics.registry import HOST_METRICS
from prh_jax.null.orders import make_orders

AS_GIVEN = Preprocess(clip_quantile=1, normalize=False)
METRICS = pytest.mark.parametrize("metric", [kind() for kind in HOST_METRICS.values()], ids=str)
X, Y = ([correlated(48, dx, dy, seed=seed)[side] for seed, dx, dy in ((0, 9, 7), (1, 9, 12))] for side in (0, 1))


def predicted(x, y, **settings):
    return prh_jax.ridge_prediction(x, y, **settings)["mean_r"].item()


def recalled(x, y, **settings):
    found = prh_jax.retrieval(x, y, k=3, splits=2, null=0, **settings)
    return found.dataset["recall"].sel(direction="x_to_y").item()


CASES = {
    "ridge_prediction": predicted,
    "ridge_prediction:score=r2,folds=3,seed=1": lambda x, y: prh_jax.ridge_prediction(x, y, folds=3, seed=1)[
        "mean_r2"
    ].item(),
    "retrieval:k=3,splits=2": recalled,
    "retrieval:map=orthogonal,score=reciprocal_rank,fit=0.4": lambda x, y: (
        prh_jax.retrieval(x, y, k=1, splits=1, map="orthogonal", fit=0.4, null=0)
        .dataset["reciprocal_rank"]
        .sel(direction="x_to_y")
        .item()
    ),
    "feature_unbiased_cka": lambda x, y: float(prh_jax.feature_unbiased_cka(x, y)),
    "feature_unbiased_cka:sampled=y": lambda x, y: float(prh_jax.feature_unbiased_cka(x, y, sampled="y")),
}
"""Metrics as text, with the function that has tests of its own against maps fitted one by one."""


def test_a_study_has_the_scores_of_the_functions_and_their_null():
    result = prh_jax.align(
        {"x": X}, {"y": Y}, metrics=list(CASES), null=Null(9, cells=True), preprocess=AS_GIVEN, progress=False
    )
    assert len(result.metrics) == len(CASES)
    orders = make_orders(48, 9, 0)
    for key, function in zip(result.metrics, CASES.values(), strict=True):
        expected = [[function(x, y) for y in Y] for x in X]
        np.testing.assert_allclose(result.layers(key, "x", "y"), expected, rtol=1e-6, atol=1e-7)
    # the null of the first metric, by the function on permuted samples
    key = result.metrics[4]
    chance = np.array([[[CASES["feature_unbiased_cka"](x, y[o]) for y in Y] for x in X] for o in orders])
    best = np.nanmax(chance, axis=(1, 2))
    score = result.scores(key).item()
    p = result.calibrated_pairs(key)["p"].item()
    assert p == pytest.approx((1 + (best >= score).sum()) / 10)
    np.testing.assert_allclose(np.sort(result.calibration.null(key).values.ravel()), np.sort(best), rtol=1e-5)


def test_samples_of_a_group_are_not_torn_apart():
    groups = np.repeat(np.arange(12), 4)
    x = np.repeat(X[0][:12], 4, axis=0)  # an image beside each of its captions
    metrics = ["retrieval:k=3,splits=2", "ridge_prediction"]
    result = prh_jax.align(
        {"x": [x]}, {"y": [Y[0]]}, metrics=metrics, groups=groups, preprocess=AS_GIVEN, progress=False
    )
    for key, function in zip(metrics, (recalled, predicted), strict=True):
        expected = function(x, Y[0], groups=groups)
        assert result.scores(key.partition(":")[0]).item() == pytest.approx(expected, rel=1e-6)
        assert abs(expected - function(x, Y[0])) > 1e-3
    with pytest.raises(ValueError, match="2 groups, fewer than 5 folds"):
        prh_jax.align({"x": [x]}, {"y": [Y[0]]}, metrics="ridge_prediction", groups=np.arange(48) % 2, progress=False)


@METRICS
def test_what_is_declared_holds(metric):
    x, y = (z.astype(np.float64) for z in (X[0], Y[0]))
    score = float(metric(x, y))
    assert metric.bounds[0] <= score <= metric.bounds[1]
    for moved in ((3.7 * x, y), (x, y + 5), (x * 1e-12, y * 1e12)):
        assert float(metric(*moved)) == pytest.approx(score, abs=1e-9)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(7, 7)))[0]
    assert (abs(float(metric(x, y @ turn)) - score) < 1e-9) == ("orthogonal" in metric.invariances)
    assert (float(metric(y, x)) == pytest.approx(score, abs=1e-9)) == metric.symmetric
    order = np.random.default_rng(1).permutation(48)
    sketch = metric.sketcher(jax.numpy.asarray(Y[0])).reorder(jax.numpy.asarray(order))
    again = metric.compare(metric.sketcher(jax.numpy.asarray(X[0])), sketch)
    assert float(again) == pytest.approx(float(metric(X[0], Y[0][order])), abs=1e-6)
    for transformed in (jax.jit(metric), jax.grad(lambda x, y: metric(x, y))):
        with pytest.raises(
            TypeError, match=f"{metric.name} is computed by numpy.*outside of them, or give it to align"
        ):
            transformed(X[0], Y[0])
    with pytest.raises(TypeError, match="outside of jit"):
        jax.jit(lambda x, y: prh_jax.layer_matrix([x], [y], metric))(X[0], Y[0])
    for bad in (np.ones_like(x), np.where(np.arange(48)[:, None] == 3, np.nan, x)):
        with pytest.warns(RuntimeWarning, match=f"{metric.name} is NaN: x (is constant|has values that are NaN)"):
            assert np.isnan(metric(bad, y))


def test_a_pair_without_a_score_does_not_stop_a_study():
    layers = [*X, X[0][:, :1]]  # of one unit there are no two different ones
    result = prh_jax.align({"x": layers}, {"y": Y}, metrics=list(HOST_METRICS), preprocess=AS_GIVEN, progress=False)
    for name in HOST_METRICS:
        known = np.isfinite(result.layers(name, "x", "y").values)
        assert known[:2].all() and known[2].all() == (name != "feature_unbiased_cka")


def test_bad_settings_and_too_few_samples_are_refused_before_work_starts(tmp_path):
    store = make_store(tmp_path / "a.zarr", "a", (5,))
    for text, fault in {
        "retrieval:map=none": "maps 'ridge' and 'orthogonal'",
        "retrieval:fit=1.5": "0 < fit < 1",
        "retrieval:score=rank": "'recall' and 'reciprocal_rank'",
        "retrieval:k=31": "among 30 held-out samples .* of 60, fewer than k = 31",
        "ridge_prediction:folds=1": "folds >= 2",
        "ridge_prediction:folds=16": "from 2 to 15 folds",
        "ridge_prediction:score=rho": "scores 'r' and 'r2'",
        "feature_unbiased_cka:sampled=none": "sampled 'both', 'x' and 'y'",
    }.items():
        with pytest.raises(ValueError, match=fault):
            prh_jax.align(store, metrics=text, output=tmp_path / "r.zarr", progress=False)
        assert not (tmp_path / "r.zarr").exists()
    with pytest.raises(ValueError, match="'retrieval' is a metric of prh_jax"):
        prh_jax.register_metric(FunctionMetric("retrieval", lambda x, y: 0.0))


def test_shares_of_workers_are_the_whole_and_files_are_read_again(tmp_path):
    stores = [make_store(tmp_path / f"{name}.zarr", name, (5, 9), seed=i) for i, name in enumerate("ab")]
    metrics = ["retrieval:k=3"]
    whole = prh_jax.align(stores, metrics=metrics, null=5, output=tmp_path / "whole.zarr", progress=False)
    for worker in range(2):
        prh_jax.align_share(worker, 2, stores, metrics=metrics, output=tmp_path / "shared.zarr", progress=False)
    shared = prh_jax.load_alignment(tmp_path / "shared.zarr")
    again = prh_jax.load_alignment(tmp_path / "whole.zarr")
    for name in whole.metrics:
        np.testing.assert_array_equal(shared.dataset[name], whole.dataset[name])
        np.testing.assert_array_equal(again.dataset[name], whole.dataset[name])
    page = prh_jax.report(again, tmp_path / "r.html").read_text()
    assert "retrieval" in page
    longer = prh_jax.calibrate(tmp_path / "whole.zarr", Null(7), overwrite=True, progress=False)
    assert longer.calibration.settings["null"]["orders"] == 7


class Disparity:
    """scipy's Procrustes disparity of layers of one width, with a count of its calls."""

    def __init__(self):
        self.layers = self.pairs = 0

    def prepare(self, x):
        self.layers += 1
        return np.linalg.qr(x - x.mean(axis=0))[0]

    def __call__(self, a, b):
        self.pairs += 1
        return spatial.procrustes(a, b)[2]


def test_a_function_of_any_library_is_a_metric_of_a_study():
    function = Disparity()
    metric = FunctionMetric("disparity", function, larger_is_closer=False, host=True, prepare=function.prepare)
    layers = [correlated(30, 6, 6, seed=i)[0] for i in range(3)]
    result = prh_jax.align({"a": layers}, metrics=metric, null=4, preprocess=AS_GIVEN, progress=False)
    q = [np.linalg.qr(z - z.mean(axis=0))[0] for z in layers]
    expected = [[spatial.procrustes(a, b)[2] for b in q] for a in q]
    np.testing.assert_allclose(result.layers("disparity", "a", "a"), expected, atol=1e-6)
    assert function.pairs == 9 * 5 and function.layers == 3 + 3 + 3 + 3 * 4  # a tile: both sides; its null: and orders
    assert float(metric(layers[0], layers[1])) == pytest.approx(expected[0][1])
    low = prh_jax.interval(layers[0], layers[1], metric, splits=3)
    assert np.isfinite(low.score)
    with pytest.raises(TypeError, match="disparity is computed by numpy"):
        jax.jit(metric)(layers[0], layers[1])
    with pytest.raises(ValueError, match=r"one number for two layers, got an array of shape \(2,\)"):
        FunctionMetric("two", lambda x, y: np.zeros(2), host=True)(layers[0], layers[1])
    with pytest.raises(ValueError, match="prepare=, a function of one layer, with host=True only"):
        FunctionMetric("mine", function, prepare=function.prepare)


def test_the_penalties_are_those_of_the_functions():
    assert tuple(10.0**p for p in range(-4, 6)) == RIDGES
    assert dataclasses.asdict(HOST_METRICS["ridge_prediction"]()) == {"folds": 5, "score": "r", "seed": 0}
