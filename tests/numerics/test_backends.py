"""The ways of an accelerator give the scores of the definitions too, and the lists of a sort: run here on a CPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import ORACLES

from prh_jax import Null, Preprocess, align
from prh_jax.numerics import backends
from prh_jax.sketches import nearest

METRICS = ["mutual_knn:k=9", "lcs_knn:k=9", "cka", "unbiased_cka", "cknna:k=9"]
# samples that no other test has: what is compiled for them here serves nowhere else
SAMPLES = 101


@pytest.fixture
def accelerator(monkeypatch):
    monkeypatch.setattr(backends, "CPU", backends.ACCELERATOR)
    monkeypatch.setattr(backends, "ACCELERATOR", None)


def test_a_study_by_the_ways_of_an_accelerator_has_the_scores_of_the_definitions(accelerator):
    rng = np.random.default_rng(7)
    shared = rng.standard_normal((SAMPLES, 4))
    layers = [(shared @ rng.standard_normal((4, d)) + rng.standard_normal((SAMPLES, d))) for d in (13, 21, 13)]
    layers = [x.astype(np.float32) for x in layers]
    preprocess = Preprocess(0.9, normalize=False)
    found = align({"m": layers}, metrics=METRICS, preprocess=preprocess, null=Null(20), progress=False)
    clipped = []
    for x in layers:
        limit = np.quantile(np.abs(x).astype(np.float64), 0.9, axis=1).mean().astype(np.float32)
        clipped.append(np.clip(x, -limit, limit).astype(np.float64))
    for metric in METRICS:
        name, _, k = metric.partition(":k=")
        settings = {"k": int(k)} if k else {}
        values = found.layers(name).values
        for i, j in ((0, 1), (0, 2), (1, 2)):
            assert values[i, j] == pytest.approx(ORACLES[name](clipped[i], clipped[j], **settings), abs=2e-6)


@pytest.mark.parametrize("k", [16, 17])
def test_the_largest_of_long_rows_are_those_of_a_stable_sort(k, accelerator):
    """One level and two, with many equal entries."""
    values = np.random.default_rng(k).integers(0, 40, (5, 8000)).astype(np.float32)
    expected = np.argsort(-values, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(jax.jit(nearest.largest, static_argnums=1)(jnp.asarray(values), k), expected)
