"""Laws that hold whatever the features: all ways to one score lead to it, and the order of samples is none of them."""

import tempfile
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from inputs import compared, counts, sketched

from prh_jax import Preprocess, align, align_share, load_alignment, merge, write_features
from prh_jax.metrics.base import PairwiseMetric
from prh_jax.metrics.registry import METRICS, make_metric
from prh_jax.sketches.base import SketchContext

DRAWN = hypothesis.settings(max_examples=2, deadline=None, derandomize=True)
PLAIN = Preprocess(clip_quantile=1.0, normalize=False)
N = 24
SHAPES = st.just((N, 12, 9))
"""Samples and widths; of fewer samples than features in sum spans meet, and pwcca's directions are not unique."""

SEEDS = st.integers(0, 10_000)
STUDIED = ("mutual_knn", "cka", "rsa")


def few(name):
    settings = METRICS[name]().settings
    return make_metric(name, **{key: 4 for key in ("k", "dim") if key in settings})


def layers(n, dx, dy, seed, many=1):
    """Layers of a common latent on either side, without ties."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n, 4))
    return [
        [(latent @ rng.normal(size=(4, d)) + rng.normal(size=(n, d))).astype(np.float32) for _ in range(many)]
        for d in (dx, dy)
    ]


def by_sketches(metric, x, y):
    sketcher = metric.sketcher.specialise(SketchContext(len(x), tuple(sorted({x.shape[1], y.shape[1]}))))
    return float(compared(metric, sketched(sketcher, x), sketched(sketcher, y)))


def same(metric, found, expected):
    """Counts to the bit, others to the rounding of float32."""
    if counts(metric):
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, expected, rtol=2e-6, atol=2e-6)


@hypothesis.settings(DRAWN, max_examples=1)
@hypothesis.given(seed=SEEDS)
def test_a_function_a_study_its_shares_and_its_halves_give_one_score(seed):
    sides = layers(N, 6, 9, seed, many=2)
    metrics = {name: few(name) for name in STUDIED}
    asked = list(metrics.values())
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        ids = [f"s{i}" for i in range(N)]
        # models of one layer each on the first side, so that the study has halves
        stores = [
            write_features(where / f"{name}.zarr", features, ids=ids, spec={"model": name})
            for name, features in (("a", sides[0][:1]), ("b", sides[0][1:]), ("c", sides[1]))
        ]
        whole = align(stores[:2], stores[2:], asked, preprocess=PLAIN)
        halves = merge([align(store, stores[2:], asked, preprocess=PLAIN) for store in stores[:2]])
        for index in (1, 0):
            align_share(index, 2, stores[:2], stores[2:], asked, output=where / "shared.zarr", preprocess=PLAIN)
        shared = load_alignment(where / "shared.zarr")
        for name, metric in metrics.items():
            scores = whole.dataset[name].values
            np.testing.assert_array_equal(shared.dataset[name].values, scores)
            same(metric, halves.dataset[name].values, scores)
            same(metric, scores, [[float(metric(x, y)) for y in sides[1]] for x in sides[0]])
            same(metric, scores, [[by_sketches(metric, x, y) for y in sides[1]] for x in sides[0]])


@pytest.mark.parametrize("name", METRICS)
@DRAWN
@hypothesis.given(shape=SHAPES, seed=SEEDS)
def test_the_order_of_samples_changes_nothing(name, shape, seed):
    (x,), (y,) = layers(*shape, seed)
    order = np.random.default_rng(seed).permutation(shape[0])
    metric = few(name)
    same(metric, by_sketches(metric, x[order], y[order]), by_sketches(metric, x, y))


@pytest.mark.parametrize("name", [name for name in METRICS if few(name).symmetric])
@DRAWN
@hypothesis.given(shape=SHAPES, seed=SEEDS)
def test_symmetric_metrics_are_symmetric(name, shape, seed):
    """To the bit, but where a matrix is decomposed for the pair: that of the other order is its transpose."""
    (x,), (y,) = layers(*shape, seed)
    metric = few(name)
    one, other = by_sketches(metric, x, y), by_sketches(metric, y, x)
    if isinstance(metric, PairwiseMetric) or name == "svcca":
        same(metric, one, other)
    else:
        assert one == other
