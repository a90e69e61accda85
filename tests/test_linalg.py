"""Arithmetic that must be exact is."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prh_jax import linalg


@pytest.mark.parametrize("total", [1, 3, 160, 400, 10240, 131072, 2**28 - 57])
def test_exact_ratio_is_the_rounded_quotient_in_any_tile(total):
    counts = np.unique(np.linspace(0, total, 3001).astype(np.int32))
    exact = np.array([np.float32(np.float64(Fraction(int(c), total))) for c in counts])
    vector = jax.jit(jax.vmap(lambda c: linalg.exact_ratio(c, total)))(counts)
    np.testing.assert_array_equal(np.asarray(vector), exact)
    one = jax.jit(lambda c: linalg.exact_ratio(c, total))
    for i in range(0, len(counts), 97):
        assert one(counts[i]) == exact[i]


def test_exact_ratio_in_float64(x64):
    for total in (3, 10240, 2**28 - 57):
        for count in (0, 1, total // 3, total - 1, total, 5 * total + 1):
            assert float(linalg.exact_ratio(jnp.asarray(count), total)) == count / total


def test_prescaling_is_exact_and_undoes_extremes():
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    for scale in (1e-30, 1.0, 1e30):
        scaled, factor = linalg.prescale(jnp.asarray(x * np.float32(scale)))
        assert 0.5 <= float(jnp.abs(scaled).max()) < 1
        np.testing.assert_array_equal(np.asarray(scaled), x * np.float32(scale) * np.float32(factor))
    assert float(linalg.prescale(jnp.zeros((2, 2)))[1]) == 1


def test_unit_rows():
    x = jnp.asarray([[3.0, 4.0], [0.0, 0.0], [1e-30, 0.0], [1e30, 1e30]])
    expected = [[0.6, 0.8], [0, 0], [1, 0], [2**-0.5, 2**-0.5]]
    np.testing.assert_allclose(np.asarray(linalg.unit_rows(x)), expected, rtol=1e-6)


def test_u_centred_rows_sum_to_zero(x64):
    x = np.random.default_rng(0).normal(size=(7, 3))
    matrix = np.asarray(linalg.u_center(jnp.asarray(x @ x.T)))
    assert np.abs(matrix.sum(axis=0)).max() < 1e-12 and (np.diag(matrix) == 0).all()
