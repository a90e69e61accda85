"""Sums of matrices kept as factors or as neighbour lists: those of the matrix itself, and nothing of its size made."""

import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prh_jax.null import forms, low_rank
from prh_jax.null.forms import Dense, Edges
from prh_jax.null.low_rank import LowRank, _low_rank_parts
from prh_jax.null.moments import matrix_sums

MANY = 20_000
LITTLE = MANY * MANY * 8 // 50


def expect_sums_of(matrix, form):
    found, expected = (jax.device_get(each.parts(third=True)) for each in (form, Dense(jnp.asarray(matrix))))
    size = np.abs(matrix).sum(axis=1).max()  # sums of entries of both signs may vanish
    np.testing.assert_allclose(found.means, expected.means, rtol=1e-9, atol=1e-12 * size / len(matrix))
    for name, values in expected.samples.items():
        np.testing.assert_allclose(found.samples[name], values, rtol=1e-9, atol=1e-12 * size ** max(1, len(name)))
    for name, values in expected.through.items():
        np.testing.assert_allclose(found.through[name], values, rtol=1e-9, atol=1e-12 * size**2)
    np.testing.assert_allclose(found.rings, expected.rings, rtol=1e-9)
    for sums, others in zip(*(matrix_sums(parts, third=True)[1:] for parts in (found, expected)), strict=True):
        np.testing.assert_allclose(sums, others, rtol=1e-9, atol=1e-9 * np.abs(others).max())


@pytest.mark.parametrize("mean", [0, 0.05])  # columns of features with mean zero, as those of sketches, and without
def test_factors(mean, x64, monkeypatch):
    monkeypatch.setattr(low_rank, "ROWS_PER_BLOCK", 32)
    features = np.random.default_rng(0).normal(size=(75, 9))
    features -= features.mean(axis=0)
    features = features / np.linalg.norm(features @ features.T) ** 0.5 + mean
    form, matrix, norm = LowRank.of(jnp.asarray(features)), features @ features.T, jnp.asarray(0.7)
    expect_sums_of(matrix, form)
    expect_sums_of(np.asarray(Dense(jnp.asarray(matrix)).u_centered(norm).matrix), form.u_centered(norm))


@pytest.mark.parametrize("k", [1, 6, 60])
def test_lists(k, x64, monkeypatch):
    monkeypatch.setattr(forms, "ENTRIES", 700)
    rng = np.random.default_rng(k)
    others = np.where(np.eye(75, dtype=bool), np.inf, rng.random((75, 75)) - np.linspace(0, 1, 75))  # some are hubs
    lists, values, matrix = np.argsort(others, axis=1)[:, :k], rng.normal(size=(75, k)) + 1, np.zeros((75, 75))
    matrix[np.arange(75)[:, None], lists] = values
    expect_sums_of(matrix, Edges(jnp.asarray(lists), jnp.asarray(values)))


def test_lists_of_all_others_have_no_spread(x64):
    lists = np.array([[j for j in range(12) if j != i] for i in range(12)])
    value = lists.size**-0.5
    sums = matrix_sums(Edges(jnp.asarray(lists), jnp.full(lists.shape, value)).parts(third=True), third=True)
    assert sums.means[0] == pytest.approx(value, rel=1e-12) and max(np.abs(z).max() for z in sums[1:]) < 1e-14


def test_degenerate_layers_have_no_moments(x64):
    lists = jnp.full((75, 9), -1)
    forms = [LowRank.of(jnp.full((75, 9), jnp.nan)), Edges(lists, jnp.full(lists.shape, jnp.nan))]
    for form in (*forms, forms[0].u_centered(jnp.asarray(1.0))):
        sums = matrix_sums(jax.device_get(form.parts(third=True)), third=True)
        assert np.isnan(sums.means[0]) and np.isnan(sums.second).any() and np.isnan(sums.third).any()


def test_factors_of_many_samples_take_little_memory(x64):
    form = jax.eval_shape(LowRank.of, jax.ShapeDtypeStruct((MANY, 64), jnp.float32))
    program = _low_rank_parts.lower(form, True).compile()
    assert program.memory_analysis().temp_size_in_bytes < form.needed < LITTLE


def test_lists_of_many_samples_take_little_memory():
    lists = (np.arange(MANY)[:, None] + np.random.default_rng(0).permutation(MANY - 1)[:4] + 1) % MANY
    form = Edges(lists, np.full(lists.shape, 0.1))
    tracemalloc.start()
    form.parts(third=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < form.needed < LITTLE
