"""Calls outside of JAX programs: compiled once, and by shorter ways than sketches where there are such."""

import jax
import numpy as np
import pytest
from inputs import correlated
from jax import monitoring

from benchmarks.plain_calls import measure, table
from benchmarks.plain_numpy import PLAIN
from prh_jax.metrics import LinearRegression, Metric
from prh_jax.metrics.registry import METRICS, make_metric
from prh_jax.runtime.host import quick_jit, quiet_blas

BY_NUMPY = [name for name in METRICS if type(make_metric(name)).by_numpy is not Metric.by_numpy]
"""Metrics that compile nothing."""


@pytest.mark.parametrize("name", METRICS)
def test_a_call_is_what_numpy_computes(name):
    """At n above and below the widths; of metrics without a shorter way others tests tell the same."""
    metric = make_metric(name)
    for n, dx, dy in ((60, 24, 17), (30, 24, 37)) if type(metric).alone is not Metric.alone else ((60, 24, 17),):
        x, y = correlated(n=n, dx=dx, dy=dy)
        assert float(metric(x, y)) == pytest.approx(float(PLAIN[name](x, y)), rel=2e-5, abs=2e-5), (n, dx, dy)


def test_the_second_call_compiles_nothing():
    x, y = correlated(n=48, dx=14, dy=11)
    compiled, watching = [], [True]  # older versions of JAX keep a listener for good

    def note(event, _, **__):
        if watching and event.endswith("backend_compile_duration"):
            compiled.append(event)

    monitoring.register_event_duration_secs_listener(note)
    for name in ("svcca", "mutual_knn", "rsa", "normalized_bures"):
        for again in (False, True):
            compiled.clear()
            float(make_metric(name)(x, y))
            assert bool(compiled) != again, (name, compiled)
    compiled.clear()
    for name in BY_NUMPY:
        float(make_metric(name)(x, y))
    watching.clear()
    assert not compiled


def test_what_is_in_doubt_is_left_to_the_sketches():
    x, y = correlated(n=40, dx=14, dy=11)
    far = x.copy()
    far[:, 3] *= 2e4  # float32 has turned all other directions
    metric = LinearRegression()
    assert metric.alone(x, y) is not None and metric.alone(y, far) is None
    assert np.isfinite(metric(y, far)) and metric.alone(x, np.ones_like(y)) is None


@pytest.mark.parametrize("name", BY_NUMPY)
def test_numpy_leaves_layers_that_need_care_to_the_sketches(name):
    """Those that are not finite, out of range, constant, or small beside an offset."""
    metric, (x, y) = make_metric(name), correlated(n=40, dx=14, dy=11)
    constant, one = x.copy(), x[:, :1] > 0
    constant[:, 3] = 5
    offset = (x / 1e3 + 100 * y.std()).astype(np.float32)
    for bad in (np.where(one, np.nan, x), np.where(one, np.inf, x), x * np.float32(1e-30), np.ones_like(x), offset):
        assert metric.by_numpy(bad, y) is None and metric.by_numpy(y, bad) is None
    assert metric.by_numpy(x, y) is not None
    if "correlation_match" in name:
        assert metric.by_numpy(constant, y) is None
    if name == "permutation_procrustes":  # near layers, whose distance has no digits as a difference
        assert metric.by_numpy(x, x[:, ::-1] * np.float32(1.001)) is None
    assert jax.jit(lambda: metric(x, y))() == metric(x, y)


def test_the_angle_has_its_digits_where_it_is_wide_and_where_it_is_small():
    x, y = correlated(n=40, dx=14, dy=11)
    for other in (y, x[:, ::-1] + np.float32(1e-2) * y[:, :1], x + np.float32(1e-4) * y[:, :1]):
        p, q = (z - z.mean(axis=0) for z in (x.astype(np.float64), other.astype(np.float64)))
        cosine = np.linalg.norm(p.T @ q, "nuc") / np.linalg.norm(p) / np.linalg.norm(q)
        assert float(make_metric("angular_shape_distance")(x, other)) == pytest.approx(np.arccos(cosine), rel=1e-4)


def test_a_version_of_the_compiler_without_the_options_serves_too(monkeypatch):
    monkeypatch.setattr("prh_jax.runtime.host.QUICK", {"xla_cpu_of_another_version": True})
    double = quick_jit(lambda z: 2 * z)
    assert float(double(np.float32(3))) == 6 == float(double(np.float32(3)))


def test_threads_come_back_whichever_call_ends_first():
    from threadpoolctl import ThreadpoolController

    def threads():
        return {lib["num_threads"] for lib in ThreadpoolController().info() if lib["user_api"] == "blas"}

    jax.block_until_ready(jax.numpy.ones(3))
    before, first, second = threads(), quiet_blas(), quiet_blas()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert threads() == {1}
    second.__exit__(None, None, None)
    assert threads() == before


def test_the_benchmark_tells_both_and_their_ratio(capsys):
    (row,) = measure(["magnitude_difference"], n=32, dx=6, dy=5, rounds=1)
    assert row["ratio"] == row["ours_s"] / row["numpy_s"] and row["difference"] < 1e-5
    assert "| magnitude_difference |" in table([row])
