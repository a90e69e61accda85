"""What may be traced beside the features: masks of rows, with arrays of the shape of all, and settings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inputs import correlated
from jax.test_util import check_grads
from oracles import ORACLES

import prh_jax
from prh_jax.metrics import Cka, Cknna, MutualKnn, Rsa, UnbiasedCka
from prh_jax.metrics.registry import METRICS, parse_metric

TEXTS = (
    *("cka", "cka:eps=1e-3", "cka:kernel=rbf,sigma=3", "cka:kernel=rbf,sigma=0.5,median=true"),
    *("unbiased_cka", "unbiased_cka:eps=1e-3", "unbiased_cka:kernel=rbf,sigma=3"),
    *("cknna:k=4", "cknna:k=4,unbiased=false", "cknna:k=4,formula=paper", "cknna:k=4,eps=1e-3"),
    *("mutual_knn:k=4", "mutual_knn:k=4,normalize=false"),
    *("rsa", "rsa:rdm=euclidean,compare_by=pearson", "rsa:rdm=cosine,compare_by=cosine"),
)
USUAL = ("cka", "unbiased_cka", "cka:kernel=rbf,sigma=0.5,median=true", "cknna:k=4", "mutual_knn:k=4", "rsa")
EVERY = pytest.mark.parametrize(
    "metric", [pytest.param(parse_metric(t), id=t, marks=() if t in USUAL else pytest.mark.slow) for t in TEXTS]
)
N = 40


@EVERY
def test_the_score_is_that_of_the_rows_that_count(metric):
    """Under jit and vmap; whatever the others hold, it reaches neither values nor gradients."""
    x, y = correlated(n=N, dx=14, dy=11)
    rng = np.random.default_rng(0)
    masks = np.stack([np.ones(N, bool), np.arange(N) < 7, *(rng.random((2, N)) < [[0.3], [0.8]]), np.arange(N) < 3])
    spoiled = rng.choice(np.array([np.nan, np.inf, 1e30, 0], np.float32), size=(N, 1))
    xs, ys = (np.where(masks[:, :, None], z, spoiled).astype(np.float32) for z in (x, y))

    def score(x, y, where):
        return metric(x, y, where=where)

    if metric.differentiable:
        found, slopes = jax.jit(jax.vmap(jax.value_and_grad(score, (0, 1))))(xs, ys, masks)
        for slope in map(np.asarray, slopes):
            assert np.isfinite(slope).all() and not slope[~masks].any() and slope[masks].any()
    else:
        found = jax.jit(jax.vmap(score))(xs, ys, masks)
    oracle = ORACLES[metric.name]
    expected = [oracle(x[where], y[where], **metric.settings) for where in masks[:-1]]
    np.testing.assert_allclose(found, [*expected, np.nan], atol=1e-5)
    # outside of jit the rows are taken out
    assert float(metric(xs[3], ys[3], where=masks[3])) == pytest.approx(expected[3], abs=1e-5)


@pytest.mark.parametrize("name, least", [("mutual_knn", 11), ("cknna", 11), ("cka", 4)])
def test_too_few_rows(name, least):
    x, y = (jnp.asarray(z) for z in correlated(n=N, dx=14, dy=11))
    metric = METRICS[name]()
    score = jax.jit(jax.vmap(lambda where: metric(x, y, where=where)))
    found = score(jnp.arange(N)[None, :] < jnp.array([0, 1, least - 1, least])[:, None])
    assert np.isnan(found).tolist() == [True, True, True, False]
    with pytest.raises(ValueError, match=f"{least - 1} samples|at least 4 samples"):
        metric(x, y, where=np.arange(N) < least - 1)


@pytest.mark.parametrize("metric", [Cka(kernel="rbf", sigma=3.0, median=True), Cknna(k=4), Rsa(compare_by="pearson")])
def test_gradients_are_those_of_differences(metric, x64):
    x, y = (jnp.asarray(z) for z in correlated(n=24, dx=6, dy=5, dtype=np.float64))
    where = jnp.asarray(np.random.default_rng(0).random(24) < 0.7)
    score = jax.jit(lambda x, y: metric(x, y, where=where))
    check_grads(score, (x, y), order=1, modes=("rev",), eps=1e-6, rtol=1e-5, atol=1e-7)


def test_masks_are_booleans_of_metrics_that_take_them():
    x, y = correlated(n=N)
    with pytest.raises(ValueError, match="boolean for each of the 40 samples, got int64"):
        prh_jax.cka(x, y, where=np.arange(N))
    with pytest.raises(ValueError, match="boolean for each"):
        UnbiasedCka()(x, y, where=np.ones(N - 1, bool))
    with pytest.raises(ValueError, match="svcca takes no where=; cka, cknna, mutual_knn, rsa, unbiased_cka do"):
        prh_jax.make_metric("svcca")(x, y, where=np.ones(N, bool))
    with pytest.raises(ValueError, match="queries=0"):
        jax.jit(lambda where: MutualKnn(4, queries=9)(x, y, where=where))(np.ones(N, bool))
    with pytest.raises(TypeError, match="soft_mutual_knn"):
        jax.grad(lambda x: prh_jax.mutual_knn(x, y, where=jnp.ones(N, bool)))(jnp.asarray(x))


def test_a_traced_sigma_is_a_setting(x64):
    x, y = correlated(n=24, dx=6, dy=5, dtype=np.float64)
    where = np.arange(24) < 15
    sigmas = jnp.array([0.5, 2.0, -1.0])
    for function, more in ((prh_jax.cka, {"where": where, "median": True}), (prh_jax.unbiased_cka, {"eps": 1e-3})):

        def score(sigma, function=function, more=more):
            return function(x, y, kernel="rbf", sigma=sigma, **more)

        found, slopes = jax.jit(jax.vmap(jax.value_and_grad(score)))(sigmas)
        settings = {key: value for key, value in more.items() if key != "where"}
        rows = where if "where" in more else slice(None)
        oracle = [ORACLES[function.__name__](x[rows], y[rows], "rbf", s, **settings) for s in (0.5, 2, 2 + 1e-5)]
        np.testing.assert_allclose(found, [*oracle[:2], np.nan], atol=1e-10)
        assert float(slopes[1]) == pytest.approx((oracle[2] - oracle[1]) / 1e-5, rel=1e-4, abs=1e-7)
        assert np.isfinite(slopes).all()
    assert prh_jax.cka(x, y, kernel="rbf", sigma=jnp.float32(2)) == prh_jax.cka(x, y, kernel="rbf", sigma=2.0)
    with pytest.raises(ValueError, match="sigma > 0"):
        prh_jax.cka(x, y, kernel="rbf", sigma=-1.0)
    with pytest.raises(ValueError, match="use jax.vmap"):
        jax.jit(lambda s: prh_jax.cka(x, y, kernel="rbf", sigma=s))(sigmas)


def test_a_traced_temperature_is_a_setting():
    x, y = correlated(n=24)
    score = jax.jit(jax.vmap(lambda t: prh_jax.soft_mutual_knn(x, y, k=4, temperature=t)))
    expected = [float(prh_jax.soft_mutual_knn(x, y, k=4, temperature=t)) for t in (0.05, 0.5)]
    np.testing.assert_allclose(score(jnp.array([0.05, 0.5, 0.0])), [*expected, np.nan], atol=1e-6)
