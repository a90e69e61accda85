"""Metrics inside JAX programs: jit, vmap, scan, gradients, precisions; and an import that starts nothing."""

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inputs import correlated, counts, scored
from jax.test_util import check_grads

from prh_jax.metrics import Cka, Cknna, Svcca, UnbiasedCka
from prh_jax.metrics.registry import METRICS, parse_metric

DEFAULTS = {name: cls(**({"k": 4} if "k" in cls().settings else {})) for name, cls in METRICS.items()}
EVERY = pytest.mark.parametrize("metric", [pytest.param(m, id=n) for n, m in DEFAULTS.items()])
SMOOTH = [m for m in DEFAULTS.values() if m.differentiable]
SMOOTH += [Cka(kernel="rbf", sigma=3.0), UnbiasedCka(kernel="rbf", sigma=3.0), Cka(eps=1e-3)]
SMOOTH += [Cknna(k=4, unbiased=False), Cknna(k=4, formula="paper"), Cknna(k=4, eps=1e-3), Svcca(dim=3)]
SMOOTH += [
    parse_metric(text)
    for text in (
        "cka:kernel=rbf,median=true",
        "rsa:rdm=correlation,compare_by=pearson",
        "rsm_norm_difference:norm=spectral",
        "mean_cca:variance=0.9",
        "gulp:ridge=0",
        "linear_regression:ridge=0.1",
        "linear_regression:ridge=0.1,leave_one_out=true",
        "procrustes_distance:unit_norm=false",
        "angular_shape_distance:alpha=0.5",
    )
]


@EVERY
def test_jit_vmap_scan_and_checkpoint_agree(metric):
    pairs = [correlated(seed=s, dx=14, dy=11) for s in range(3)]
    xs, ys = (jnp.stack([pair[side] for pair in pairs]) for side in (0, 1))
    expected = np.array([float(scored(metric, x, y)) for x, y in pairs])

    @jax.jit
    def at_once(xs, ys):
        batch = jax.checkpoint(jax.vmap(metric))
        return jax.lax.scan(lambda carry, pair: (carry, batch(*pair)), None, (xs[:, None], ys[:, None]))[1][:, 0]

    # of ranks, rounding may swap two that are nearly equal
    atol = 0 if counts(metric) else 1e-6 if metric.differentiable else 1e-5
    np.testing.assert_allclose(np.asarray(at_once(xs, ys)), expected, atol=atol, rtol=0 if counts(metric) else 1e-6)


@EVERY
def test_no_retrace_at_equal_shapes(metric):
    """And it calls LAPACK, whose threads are held then, if it says so."""
    traces = []

    @jax.jit
    def score(x, y):
        traces.append(1)
        return metric(x, y)

    programs = [jax.make_jaxpr(score)(*correlated(seed=seed, dx=14, dy=11)) for seed in range(3)]
    assert len(traces) == 1
    assert bool(re.search(r" = (eigh|svd|qr|householder_product|cholesky|lu)\b", str(programs[0]))) == metric.decomposes


@EVERY
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_two_byte_floats_are_raised_to_float32(metric, dtype):
    x, y = (jnp.asarray(z).astype(dtype) for z in correlated(dx=14, dy=11))
    score = scored(metric, x, y)
    assert score.dtype == jnp.float32
    # two programs, so that all but counts may differ by float32 rounding: arithmetic in 16 bits would differ by 1e-3
    raised = float(scored(metric, x.astype(jnp.float32), y.astype(jnp.float32)))
    assert float(score) == pytest.approx(raised, abs=0 if counts(metric) else 2e-6, rel=2e-6)


@EVERY
def test_float64_is_kept(metric, x64):
    x, y = correlated(dx=14, dy=11, dtype=np.float64)
    assert jax.eval_shape(metric, x, y).dtype == jnp.float64
    if metric.differentiable:
        shape = jax.eval_shape(metric, x.astype(np.float32), y.astype(np.float32))
        assert shape.dtype == jnp.float32


@pytest.mark.parametrize(
    "metric", [pytest.param(m, marks=() if m in DEFAULTS.values() else pytest.mark.slow) for m in SMOOTH], ids=str
)
def test_gradients(metric, x64):
    x, y = (jnp.asarray(z) for z in correlated(dx=14, dy=11, dtype=np.float64))
    score = partial(scored, metric)
    check_grads(score, (x, y), order=1, modes=("fwd", "rev"), eps=1e-6, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("metric", [m for m in DEFAULTS.values() if not m.differentiable], ids=str)
def test_without_a_derivative_there_is_no_gradient(metric):
    """By any road; features behind stop_gradient are looked at beside a loss."""
    x, y = (jnp.asarray(z) for z in correlated(dx=14, dy=11))
    roads = {
        "grad": jax.grad(metric),
        "second layer": jax.grad(metric, argnums=1),
        "of jit": jax.grad(jax.jit(metric)),
        "in vmap": lambda x, y: jax.vmap(jax.grad(metric))(x[None], y[None]),
        "of vmap": jax.grad(lambda x, y: jax.vmap(metric)(x[None], y[None])[0]),
        "forward": lambda x, y: jax.jvp(metric, (x, y), (x, y)),
        "beside": jax.grad(lambda x, y: (UnbiasedCka()(x, y), metric(x, y)), has_aux=True),
    }
    for name, road in roads.items():
        with pytest.raises(TypeError, match=f"{metric.name}.* has no derivative.*{metric.stand_in[:16]}"):
            jax.eval_shape(road, x, y)
            raise AssertionError(name)

    def loss(x, y):
        return UnbiasedCka()(x, y), jax.jit(metric)(jax.lax.stop_gradient(x), y)

    slopes, score = jax.eval_shape(jax.grad(loss, has_aux=True), x, y)
    assert slopes.shape == x.shape and score.shape == ()


def test_svcca_gradient_survives_repeated_singular_values(x64):
    """All kept singular values are equal: the derivative is that of their span, which is defined."""
    rng = np.random.default_rng(0)
    columns = rng.normal(size=(24, 6))
    x = np.linalg.qr(columns - columns.mean(axis=0))[0]  # z-scored, its six singular values are equal
    y = rng.normal(size=(24, 11))
    score = jax.jit(lambda a: Svcca(dim=6)(a, y))
    through = jax.grad(score)(x)
    assert np.isfinite(np.asarray(through)).all()
    direction = rng.normal(size=x.shape)
    step = 1e-6
    change = (score(x + step * direction) - score(x - step * direction)) / (2 * step)
    assert float(jnp.vdot(through, direction)) == pytest.approx(float(change), rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("metric", SMOOTH, ids=str)
def test_degenerate_input_has_a_finite_gradient(metric, x64):
    """A constant layer scores NaN; a sum that masks it out must still have a gradient."""
    x, y = (jnp.asarray(z) for z in correlated(dx=14, dy=11, dtype=np.float64))
    gradients = jax.value_and_grad(partial(scored, metric), argnums=(0, 1))
    for bad in (jnp.ones_like(x), x.at[3, 2].set(jnp.nan)):
        value, slopes = gradients(bad, y)
        assert np.isnan(value) and np.isfinite(np.asarray(slopes[0])).all()
    low_rank = (x[:, :3] @ jnp.asarray(np.random.default_rng(0).normal(size=(3, 14)))).at[:, -1].set(0)
    value, slopes = gradients(low_rank, y)
    assert np.isfinite(value) != (metric.settings.get("dim") == 10)  # svcca has too few directions
    assert all(np.isfinite(np.asarray(slope)).all() for slope in (slopes if np.isfinite(value) else slopes[:1]))


@pytest.mark.parametrize("text", ["procrustes_distance", "cca", "svcca:dim=3", "mean_cca", "normalized_bures", "cka"])
def test_second_derivatives_are_right_or_refused(text, x64):
    x, y = (jnp.asarray(z) for z in correlated(n=20, dx=5, dy=4, dtype=np.float64))
    step = 1e-5 * jnp.asarray(np.random.default_rng(1).normal(size=x.shape))
    slope = jax.jit(jax.grad(parse_metric(text)))
    if text in ("cka", "normalized_bures"):
        change = jax.jvp(lambda z: slope(z, y), (x,), (step,))[1]
        np.testing.assert_allclose(change, (slope(x + step, y) - slope(x - step, y)) / 2, rtol=1e-4, atol=1e-10)
    else:
        with pytest.raises(TypeError, match="has no derivative in turn"):
            jax.jvp(lambda z: slope(z, y), (x,), (step,))


def test_gradient_ascent_raises_the_score():
    x, y = (jnp.asarray(z) for z in correlated(dx=14, dy=11))
    step = jax.jit(jax.value_and_grad(lambda a: UnbiasedCka()(a, y)))
    first, _ = step(x)
    for _ in range(20):
        x = x + 30 * step(x)[1]
    assert float(step(x)[0]) > float(first) + 0.1


def test_import_starts_no_backend_and_loads_no_torch():
    code = (
        "import sys, prh_jax; from jax._src import xla_bridge as bridge; "
        "assert not bridge._backends and 'torch' not in sys.modules and 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_everything_runs_on_two_devices():
    """In a process that has two, as their number is settled when JAX starts."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        str(Path(__file__).with_name("two_devices.py")),
    ]
    done = subprocess.run(
        command, env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
