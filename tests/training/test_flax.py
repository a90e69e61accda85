"""Alignment as metrics of Flax."""

import sys

import jax
import numpy as np
import pytest
from inputs import correlated

import prh_jax

nnx = pytest.importorskip("flax.nnx")

from prh_jax.flax import FeatureProbe, StreamingCka  # noqa: E402


def test_metrics_of_batches_are_those_of_all_rows():
    x, y = correlated(n=40, dx=14, dy=11)
    metrics = nnx.MultiMetric(
        cka=StreamingCka(14, 11, x="early", y="late"),
        knn=FeatureProbe("mutual_knn:k=4", 14, 11, capacity=32, x="early", y="late"),
    )

    @nnx.jit
    def step(metrics, x, y, mask):
        metrics.update(early=x, late=y, mask=mask)
        return metrics.compute()

    mask = np.arange(40) % 5 > 0
    for _ in range(2):
        for start in (0, 10, 20, 30):
            rows = slice(start, start + 10)
            inside = step(metrics, x[rows], y[rows], mask[rows])
        found = metrics.compute()
        assert float(found["cka"]) == pytest.approx(float(prh_jax.unbiased_cka(x[mask], y[mask])), abs=1e-5)
        assert float(found["knn"]) == float(prh_jax.mutual_knn(x[mask], y[mask], k=4)) == float(inside["knn"])
        metrics.reset()
    assert np.isnan(StreamingCka(14, 11).compute())


def test_a_probe_takes_any_metric_and_no_more_than_its_capacity():
    x, y = correlated(n=40, dx=14, dy=11)
    probe = FeatureProbe(prh_jax.Svcca(4), 14, 11, capacity=30)
    probe.update(x=x[:24], y=y[:24])
    assert float(probe.compute()) == pytest.approx(float(prh_jax.svcca(x[:24], y[:24], dim=4)), abs=1e-6)
    compute = nnx.jit(lambda probe: probe.compute())
    assert np.isnan(compute(probe))
    probe.update(x=x[24:], y=y[24:])
    assert float(compute(probe)) == pytest.approx(float(prh_jax.svcca(x[:30], y[:30], dim=4)), abs=2e-6)
    with pytest.raises(TypeError, match="y="):
        probe.update(x=x)


def test_without_flax_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "flax", None)
    monkeypatch.delitem(sys.modules, "prh_jax.flax")
    with pytest.raises(ImportError, match=r"pip install 'prh-jax\[flax\]'"):
        import prh_jax.flax  # noqa: F401
    assert jax.devices()
