"""Intervals, trends and curves: coverage where the truth is known, agreement with scipy, and brute force."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from inputs import correlated, make_store, scored
from made_results import made_result
from oracles import lists
from scipy import stats

from prh_jax import (
    Cka,
    MutualKnn,
    Null,
    UnbiasedCka,
    align,
    curve_over_k,
    curve_over_n,
    interval,
    trend,
    write_features,
)
from prh_jax.analysis.intervals import difference, split_error
from prh_jax.analysis.subsets import as_metric, draw_halves, layer_parts, score_subsets, with_k
from prh_jax.null.orders import make_orders
from prh_jax.null.pvalues import calibrate_scores

SAMPLES, SETS, TRUTH, SPLITS = 256, 200, 300, 12


def draw(key):
    """256 samples of two layers that share a latent; the maps from it are those of one population."""
    maps = [jax.random.normal(jax.random.key(7 + i), (6, d)) for i, d in enumerate((20, 16))]
    latent, *noise = jax.random.split(key, 3)
    z = jax.random.normal(latent, (SAMPLES, 6))
    return [z @ w + 3.0 * jax.random.normal(k, (SAMPLES, w.shape[1])) for w, k in zip(maps, noise, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("metric", [Cka(), UnbiasedCka(), MutualKnn()], ids=str)
def test_coverage_of_the_interval(metric):
    """The truth is the expected score of 256 samples, from 300 further sets of them."""
    score = jax.jit(lambda key: metric(*draw(key)))
    truth = float(jnp.mean(jax.lax.map(score, jax.random.split(jax.random.key(1), TRUTH))))
    halves = jnp.asarray(draw_halves(SAMPLES, SPLITS, 0).reshape(-1, SAMPLES // 2))

    @jax.jit
    def once(key):
        x, y = draw(key)
        parts = [[metric.sketcher.summarizer(z)] for z in (x, y)]
        return metric(x, y), jax.lax.map(lambda m: score_subsets(*parts, m[None], metric=metric)[0, 0, 0], halves)

    keys = jax.random.split(jax.random.key(2), SETS)
    scores, values = map(np.asarray, jax.lax.map(once, keys))
    error = split_error(values.reshape(SETS, SPLITS, 2))
    covered = np.abs(scores - truth) <= stats.norm.ppf(0.975) * error
    assert 0.90 < covered.mean() < 0.98, covered.mean()
    ours = interval(*map(np.asarray, draw(keys[0])), metric, splits=SPLITS)
    assert ours.score == pytest.approx(scores[0], abs=1e-5) and ours.standard_error == pytest.approx(error[0], rel=1e-3)
    assert ours.high - ours.score == pytest.approx(1.959964 * ours.standard_error)


def test_why_rows_are_not_drawn_with_replacement():
    """Independent layers: the interval covers 0, that of the row bootstrap lies far above it."""
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(128, 64)).astype(np.float32) for _ in range(2))
    metric = UnbiasedCka()
    drawn = jnp.asarray(rng.integers(0, 128, size=(200, 128)), jnp.int32)
    parts = [layer_parts(metric.sketcher, [jnp.asarray(z)]) for z in (x, y)]
    low, high = np.quantile(np.asarray(score_subsets(*parts, drawn, metric=metric)), [0.025, 0.975])
    assert float(scored(metric, x, y)) < 0.05 < 0.2 < low < high
    ours = interval(x, y, metric)
    assert ours.low < 0 < ours.high < 0.2


@pytest.mark.parametrize("metric", ["mutual_knn:k=4", "cka", "svcca:dim=3", "cknna:k=4"])
def test_a_subset_is_scored_as_its_features(metric):
    x, y = correlated()
    chosen = draw_halves(40, 3, 0)[:, 1]
    made = as_metric(metric)
    parts = [layer_parts(made.sketcher, [jnp.asarray(z)]) for z in (x, y)]
    found = np.asarray(score_subsets(*parts, jnp.asarray(chosen), metric=made))[:, 0, 0]
    np.testing.assert_allclose(found, [float(scored(made, x[s], y[s])) for s in chosen], atol=2e-5)


def test_the_interval_of_a_distance_is_that_of_the_nearest_layers():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3))
    near, far = x + 0.1 * rng.normal(size=(40, 3)), rng.normal(size=(40, 3))
    found = interval([x], [far, near], "procrustes_distance", splits=4)
    assert found == interval([x], [near], "procrustes_distance", splits=4)


def test_intervals_refuse_what_makes_no_sense():
    x, y = correlated()
    for bad, words in (({"confidence": 1.0}, "An interval needs"), ({"splits": 1}, "splits is a whole number of at")):
        with pytest.raises(ValueError, match=words):
            interval(x, y, "cka", **bad)
    for split in draw_halves(9, 5, 1):
        assert len(set(split.ravel())) == 8
    with pytest.raises(ValueError, match="same samples"):
        interval(x, y[:-1], "cka")
    assert with_k(MutualKnn(), 100, 50, True) == MutualKnn(k=5) and with_k(Cka(), 100, 50, True) == Cka()


def test_a_difference_has_the_spread_of_differences_between_halves():
    """By a plain loop over the halves: means over networks, the best layer taken anew in each half."""
    rng = np.random.default_rng(3)
    latent = rng.normal(size=(41, 5))

    def network(noise, *widths):
        made = [latent @ rng.normal(size=(5, d)) + noise * rng.normal(size=(41, d)) for d in widths]
        return [layer.astype(np.float32) for layer in made]

    x, near, far = network(0.5, 7, 12), [network(0.5, 6, 9), network(0.7, 8, 8)], [network(9.0, 6, 9)]

    def apart(rows):
        best = [[max(lists.mutual_knn(a[rows], b[rows], 4) for a in x for b in y) for y in ys] for ys in (near, far)]
        return np.mean(best[0]) - np.mean(best[1])

    found = difference(x, near, far, "mutual_knn:k=4", splits=4, seed=5)
    halves = np.array([[apart(rows) for rows in pair] for pair in draw_halves(41, 4, 5)])
    error = np.sqrt(np.mean((halves[:, 0] - halves[:, 1]) ** 2 / 2) / 2)
    assert found.difference == pytest.approx(apart(np.arange(41)), abs=1e-6)
    assert found.first - found.second == pytest.approx(found.difference, abs=1e-9)
    assert found.standard_error == pytest.approx(error, abs=1e-6)
    assert (found.high - found.low) / 2 == pytest.approx(1.959964 * error, rel=1e-4)
    assert found.p == pytest.approx(2 * stats.norm.sf(found.difference / error), rel=1e-3) and found.p < 1e-3
    same = difference(x, near, near, MutualKnn(k=4), splits=4)
    assert same.difference == same.standard_error == 0 and same.p == 1
    with pytest.raises(ValueError, match="Each group needs a network; there are 2 and 0"):
        difference(x, near, [], "cka")


# --- trend


def study(tmp_path, count=5):
    """Models with more and more noise, against one; bits per byte recorded."""
    latent = np.random.default_rng(99).normal(size=(60, 6))  # that of make_store
    xs = []
    for i in range(count):
        rng = np.random.default_rng(i)
        x = latent @ rng.normal(size=(6, 20)) + (0.3 + i) * rng.normal(size=(60, 20))
        spec = {"model": f"m{i}", "bits_per_byte": 1.0 + 0.1 * i}
        xs.append(
            write_features(tmp_path / f"{i}.zarr", [x.astype(np.float32)], spec=spec, ids=[f"s{j}" for j in range(60)])
        )
    ys = [make_store(tmp_path / f"y{i}.zarr", f"y{i}", (14,), seed=20 + i) for i in range(2)]
    return align(xs, ys, "mutual_knn", null=19)


def test_trend_is_scipys_correlation_with_exact_p(tmp_path):
    result = study(tmp_path)
    calibrated = result.calibration.pairs("mutual_knn")["calibrated"]
    result.calibration.dataset["calibrated"].loc[{"model_y": "y1"}] = 0
    calibrated.loc[{"model_y": "y1"}] = 0
    found = trend(result, "mutual_knn", "bits_per_byte")
    worth = np.arange(5) * 0.1 + 1
    # y1 is at chance for all: made so, to have no correlation once calibrated
    tables = {"raw": result.scores("mutual_knn").values, "calibrated": calibrated.values}
    for name, table in tables.items():
        for kind, function in (("kendall", stats.kendalltau), ("spearman", stats.spearmanr)):
            at = found.sel(scores=name, kind=kind)
            orders = [worth[list(order)] for order in itertools.permutations(range(5))]
            columns = [j for j in range(2) if len(set(table[:, j])) > 1]
            every = np.array([[function(table[:, j], w)[0] for j in columns] for w in orders])
            reached = np.abs(every) >= np.abs(every[0]) - 1e-12
            together = np.abs(every.mean(axis=1)) >= abs(every[0].mean()) - 1e-12
            np.testing.assert_allclose(at["correlation"][:2][columns], every[0], atol=1e-12)
            np.testing.assert_allclose(at["p"][:2][columns], reached.mean(axis=0))
            assert float(at["correlation"].sel(model="all")) == pytest.approx(every[0].mean())
            assert float(at["p"].sel(model="all")) == pytest.approx(together.mean())
    undefined = found.sel(scores="calibrated", model="y1")
    assert np.isnan(undefined["correlation"]).all() and np.isnan(undefined["p"]).all()
    assert found.attrs["orders"] == 119
    assert float(found["correlation"].sel(scores="raw", kind="spearman", model="all")) < -0.8
    by_name = trend(result, "mutual_knn", {f"m{i}": worth[i] for i in (0, 1, 3, 4)})
    assert by_name.attrs["models"] == 4
    sampled = trend(result, "mutual_knn", worth, orders=100)
    np.testing.assert_allclose(sampled["p"], found["p"], atol=0.15)
    xr.testing.assert_identical(trend(result, "mutual_knn", worth), found)


def trend_by_scipy(scores, own, values):
    """Spearman of each column over the models that are not its own, and of the means of the rows over the same."""
    columns = [stats.spearmanr(scores[~own[:, j], j], values[~own[:, j]])[0] for j in range(scores.shape[1])]
    means = [scores[i, ~own[i]].mean() for i in range(len(scores))]
    return [*columns, stats.spearmanr(means, values)[0]]


def test_a_trend_leaves_a_model_with_itself_out():
    scores = np.random.default_rng(3).random((5, 5))
    names = dict.fromkeys("abcde", 1)
    values = np.array([3.0, 1.0, 4.0, 1.5, 9.0])
    both = [
        (made_result(names, names, score=lambda m, i, j: 1.0 if i == j else scores[i, j]), np.eye(5, dtype=bool)),
        (made_result(names, {"c": 1, "z": 1, "a": 1}, score=lambda m, i, j: scores[i, j]), np.zeros((5, 3), bool)),
    ]
    both[1][1][[2, 0], [0, 2]] = True
    for result, own in both:
        table = result.scores("cka").values.astype(float)
        at = trend(result, "cka", values).sel(scores="raw", kind="spearman")
        np.testing.assert_allclose(at["correlation"], trend_by_scipy(table, own, values), atol=1e-12)
    result, own = both[0]
    table = result.scores("cka").values.astype(float)
    rows = np.arange(1, 5)  # of the first column: exact over the 24 orders of four models
    every = [stats.spearmanr(table[rows, 0], values[list(order)])[0] for order in itertools.permutations(rows)]
    p = (np.abs(every) >= abs(every[0]) - 1e-12).mean()
    assert float(trend(result, "cka", values)["p"].sel(scores="raw", kind="spearman", model="a")) == pytest.approx(p)
    at = trend(result, "cka", values, side="y").sel(scores="raw", kind="spearman")
    np.testing.assert_allclose(at["correlation"], trend_by_scipy(table.T, own, values), atol=1e-12)


def test_a_layer_on_both_sides_is_not_compared_with_itself():
    x, y = correlated(noise=3.0)
    with pytest.raises(ValueError, match="one layer.*with itself"):
        interval(x, x.copy(), "cka")
    with pytest.raises(ValueError, match="one layer.*with itself"):
        curve_over_n(x, x, "cka", [20])
    expected = float(scored(MutualKnn(), x, y))
    assert interval([x, y], y, MutualKnn(), splits=2).score == pytest.approx(expected, abs=1e-6)


def test_trend_refuses_what_it_cannot_use(tmp_path):
    result = study(tmp_path, 3)
    for covariate, message in (
        ("loss", "No model of side x has a number 'loss'; recorded are bits_per_byte"),
        ([1, 2], "3 models, but the covariate has shape"),
        ({"z": 1.0}, "no model 'z'; it has m0, m1, m2"),
        ([1, 1, 1], "not all equal"),
    ):
        with pytest.raises(ValueError, match=message):
            trend(result, "mutual_knn", covariate)
    with pytest.raises(ValueError, match="side is"):
        trend(result, "mutual_knn", [1, 2, 3], side="z")


# --- curves


def test_curves_are_scores_of_nested_subsets_and_of_k():
    x, y = correlated(n=60, noise=3.0)
    null = Null(orders=9)
    found = curve_over_n([x, x[:, :6]], y, "mutual_knn:k=4", [20, 60], null)
    drawn = np.random.default_rng(0).permutation(60)
    for m in (20, 60):
        rows = np.sort(drawn[:m])
        metric = MutualKnn(k=4)
        expected = max(float(scored(metric, z[rows], y[rows])) for z in (x, x[:, :6]))
        at = found.sel(n=m)
        assert float(at["score"]) == pytest.approx(expected, abs=1e-6)
        chance = np.array(
            [max(float(scored(metric, z[rows], y[rows][o])) for z in (x, x[:, :6])) for o in make_orders(m, 9, 0)]
        )
        assert float(at["null_mean"]) == pytest.approx(chance.mean(), abs=1e-6)
        rules = calibrate_scores(np.float64(expected), chance, alpha=0.05, highest=1.0)
        assert float(at["p"]) == pytest.approx(float(rules.p)) and float(at["tau"]) == pytest.approx(
            float(rules.tau), abs=1e-6
        )
    by_k = curve_over_k([x, y], y, "mutual_knn", [2, 20], null)  # y is not compared with itself
    np.testing.assert_allclose(by_k["score"], [float(scored(MutualKnn(k=k), x, y)) for k in (2, 20)], atol=1e-6)
    assert (np.diff(by_k["null_mean"]) > 0).all()
    with pytest.raises(ValueError, match="cka has no setting k"):
        curve_over_k(x, y, "cka", [2], null)
    with pytest.raises(ValueError, match="61 samples cannot be taken from 60"):
        curve_over_n(x, y, "cka", [61], null)
