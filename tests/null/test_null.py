"""What chance gives: closed form against brute force, orders, p-values under independence, and the published rules."""

import dataclasses
import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inputs import correlated, counts, scored
from jaxtyping import TypeCheckError

from prh_jax.metrics import Cca, Cka, Cknna, DistanceCorrelation, UnbiasedCka
from prh_jax.metrics.base import highest_score
from prh_jax.metrics.neighbors.mutual_knn import MutualKnn
from prh_jax.metrics.registry import METRICS, SUPPORTED_METRICS, make_metric
from prh_jax.null import low_rank
from prh_jax.null.moments import null_moments, tail_probability
from prh_jax.null.orders import count_orders, make_orders
from prh_jax.null.pvalues import calibrate_scores, false_discovery, still_open
from prh_jax.null.settings import Null
from prh_jax.sketches.gram_factor import GramFactorSketcher
from prh_jax.study.null import layer_sums


def small(name):
    fields = METRICS[name]().settings
    return make_metric(name, **({"k": 2} if "k" in fields else {"dim": 2} if "dim" in fields else {}))


EVERY = [small(name) for name in METRICS]
TILED = [small(name) for name in (*SUPPORTED_METRICS, "knn_jaccard", "linear_regression", "procrustes_distance")]
"""Of each way to score the orders of a tile some metric."""
CLOSED = [small(name) for name in ("cka", "unbiased_cka", "mutual_knn", "rsa")]
CLOSED += [DistanceCorrelation(biased=False), Cca(average="yanai")]
CLOSED += [Cknna(k=3, formula="paper")]
CLOSED += [Cka(kernel="rbf", sigma=2.0), UnbiasedCka(kernel="rbf", sigma=2.0), MutualKnn(k=3, normalize=False)]


@partial(jax.jit, static_argnums=0)
def scores_of_orders(metric, a, b, orders):
    """One pair, order by order: brute force."""
    return jax.lax.map(lambda order: metric.compare(a, b.reorder(order)), orders)


sketched = jax.jit(lambda metric, x: metric.sketcher(x), static_argnums=0)


def stacked(sketches):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *sketches)


def test_which_metrics_claim_a_closed_form():
    claimed = set()
    for metric in (*EVERY, *CLOSED, Cka(eps=1e-6), Cknna(k=3, formula="paper", eps=1e-6)):
        shape = jax.eval_shape(metric.sketcher, jax.ShapeDtypeStruct((12, 5), jnp.float32))
        claimed |= {str(metric)} if jax.eval_shape(metric.inner_form, shape) is not None else set()
    assert claimed == {str(metric) for metric in CLOSED}


def expect_brute_force(metric, a, b, n):
    orders = np.array(list(itertools.permutations(range(n))), np.int32)
    scores = np.asarray(scores_of_orders(metric, a, b, orders))
    found = null_moments([layer_sums(metric, a, third=True)], [layer_sums(metric, b, third=True)], n)
    centred = scores - scores.mean()
    assert found.mean[0, 0] == pytest.approx(scores.mean(), abs=1e-10)
    assert found.sd[0, 0] == pytest.approx(scores.std(), abs=1e-10)
    assert found.skewness[0, 0] == pytest.approx((centred**3).mean() / scores.std() ** 3, abs=1e-9)


# five features span all of six centred samples: there cca does not depend on the order
@pytest.mark.parametrize(
    "metric, n", [(m, n) for m in CLOSED for n in (6, 7) if not (isinstance(m, Cca) and n == 6)], ids=str
)
def test_closed_form_is_brute_force_over_all_orders(metric, n, x64):
    x, y = correlated(n=n, dx=5, dy=4, seed=n, dtype=np.float64)
    expect_brute_force(metric, *(sketched(metric, jnp.asarray(z)) for z in (x, y)), n)


@pytest.mark.parametrize("metric", [Cka(), UnbiasedCka()], ids=str)
def test_closed_form_of_factors_is_brute_force_over_all_orders(metric, x64, monkeypatch):
    monkeypatch.setattr(low_rank, "ROWS_PER_BLOCK", 4)  # of six samples a whole block, and half of another
    x, y = correlated(n=6, dx=3, dy=2, dtype=np.float64)
    expect_brute_force(metric, *(jax.jit(GramFactorSketcher(4))(jnp.asarray(z)) for z in (x, y)), 6)


@pytest.mark.slow
@pytest.mark.parametrize("metric", CLOSED[:3], ids=str)
def test_closed_form_and_tail_within_the_error_of_20000_orders(metric):
    n, count = 128, 20_000
    rng = np.random.default_rng(5)
    layers = [rng.normal(size=(n, d)).astype(np.float32) for d in (40, 90)]
    a, b = (sketched(metric, jnp.asarray(z)) for z in layers)
    scores = jax.jit(metric.tile_kernel.orders)(stacked([a]), stacked([b]), jnp.asarray(make_orders(n, count, 0)))
    scores = np.asarray(scores)[:, 0, 0].astype(np.float64)
    found = null_moments([layer_sums(metric, a, third=True)], [layer_sums(metric, b, third=True)], n)
    mean, sd = found.mean[0, 0], found.sd[0, 0]
    assert abs(scores.mean() - mean) < 4 * sd / count**0.5
    assert abs(scores.std() / sd - 1) < 4 * (0.5 / count) ** 0.5 * 1.2  # kurtosis a little above that of a normal
    assert ((scores - mean) ** 3).mean() / sd**3 == pytest.approx(found.skewness[0, 0], abs=4 * (15 / count) ** 0.5)
    for share in (0.1, 0.01):
        # counts come in steps: the curve belongs between the shares that reach a score and that exceed it
        cut = np.quantile(scores, 1 - share)
        low, high = (scores > cut + 1e-6).mean(), (scores >= cut - 1e-6).mean()
        assert 0.85 * low < tail_probability(np.array([[cut]]), found)[0, 0] < 1.15 * high


@pytest.mark.parametrize("n", [600, 37])
def test_unbiased_cka_has_the_same_null_whatever_the_data(n):
    """Mean 0 and variance 2 / (n (n - 3)), exactly; the skewness depends on the data, and was not asked for."""
    sums = layer_sums(UnbiasedCka(), sketched(UnbiasedCka(), jnp.asarray(correlated(n=n)[0])), third=False)
    found = null_moments([sums], [sums], n)
    assert found.mean[0, 0] == pytest.approx(0, abs=1e-6)
    assert found.sd[0, 0] == pytest.approx((2 / (n * (n - 3))) ** 0.5, rel=1e-5)
    assert np.isnan(found.skewness[0, 0]) and np.isnan(tail_probability(found.mean, found)[0, 0])


@pytest.mark.parametrize("n", [40, 41])
@pytest.mark.parametrize("metric", TILED, ids=str)
def test_orders_of_a_tile_are_those_of_its_pairs(metric, n):
    xs = [sketched(metric, jnp.asarray(correlated(n=n, seed=s)[0])) for s in range(3)]
    ys = [sketched(metric, jnp.asarray(correlated(n=n, seed=s)[1])) for s in range(2)]
    orders = make_orders(n, 7, 3)
    found = np.asarray(jax.jit(metric.tile_kernel.orders)(stacked(xs), stacked(ys), jnp.asarray(orders)))
    expected = np.stack([[scores_of_orders(metric, a, b, orders) for b in ys] for a in xs]).transpose(2, 0, 1)
    np.testing.assert_allclose(found, expected, atol=0 if counts(metric) else 2e-6)


# --- orders


def test_order_i_depends_on_seed_and_index_alone():
    few, many = make_orders(50, 4, 7), make_orders(50, 9, 7)
    np.testing.assert_array_equal(few, many[:4])
    assert all(sorted(order) == list(range(50)) for order in many)
    assert len({order.tobytes() for order in many}) == 9
    assert not np.array_equal(few, make_orders(50, 4, 8))


def test_few_samples_have_all_their_orders_each_once():
    orders = make_orders(4, 23, 0)
    assert {tuple(order) for order in orders} == set(itertools.permutations(range(4))) - {(0, 1, 2, 3)}
    assert len(make_orders(4, 22, 0)) == 22


def test_orders_stay_within_groups():
    groups = [0, 1, 0, 1, 2, 0, 2]
    assert count_orders(7, groups) == 6 * 2 * 2
    for count in (23, 10):
        for order in make_orders(7, count, 0, groups):
            np.testing.assert_array_equal(np.take(groups, order), groups)
    assert len({order.tobytes() for order in make_orders(7, 23, 0, groups)}) == 23
    with pytest.raises(ValueError, match="coarser groups"):
        make_orders(5, 10, 0, range(5))


def test_orders_are_uniform():
    """Each sample lands at each place equally often: chi-square of 6 x 6 counts, 25 degrees of freedom."""
    counts = np.zeros((6, 6))
    for order in make_orders(6, 600, 1):
        counts[np.arange(6), order] += 1
    assert ((counts - 100) ** 2 / 100).sum() < 52.6  # its 0.999 quantile


# --- p-values, critical and calibrated scores


def test_p_tau_and_calibrated_by_hand():
    null = np.array([0.1, 0.4, 0.3, 0.2, 0.5, 0.3, 0.1, 0.2, 0.3])[:, None] * np.ones(2)
    found = calibrate_scores(np.array([0.45, 0.3]), null, alpha=0.2, highest=1.0)
    np.testing.assert_allclose(found.p, [(1 + 1) / 10, (1 + 5) / 10])
    np.testing.assert_allclose(found.tau, [0.4, 0.3])  # the 8th smallest of ten
    np.testing.assert_allclose(found.calibrated, [0.05 / 0.6, 0])
    beyond = calibrate_scores(np.array([0.45]), null[:, :1], alpha=0.2, highest=None)
    np.testing.assert_allclose(beyond.calibrated, [0.05])
    assert all(np.isnan(z[0]) for z in calibrate_scores(np.array([np.nan]), null[:, :1], alpha=0.2, highest=1.0)[:3])


def test_sequential_p_by_hand():
    """Besag and Clifford: the h-th order that reaches the observed, at order l, gives p = h / l."""
    null = np.array([0.1, 0.9, 0.3, 0.8, 0.95, 0.9])
    found = calibrate_scores(np.array([0.7, 0.92]), null[:, None] * np.ones(2), alpha=0.5, highest=1.0, stop_after=2)
    np.testing.assert_allclose(found.p, [2 / 4, (1 + 1) / 7])
    np.testing.assert_array_equal(found.orders, [4, 6])
    assert found.tau[0] == pytest.approx(0.7)  # the 3rd smallest of 0.7 and the first four
    np.testing.assert_array_equal(still_open(np.array([0.7, 0.92]), null[:5, None] * np.ones(2), 2), [False, True])


def test_q_values_by_hand():
    p = np.array([[0.01, 0.04], [0.03, np.nan]])
    np.testing.assert_allclose(false_discovery(p, "bh"), [[0.03, 0.04], [0.04, np.nan]])
    np.testing.assert_allclose(false_discovery(p, "by"), np.array([[0.03, 0.04], [0.04, np.nan]]) * (1 + 1 / 2 + 1 / 3))


def test_settings_that_cannot_be_used_are_refused():
    for bad in ({"orders": 0}, {"orders": 1.5}, {"alpha": 1.0}, {"seed": -1}, {"stop_after": 0}, {"aggregate": "best"}):
        # the run-time type check of the tests is faster than the settings' own error for a number that is not whole
        with pytest.raises((ValueError, TypeCheckError), match=next(iter(bad))):
            Null(**bad)


def test_aggregates():
    scores = np.array([[[0.1, 0.5], [0.3, np.nan]], [[np.nan, np.nan], [np.nan, np.nan]]])
    np.testing.assert_allclose(Null().reduce(scores), [0.5, np.nan])
    np.testing.assert_allclose(Null(aggregate="mean").reduce(scores), [0.3, np.nan])
    np.testing.assert_allclose(Null(aggregate="row_max_mean").reduce(scores), [0.4, np.nan])
    np.testing.assert_allclose(Null(aggregate=lambda s: np.nanmin(s)).reduce(scores), [0.1, np.nan])


@pytest.mark.parametrize("metric", EVERY[: len(SUPPORTED_METRICS)], ids=str)
def test_p_is_super_uniform_over_all_orders(metric):
    """Under independence each of the 720 orders is as likely observed: P(p <= a) <= a for every a."""
    rng = np.random.default_rng(2)
    a, b = (sketched(metric, jnp.asarray(rng.normal(size=(6, 5)).astype(np.float32))) for _ in range(2))
    everything = np.concatenate([np.arange(6, dtype=np.int32)[None], make_orders(6, 719, 0)])
    scores = np.round(np.asarray(scores_of_orders(metric, a, b, everything)).astype(np.float64), 6)
    if np.isnan(scores).any():
        pytest.skip("a layer of six samples has no score of its own here")
    p = np.array([calibrate_scores(s, np.delete(scores, i), alpha=0.05, highest=1.0).p for i, s in enumerate(scores)])
    for level in np.unique(p):
        assert (p <= level + 1e-12).mean() <= level + 1e-12
    assert p.min() < 0.2


STUDIES, LAYERS, ORDERS = 2000, 12, 39


@pytest.mark.slow
@pytest.mark.parametrize("metric", [MutualKnn(k=5), UnbiasedCka(), Cka()], ids=str)
def test_false_positive_rate_of_simulated_studies(metric):
    """2,000 studies of independent features: max over 12 x 12 layers, 32 samples; layers of a model are related."""
    orders = jnp.asarray(make_orders(32, ORDERS, 0))
    everything = jnp.concatenate([jnp.arange(32, dtype=orders.dtype)[None], orders])

    def model(key):
        base, noise, mix = jax.random.split(key, 3)
        latent = jax.random.normal(base, (32, 6))
        layers = jax.random.normal(noise, (LAYERS, 32, 8)) + latent @ jax.random.normal(mix, (LAYERS, 6, 8))
        return jax.vmap(metric.sketcher)(layers)

    @jax.jit
    def study(key):
        a, b = (model(k) for k in jax.random.split(key))
        return jnp.max(metric.tile_kernel.orders(a, b, everything), axis=(1, 2))

    best = np.asarray(jax.lax.map(study, jax.random.split(jax.random.key(1), STUDIES)))
    found = calibrate_scores(best[:, 0], best[:, 1:].T, alpha=0.05, highest=highest_score(metric))
    rate = (found.p <= 0.05).mean()
    assert 0.03 < rate < 0.06, rate
    assert (found.calibrated > 0).mean() <= (found.p <= 0.05).mean() + 0.005


# --- the published rules


@pytest.mark.parametrize("metric", [Cka(), UnbiasedCka(), MutualKnn()], ids=str)
def test_the_package_of_the_paper_gives_the_same_numbers(metric):
    """On fixed inputs and orders: one pair, and the best and the mean of 3 x 2 layers."""
    torch = pytest.importorskip("torch")
    package = pytest.importorskip("calibrated_similarity")
    n, count = 64, 39
    xs = [correlated(n=n, seed=s, noise=6.0)[0] for s in range(3)]
    ys = [correlated(n=n, seed=s, noise=6.0)[1] for s in range(2)]
    orders = make_orders(n, count, 11)

    def similarity(x, y):
        return float(scored(metric, x.numpy(), y.numpy()))

    def fixed():
        drawn = iter(orders)
        return {"K": count, "perm_fn": lambda n, device: torch.as_tensor(next(drawn), dtype=torch.long)}

    tx, ty = ([torch.from_numpy(z) for z in side] for side in (xs, ys))
    a, b = (stacked([sketched(metric, jnp.asarray(z)) for z in side]) for side in (xs, ys))
    null = np.asarray(jax.jit(metric.tile_kernel.orders)(a, b, jnp.asarray(orders)))
    observed = np.asarray(jax.jit(metric.tile_kernel.tile)(a, b))
    rules = {"alpha": 0.05, "highest": highest_score(metric)}
    ours = calibrate_scores(observed[0, 0], null[:, 0, 0], **rules)
    theirs = package.calibrate(tx[0], ty[0], similarity, **fixed())
    np.testing.assert_allclose((ours.calibrated, ours.p, ours.tau), [float(z) for z in theirs], atol=1e-6)
    for aggregate in ("max", "mean"):
        reduce = dataclasses.replace(Null(), aggregate=aggregate).reduce
        ours = calibrate_scores(reduce(observed[None])[0], reduce(null), **rules)
        theirs = package.calibrate_layers(tx, ty, similarity, agg=aggregate, **fixed())
        np.testing.assert_allclose((ours.calibrated, ours.p, ours.tau), [float(z) for z in theirs], atol=1e-6)
