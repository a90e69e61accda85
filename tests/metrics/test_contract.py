"""What every metric declares is executed: what is declared holds, and what is not declared breaks on a witness."""

import dataclasses
import inspect
import re
import sys

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from inputs import compared, correlated, counts, scored, sketched
from oracles import ORACLES

from prh_jax.engine.programs import compare_tiles, tile_scorer
from prh_jax.engine.stacks import layer_mesh, put_tile, sketch_shapes, stack_tile
from prh_jax.metrics import Cka, Cknna, CycleKnn, UnbiasedCka
from prh_jax.metrics.base import INVARIANCES, Metric
from prh_jax.metrics.registry import METRICS, PRH_METRICS, make_metric, parse_metric
from prh_jax.sketches.base import SketchContext


def small(metric):
    """With k = 4 where it has one: at 10 of 40 samples every cycle closes."""
    return dataclasses.replace(metric, k=4) if "k" in metric.settings else metric


VARIANTS = {
    **{name: small(cls()) for name, cls in METRICS.items()},
    **{f"prh-{name}": small(metric) for name, metric in PRH_METRICS.items()},
    "cka-rbf": Cka(kernel="rbf", sigma=3.0),
    "unbiased_cka-rbf": UnbiasedCka(kernel="rbf", sigma=3.0),
    "cknna-biased": Cknna(k=4, unbiased=False),
    "cknna-paper": Cknna(k=4, formula="paper"),
    **{
        text: parse_metric(text)
        for text in (
            "cka:kernel=rbf,sigma=0.5,median=true",
            "distance_correlation:biased=false",
            "rsa:rdm=euclidean,compare_by=pearson",
            "rsa:rdm=cosine,compare_by=cosine",
            "rsa:rdm=euclidean,compare_by=kendall",
            "rsm_norm_difference:rdm=cosine,norm=spectral",
            "cca:average=yanai",
            "cca:average=pillai",
            "mean_cca:variance=0.9",
            "gulp:ridge=0",
            "linear_regression:ridge=0.1",
            "linear_regression:leave_one_out=true",
            "linear_regression:ridge=0.1,leave_one_out=true",
            "procrustes_distance:unit_norm=false",
            "angular_shape_distance:alpha=0.5,centered=false",
            "angular_shape_distance:alpha=0",
            "permutation_procrustes:centered=false,unit_norm=false",
        )
    },
}
EVERY = pytest.mark.parametrize("metric", [pytest.param(m, id=name) for name, m in VARIANTS.items()])
EXACT = [m for m in VARIANTS.values() if counts(m)]


def oracle(metric, x, y):
    return ORACLES[metric.name](x, y, **metric.settings)


def close(metric, rounding=2e-5):
    """Counts are equal; the others to rounding."""
    return {"abs": 1e-6} if metric in EXACT else {"abs": rounding, "rel": rounding}


def rounded(metric):
    """Of the same sketches, whatever the tile."""
    return {"atol": 0, "rtol": 0} if metric in EXACT else {"atol": 1e-6, "rtol": 1e-6}


@EVERY
def test_scores_are_those_of_the_oracle(metric, x64):
    for seed in range(3):
        x, y = correlated(seed=seed, dx=14, dy=11, dtype=np.float64)
        assert float(scored(metric, x, y)) == pytest.approx(oracle(metric, x, y), abs=1e-10)


@EVERY
def test_scores_in_float32(metric):
    x, y = correlated(dx=14, dy=11)
    assert float(scored(metric, x, y)) == pytest.approx(oracle(metric, x, y), **close(metric))


@EVERY
def test_symmetry(metric):
    differs = False
    for seed in range(4):
        x, y = correlated(seed=seed, dx=14, dy=11)
        forth, back = float(scored(metric, x, y)), float(scored(metric, y, x))
        if metric.symmetric:
            assert forth == pytest.approx(back, abs=2e-6, rel=3e-6)
        differs = differs or abs(forth - back) > 1e-5 * max(1, abs(forth))
    assert differs != metric.symmetric


@EVERY
def test_bounds_and_self_score(metric):
    low, high = metric.bounds
    rng = np.random.default_rng(0)
    x, y = correlated(dx=14, dy=11)
    steps = np.repeat(np.arange(10.0, dtype=np.float32), 4)[:, None] * rng.normal(size=(1, 14)).astype(np.float32)
    adversaries = [-x, x**3, x[::-1].copy(), np.abs(x), x + 100, steps + 0.1 * x]
    for other in (y, *adversaries):
        score = float(scored(metric, x, other))
        assert low - 1e-5 <= score <= high + 1e-5
    if metric.self_score is not None and not getattr(metric, "eps", 0):
        # a score on the scale of the features is as exact as they are
        scale = 1 if "isotropic_scaling" in metric.invariances else float(np.linalg.norm(x))
        assert float(scored(metric, x, x)) == pytest.approx(
            metric.self_score, **({"abs": 1e-5 * scale} if metric not in EXACT else {})
        )


@pytest.mark.parametrize("metric", [m for m in VARIANTS.values() if m.self_score or "k" in m.settings], ids=str)
def test_the_best_score_is_attained(metric):
    low, high = metric.bounds
    if not np.isfinite(high) or metric.name == "information_imbalance":  # cknna; (k + 1) / n, never 0
        return
    x, _ = correlated(dx=14)
    if metric.self_score is None:
        metric = dataclasses.replace(metric, k=39)
    assert float(scored(metric, x, x)) == pytest.approx(high if metric.larger_is_closer else low, abs=1e-4)


@EVERY
def test_nearer_layers_score_higher(metric):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(40, 14)).astype(np.float32)
    if not metric.paired:  # drawn from more and more unlike distributions: a mean moves away, and samples draw together
        x = x / 8
        moved = (x * np.float32(1 - s) + s * x[:, :1] * np.eye(14, dtype=np.float32)[0] + s for s in (0, 0.4, 0.9))
        same, near, far = (float(scored(metric, x, other)) for other in moved)
        assert same < near < far
        return
    noise = rng.normal(size=x.shape).astype(np.float32)
    same, near, far = (float(scored(metric, x, other)) for other in (x, (x + noise) / np.float32(2**0.5), noise))
    sign = 1 if metric.larger_is_closer else -1
    assert sign * same > sign * near > sign * far


def transformed(name, x, rng):
    n, d = x.shape
    if name == "orthogonal":
        return x @ np.linalg.qr(rng.normal(size=(d, d)))[0]
    if name == "isotropic_scaling":
        return x * 3.7
    if name == "row_scaling":
        return x * rng.uniform(0.2, 5, size=(n, 1))
    if name == "column_scaling":
        return x * rng.uniform(0.2, 5, size=(1, d))
    if name == "translation":
        return x + 2 * rng.normal(size=(1, d))
    if name == "invertible_linear":
        return x @ rng.normal(size=(d, d))
    raise AssertionError(name)


@pytest.mark.parametrize("name", INVARIANCES)
@EVERY
def test_invariances(metric, name, x64):
    """Declared ones hold on both sides; each that is not declared changes the score of some input."""
    broken = 0.0
    for seed in range(4):
        # the first layers are small: where a score depends on scale by an eps, it shows
        x, y = (z * (1 if seed else 1e-3) for z in correlated(seed=seed, dx=14, dy=11, dtype=np.float64))
        rng = np.random.default_rng(seed)
        before = float(scored(metric, x, y))
        after = float(scored(metric, transformed(name, x, rng), y)), float(scored(metric, x, transformed(name, y, rng)))
        broken = max(broken, *(abs(score - before) for score in after))
    if name in metric.invariances:
        assert broken < 1e-9
    else:
        assert broken > 1e-9


@EVERY
def test_scale_does_not_matter_from_tiny_to_huge(metric):
    if "isotropic_scaling" not in metric.invariances:
        return
    x, y = correlated(dx=14, dy=11)
    expected = float(scored(metric, x, y))
    for scale in (1e-12, 1e-6, 1e6, 1e12):
        assert float(scored(metric, x * np.float32(scale), y)) == pytest.approx(expected, **close(metric))


@EVERY
def test_sketches_have_shapes_without_the_width(metric):
    """In a study, whose widest layer is known."""
    sketcher = metric.sketcher.specialise(SketchContext(40, (50,)))
    shapes = {
        jax.tree.map(lambda leaf: leaf.shape, jax.eval_shape(sketcher, jax.ShapeDtypeStruct((40, d), jnp.float32)))
        for d in (14, 50)
    }
    assert len(shapes) == 1
    assert hash(metric.sketcher) == hash(dataclasses.replace(metric).sketcher)
    assert metric.sketcher == dataclasses.replace(metric).sketcher


@EVERY
def test_many_samples_overflow_no_integer(metric):
    """Shapes alone: n^2 beyond 32 bits."""
    features = jax.ShapeDtypeStruct((70_000, 12), jnp.float32)
    most = {"spearman": "46,340", "kendall": "5,793"}.get(metric.settings.get("compare_by", ""))
    if most:
        with pytest.raises(ValueError, match=most):
            jax.eval_shape(metric.sketcher, features)
        return
    shape = jax.eval_shape(metric.sketcher, features)
    assert jax.eval_shape(metric.compare, shape, shape).shape == ()
    stack = jax.tree.map(lambda z: jax.ShapeDtypeStruct((2, *z.shape), z.dtype), shape)
    assert jax.eval_shape(metric.tile_kernel.tile, stack, stack).shape == (2, 2)


@pytest.mark.parametrize("name", ["mutual_knn", "cka"])
def test_without_jit_too(name):
    x, y = correlated(dx=14, dy=11)
    metric = small(METRICS[name]())
    assert float(metric(x, y)) == pytest.approx(float(scored(metric, x, y)), abs=1e-6)


reordered = jax.jit(lambda sketch, order: sketch.reorder(order))


@EVERY
def test_reorder_is_the_sketch_of_reordered_features(metric):
    x, y = correlated(dx=14, dy=11)
    order = np.random.default_rng(0).permutation(len(x))
    a, b = sketched(metric.sketcher, x), sketched(metric.sketcher, y)
    direct = float(compared(metric, a, sketched(metric.sketcher, y[order])))
    again = reordered(b, order)
    assert float(compared(metric, a, again)) == pytest.approx(direct, **close(metric, 1e-5))
    assert (abs(direct - float(compared(metric, a, b))) > 1e-4) == metric.paired


def stacks(metric, rows=5, columns=4):
    layers = [correlated(seed=s, dx=14, dy=11)[s % 2] for s in range(rows + columns)]
    sketches = [sketched(metric.sketcher.specialise(SketchContext(40, (17,))), x) for x in layers]
    return sketches[:rows], sketches[rows:]


def tiled(metric, a, b, tile):
    """The matrix put together from equal tiles, the last ones filled up."""
    mesh, shapes = layer_mesh(), sketch_shapes(a[0])
    scorer = tile_scorer((metric,), shapes, tile, mesh)
    rows = [put_tile(stack_tile(a[i : i + tile], tile), mesh, spread=True) for i in range(0, len(a), tile)]
    columns = [put_tile(stack_tile(b[j : j + tile], tile), mesh, spread=False) for j in range(0, len(b), tile)]
    return np.block([[np.asarray(scorer(row, column)[0]) for column in columns] for row in rows])[: len(a), : len(b)]


@EVERY
def test_a_tile_is_its_pairs(metric):
    a, b = stacks(metric)
    expected = np.array([[float(compared(metric, p, q)) for q in b] for p in a])
    np.testing.assert_allclose(tiled(metric, a, b, 5), expected, **rounded(metric))


@pytest.mark.parametrize("samples", [70, 33, 7, 1])
def test_cycles_by_blocks_of_samples(monkeypatch, samples):
    """40 layers, more than a word's bits, and a table of so many samples at a time: each pair as it is alone."""
    n = 70
    monkeypatch.setitem(vars(sys.modules[CycleKnn.__module__]), "TABLE", n * 2 * samples)
    rng = np.random.default_rng(0)
    a, b = (jnp.asarray(rng.random((count, n, n)).argsort(axis=2)[..., :4], jnp.int32) for count in (40, 3))
    expected = [[sum(any(i in p[j] for j in q[i]) for i in range(n)) for q in np.asarray(b)] for p in np.asarray(a)]
    np.testing.assert_array_equal(CycleKnn(4).count_tile(a, b), expected)
    swapped = CycleKnn(4, swapped=True)
    np.testing.assert_array_equal(swapped.count_tile(b, a), np.transpose(expected))
    # The other way about, of layers of one word; and lists of all others, which close every cycle.
    expected = [[sum(any(i in p[j] for j in q[i]) for i in range(n)) for q in np.asarray(a)] for p in np.asarray(b)]
    np.testing.assert_array_equal(CycleKnn(4).count_tile(b, a), expected)
    others = jnp.asarray([[[j for j in range(n) if j != i] for i in range(n)]] * 33, jnp.int32)
    np.testing.assert_array_equal(CycleKnn(n - 1).count_tile(others, others[:2]), np.full((33, 2), n))


@pytest.mark.as_shipped
def test_metrics_with_a_contraction_in_common_score_as_alone():
    """One program for several metrics gives each what it gives alone, to the bit."""
    metrics = (Cka(), UnbiasedCka(), Cka(eps=1e4))
    assert len({metric.tile_kernel.shared for metric in metrics} - {None}) == 1
    a, b = (jax.tree.map(lambda *z: jnp.stack(z), *side) for side in stacks(metrics[0]))
    together = jax.jit(lambda p, q: compare_tiles(metrics, p, q))(a, b)
    for metric, scores in zip(metrics, together, strict=True):
        alone = jax.jit(metric.tile_kernel.tile)(a, b)
        np.testing.assert_array_equal(np.asarray(scores), np.asarray(alone))
    assert len({float(scores[0, 0]) for scores in together}) == 3


@EVERY
def test_every_tile_size_gives_the_same_scores(metric):
    a, b = stacks(metric)
    whole = tiled(metric, a, b, 5)
    for tile in (1, 2, 3, 16) if metric in EXACT else (2,):
        np.testing.assert_allclose(tiled(metric, a, b, tile), whole, **rounded(metric))


@EVERY
def test_degenerate_input_gives_nan(metric):
    x, y = correlated(dx=14, dy=11)
    rng = np.random.default_rng(0)
    spoiled = [x.copy() for _ in range(3)]
    spoiled[0][3, 2] = np.nan
    spoiled[1][7, 0] = np.inf
    spoiled[2][5] = -np.inf
    constant = [np.ones_like(x), np.tile(rng.normal(size=14), (40, 1)).astype(np.float32), np.zeros_like(x)]
    for bad in (*spoiled, *constant):
        assert (
            np.isnan(scored(metric, bad, y)) and np.isnan(scored(metric, y, bad)) and np.isnan(scored(metric, bad, bad))
        )


@pytest.mark.parametrize("metric", EXACT)
def test_ties_go_to_the_lowest_index(metric):
    rng = np.random.default_rng(0)
    x, y = rng.integers(-2, 3, size=(2, 36, 5)).astype(np.float32)
    x, y = x[np.arange(36) % 18], y  # each row of x twice: every neighbour of x is tied with its copy
    metric = dataclasses.replace(metric, normalize=False)  # integer products are exact, so ties are ties
    assert float(scored(metric, x, y)) == pytest.approx(oracle(metric, x, y), abs=1e-6)


WORDS = [1, 2, 10, 31, 32, 33, 64, 100, 128, 139]
"""k at which lists fill machine words, and their neighbours."""


@pytest.mark.parametrize(
    "name, k",
    [(n, k) for n, cls in METRICS.items() if "k" in cls().settings for k in (WORDS if counts(cls()) else (1, 33, 139))],
)
def test_every_k(name, k):
    if name == "cknna" and k == 1:
        with pytest.raises(ValueError, match="k >= 2"):
            make_metric(name, k=k)
        return
    x, y = correlated(n=140, dx=14, dy=11)
    metric = make_metric(name, k=k)
    assert float(scored(metric, x, y)) == pytest.approx(oracle(metric, x, y), **close(metric))


@pytest.mark.parametrize("cls", METRICS.values())
def test_documentation_and_table(cls):
    first = cls.__doc__.strip().splitlines()[0]
    assert first.endswith(".") and len(first) > 20 and cls.source
    function = getattr(__import__("prh_jax"), cls.name)
    parameters = inspect.signature(function).parameters.values()
    assert function.__doc__
    settings = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "where"}
    assert settings == cls().settings
    assert ("where" in inspect.signature(function).parameters) == (cls.masked is not Metric.masked)
    x, y = correlated(dx=14, dy=11)
    traced = (re.sub(r"0x\w+", "", str(jax.make_jaxpr(f)(x, y))) for f in (function, cls()))
    assert next(traced) == next(traced)


@pytest.mark.parametrize("name", METRICS)
@hypothesis.settings(max_examples=15, deadline=None, derandomize=True)
@hypothesis.given(shape=st.sampled_from([(5, 4), (17, 20)]), seed=st.integers(0, 1000))
def test_random_sizes_match_the_oracle(name, shape, seed):
    n, d = shape
    fields = METRICS[name]().settings
    metric = make_metric(name, **({"k": 3} if "k" in fields else {"dim": 3} if "dim" in fields else {}))
    with jax.enable_x64(True):
        x, y = correlated(n=n, dx=d, dy=d, seed=seed, dtype=np.float64)
        expected = oracle(metric, x, y)
        got = float(scored(metric, x, y))
        assert (np.isnan(got) and np.isnan(expected)) or got == pytest.approx(expected, abs=1e-9, rel=1e-9)
