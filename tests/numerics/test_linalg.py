"""Arithmetic that must be exact is."""

import dataclasses
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import ORACLES

import prh_jax
from prh_jax.numerics import backends, linalg, subspace
from prh_jax.numerics.blocks import gram, sum_over_columns
from prh_jax.numerics.packing import pack_upper, unpack_upper


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


def test_a_power_of_two_undoes_extremes():
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    for scale in (1e-30, 1.0, 1e30):
        factor = float(linalg.power_of_two(jnp.asarray(x * np.float32(scale))))
        assert np.log2(factor) == round(np.log2(factor))
        assert 0.5 <= np.abs(x * np.float32(scale)).max() * factor < 1
    assert float(linalg.power_of_two(jnp.zeros((2, 2)))) == 1


def test_unit_rows():
    x = jnp.asarray([[3.0, 4.0], [0.0, 0.0], [1e-30, 0.0], [1e30, 1e30]])
    expected = [[0.6, 0.8], [0, 0], [1, 0], [2**-0.5, 2**-0.5]]
    np.testing.assert_allclose(np.asarray(linalg.unit_rows(x)), expected, rtol=1e-6)


def gram64(n, d, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, d))
    return x, x @ x.T


@pytest.mark.parametrize("n", [5, 256, 257, 601, 1024])
def test_gram_by_blocks_is_the_product_and_symmetric(n):
    x, expected = gram64(n, 33)
    got = np.asarray(jax.jit(gram)(x.astype(np.float32)))
    np.testing.assert_allclose(got, expected, atol=2e-5)
    np.testing.assert_array_equal(got, got.T)


@pytest.mark.parametrize("d", [40, 64, 67, 150])
def test_pieces_of_columns_add_up(d, monkeypatch):
    """Widths that equal pieces cover, and one with columns left over; what is done to columns is done in pieces."""
    monkeypatch.setattr(backends, "CPU", dataclasses.replace(backends.CPU, columns_per_piece=32))
    x, _ = gram64(300, d)
    given, centred = jnp.asarray(x, jnp.float32), x - x.mean(axis=0)
    got = np.asarray(jax.jit(lambda z: gram(z, prepare=lambda z: z - jnp.mean(z, axis=0, keepdims=True)))(given))
    np.testing.assert_allclose(got, centred @ centred.T, atol=5e-4)
    np.testing.assert_array_equal(got, got.T)
    rounded = np.asarray(jax.jit(lambda z: gram(z, bfloat16=True))(given))
    cut = np.asarray(given.astype(jnp.bfloat16).astype(jnp.float32), np.float64)
    np.testing.assert_allclose(rounded, cut @ cut.T, atol=5e-4)
    counted = jax.jit(lambda z: sum_over_columns(lambda p: jnp.sum(p, axis=1), z))(jnp.ones((3, d)))
    np.testing.assert_array_equal(counted, [d] * 3)


@pytest.mark.parametrize("n", [4, 5, 12, 13])
def test_packing_keeps_each_pair_once(n, x64):
    (_, a), (_, b) = gram64(n, 3), gram64(n, 4, seed=1)
    packed = [np.asarray(pack_upper(jnp.asarray(z))) for z in (a, b)]
    assert packed[0].shape == (n, n // 2)
    inner = 2 * (packed[0] * packed[1]).sum() + (np.diag(a) * np.diag(b)).sum()
    assert inner == pytest.approx((a * b).sum(), rel=1e-12)
    np.testing.assert_allclose(np.asarray(unpack_upper(jnp.asarray(packed[0]))), a - np.diag(np.diag(a)), atol=1e-14)


def test_u_centred_matrices_are_those_of_szekely_and_rizzo(x64):
    n, centred, direct, split = 9, [], [], []
    for seed in (0, 1):
        matrix = gram64(n, 4, seed)[1]
        split.append(linalg.split_center(jnp.asarray(matrix)))
        project = np.eye(n) - 1 / n
        centred.append(project @ matrix @ project)
        np.fill_diagonal(matrix, 0)
        rows = matrix.sum(axis=1) / (n - 2)
        matrix = matrix - rows[:, None] - rows[None, :] + rows.sum() / (n - 1)
        np.fill_diagonal(matrix, 0)
        direct.append(matrix)
    (u, g), (v, h) = split
    assert u == pytest.approx(direct[0], rel=1e-12)
    assert (u * v).sum() == pytest.approx((direct[0] * direct[1]).sum(), rel=1e-12)
    assert (u * v).sum() + (g * h).sum() == pytest.approx((centred[0] * centred[1]).sum(), rel=1e-12)


@pytest.mark.parametrize("decay, gap, settles", [(1.0, 0, True), (0.4, 0, True), (0.0, 3, True), (0.02, 3e-4, False)])
def test_top_eigenvectors_whether_iteration_settles_or_not(decay, gap, settles, monkeypatch):
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(600, 600)))[0]
    values = np.arange(1, 601.0) ** -decay + (np.arange(600) < 10) * gap
    matrix = ((basis * values) @ basis.T).astype(np.float32)
    if settles:
        assert bool(subspace.iterate_subspace(jnp.asarray(matrix), 10)[1])
    else:  # whether it settles here is a matter of rounding: it is told that it did not
        monkeypatch.setattr(subspace, "iterate_subspace", lambda m, r: (jnp.zeros((600, r)), jnp.array(False)))
    got = np.asarray(jax.jit(lambda m: subspace.top_eigenvectors(m, 10))(matrix), np.float64)
    cosines = np.linalg.svd(basis[:, :10].T @ np.linalg.qr(got)[0], compute_uv=False)  # of the subspaces
    assert cosines.min() > 1 - (1e-9 if settles else 1e-7)  # of rounding by the gap, 4e-4, the square


@pytest.mark.parametrize("seed", range(3))
def test_directions_stay_orthonormal_where_products_bring_nothing_new(seed):
    """Two eigenvalues: one product with the matrix spans all there is to find, and the rest is noise."""
    basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(600, 600)))[0]
    matrix = ((basis * (1.0 + 3 * (np.arange(600) < 10))) @ basis.T).astype(np.float32)
    vectors, settled = jax.jit(subspace.iterate_subspace, static_argnums=1)(matrix, 10)
    vectors = np.asarray(vectors, np.float64)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(10), atol=1e-5)
    assert settled and np.linalg.svd(basis[:, :10].T @ vectors, compute_uv=False).min() > 1 - 1e-6


def test_products_of_all_pairs_in_pieces():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 50, 401)), rng.normal(size=(5, 50, 401))
    got = np.asarray(jax.jit(linalg.tile_inner)(a.astype(np.float32), b.astype(np.float32)))
    np.testing.assert_allclose(got, np.einsum("xij,yij->xy", a, b), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("n, d, noise", [(300, 64, 0.05), (1500, 600, 0.05), (700, 900, 0.01)])
def test_left_vectors_of_a_layer_that_one_direction_dominates(n, d, noise):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 1)) * rng.normal(size=(1, d)) + noise * rng.normal(size=(n, d))
    x[:, :9] += 0.3 * rng.normal(size=(n, 9))
    got, full_rank = jax.jit(subspace.left_vectors, static_argnums=1)(jnp.asarray(x, jnp.float32), 10)
    cosines = np.linalg.svd(np.linalg.svd(x, full_matrices=False)[0][:, :10].T @ np.asarray(got, np.float64))[1]
    assert bool(full_rank) and cosines.min() > 1 - 2e-6  # 1.1e-6 on a GPU
    flat = (rng.normal(size=(n, 3)) @ rng.normal(size=(3, d))).astype(np.float32)
    assert not bool(jax.jit(subspace.left_vectors, static_argnums=1)(jnp.asarray(flat), 10)[1])


def test_left_vectors_of_many_samples_need_no_products_of_all_pairs():
    layer = jax.ShapeDtypeStruct((20_000, 64), jnp.float32)
    program = jax.jit(subspace.left_vectors, static_argnums=1).lower(layer, 10).compile()
    assert program.memory_analysis().temp_size_in_bytes < 20_000**2 * 4 / 20


def test_svcca_of_layers_that_one_direction_dominates():
    rng = np.random.default_rng(0)
    for n, d, noise in ((256, 64, 0.05), (1024, 64, 0.05)):
        x, y = (rng.normal(size=(n, 1)) * rng.normal(size=(1, d)) + noise * rng.normal(size=(n, d)) for _ in "xy")
        assert float(prh_jax.svcca(x.astype("f4"), y.astype("f4"))) == pytest.approx(
            ORACLES["svcca"](x, y, dim=10), abs=1e-3
        )


@pytest.mark.as_shipped
@pytest.mark.parametrize("rows, columns", [(64, 64), (57, 60), (64, 65), (3, 64)])
@pytest.mark.parametrize("size", [5000, 8192])
def test_inner_products_of_all_pairs(rows, columns, size):
    """In pieces and what is left over, of as many rows as are filled up by one and of others."""
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-8, 9, (count, 2, size // 2)).astype(np.float32) for count in (rows, columns))
    expected = a.reshape(rows, -1).astype(np.int64) @ b.reshape(columns, -1).astype(np.int64).T
    np.testing.assert_array_equal(jax.jit(linalg.tile_inner)(a, b), expected)  # integers: no rounding
