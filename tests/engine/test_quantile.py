"""Order statistics by bits are those of a sort."""

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from prh_jax.engine import device_quantile
from prh_jax.engine.preprocess import Preprocess
from prh_jax.engine.quantile import PIECE, order_statistics, row_quantiles
from prh_jax.stores.source import GivenLayers


def samples(kind, size=5000):
    rng = np.random.default_rng(0)
    return {
        "normal": rng.normal(size=size),
        "ties": rng.integers(-3, 4, size=size).astype(float),
        "wide": rng.normal(size=size) * 10.0 ** rng.integers(-20, 20, size=size),
        "close": 1 + 1e-6 * rng.normal(size=size),
        "zeros": np.zeros(size),
    }[kind]


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16], ids=lambda t: np.dtype(t).name)
@pytest.mark.parametrize("kind", ["normal", "ties", "wide", "close", "zeros"])
def test_order_statistics_are_those_of_a_sort(kind, dtype):
    with np.errstate(over="ignore"):
        values = samples(kind).astype(dtype)
    values = values[np.isfinite(values.astype(np.float32))]
    magnitudes = np.sort(np.abs(values.astype(np.float32)))
    for rank in (0, 1, len(values) // 2, int(0.95 * len(values)), len(values) - 2, len(values) - 1):
        pieces = np.array_split(values, 3)
        expected = magnitudes[[rank, min(rank + 1, len(values) - 1)]]
        np.testing.assert_array_equal(order_statistics(lambda p=pieces: p, rank), expected)


def test_pieces_longer_than_the_cache():
    values = np.random.default_rng(0).normal(size=(3, PIECE)).astype(np.float32)
    assert order_statistics(lambda: [values], 12345)[0] == np.sort(np.abs(values).ravel())[12345]


@pytest.mark.parametrize("long", [0, 10**9], ids=["counted", "partitioned"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16], ids=lambda t: np.dtype(t).name)
@pytest.mark.parametrize("q", [0.001, 0.5, 0.95, 0.999])
def test_row_quantiles_are_numpys(q, dtype, long, monkeypatch):
    """Rows of three layers side by side, put together a few at a time."""
    monkeypatch.setattr("prh_jax.engine.quantile.ROWS_OF", 250)
    monkeypatch.setattr("prh_jax.engine.quantile.LONG", long)
    layers = [np.random.default_rng(d).normal(size=(7, d)).astype(dtype) for d in (50, 1, 23)]
    expected = np.quantile(np.abs(np.concatenate(layers, axis=1).astype(np.float64)), q, axis=1)
    np.testing.assert_allclose(row_quantiles(layers, q), expected, rtol=1e-12)


@pytest.mark.parametrize("way", ["counted", "partitioned", "on a device"])
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16], ids=lambda t: np.dtype(t).name)
@pytest.mark.parametrize("kind", ["normal", "ties", "wide", "close", "zeros"])
def test_row_quantiles_of_values_far_from_evenly_spread(kind, dtype, way, monkeypatch):
    monkeypatch.setattr("prh_jax.engine.quantile.LONG", 0 if way == "counted" else 10**9)
    values = samples(kind, 30_000).astype(dtype).reshape(2, -1)
    for q in (0.0, 0.3, 0.95, 1.0):
        expected = np.quantile(np.abs(values.astype(np.float64)), q, axis=1)
        if way == "on a device":
            found = device_quantile.row_quantiles([jnp.asarray(values)], q)
            np.testing.assert_array_equal(found, row_quantiles([values], q))
        else:
            found = row_quantiles([values], q)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16], ids=lambda t: np.dtype(t).name)
@pytest.mark.parametrize("kind", ["ties", "wide", "zeros"])
def test_order_statistics_on_a_device_are_those_of_a_sort(kind, dtype):
    """Two layers of other widths; subnormal numbers too."""
    with np.errstate(over="ignore"):
        values = np.nan_to_num(samples(kind).astype(dtype).astype(np.float32), posinf=1, neginf=1).astype(dtype)
    magnitudes = np.sort(np.abs(values.astype(np.float32)))
    layers = [jnp.asarray(values[:3000].reshape(10, 300)), jnp.asarray(values[3000:].reshape(10, 200))]
    for rank in (0, 1, len(values) // 2, int(0.95 * len(values)), len(values) - 1):
        assert device_quantile.order_statistic(layers, rank) == magnitudes[rank]


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("scope", ["tensor", "layer"])
def test_thresholds_are_the_same_to_the_bit_wherever_features_lie(scope, exact):
    rng = np.random.default_rng(5)
    for dtype in (np.float16, np.float32):
        layers = [(rng.standard_normal((40, d)) * 10.0**d).astype(dtype) for d in (1, 3, 2)]
        source = GivenLayers(layers)
        preprocess = Preprocess(0.8, exact=exact, scope=scope)
        expected = preprocess.thresholds(source, layers)
        np.testing.assert_array_equal(preprocess.thresholds(source, [jnp.asarray(x) for x in layers]), expected)


def test_row_quantiles_of_layers_of_two_dtypes():
    layers = [np.array([[1.5, -4.0]], ml_dtypes.bfloat16), np.array([[2.25, 3.125]], np.float32)]
    assert row_quantiles(layers, 0.5) == (2.25 + 3.125) / 2
