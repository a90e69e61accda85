"""Neighbour lists of eager calls, entry by entry, against float64 and exact arithmetic."""

from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest

from prh_jax.sketches.base import SketchContext
from prh_jax.sketches.neighbors import NeighborSketcher

K = 10
SHAPES = [(60, 16), (96, 64), (300, 200)]


def lists_of(x, normalize=True, blocked=False):
    sketcher = NeighborSketcher(K, normalize=normalize)
    if blocked:
        sketcher = sketcher.specialise(SketchContext(len(x), pairwise_matrix=False))
        assert not sketcher.pairwise_matrix
    return np.asarray(sketcher(jnp.asarray(x)).neighbors)


def of_a_language_model(seed):
    """Features one to four of which are 1e2 to 1e6 times as large as the rest, nearly constant or of either sign."""
    rng = np.random.default_rng(seed)
    n, d = SHAPES[seed % len(SHAPES)]
    x = rng.normal(size=(n, 8)) @ rng.normal(size=(8, d)) + rng.normal(size=(n, d))
    for column in rng.choice(d, size=rng.integers(1, 5), replace=False):
        size = 10 ** rng.uniform(2, 6)
        x[:, column] = size * (rng.normal(size=n) if rng.random() < 0.5 else 1 + 0.01 * rng.normal(size=n))
    return x.astype(np.float32)


def nearest_in_float64(x):
    z = x.astype(np.float64)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    apart = np.array([((z - row) ** 2).sum(axis=1) for row in z])
    np.fill_diagonal(apart, np.inf)
    return np.argsort(apart, axis=1, kind="stable")[:, :K]


@pytest.mark.parametrize("seed", range(20))
def test_lists_are_those_of_float64_whatever_a_dimension_carries(seed):
    x = of_a_language_model(seed)
    expected = nearest_in_float64(x)
    np.testing.assert_array_equal(lists_of(x), expected)
    np.testing.assert_array_equal(lists_of(x, blocked=True), expected)
    by_numpy = NeighborSketcher(K).by_numpy(x)
    assert (by_numpy is None) == (seed in (9, 16, 17))  # rows too much alike
    if by_numpy is not None:
        np.testing.assert_array_equal(by_numpy.neighbors, expected)


def tied(kind):
    rng = np.random.default_rng(0)
    if kind == "codes":
        return rng.choice([-1, 1], size=(60, 16))
    x = rng.integers(-2, 4, size=(60, 16))
    if kind == "duplicated rows":
        return x[rng.integers(0, 20, size=60)]
    if kind == "rows of zeros":
        x[::7] = 0
    return x


def nearest_of_integers(x, normalize):
    """Lists in the order of exact products, or of `sign(p) p^2 / q`, which is that of cosines; ties by index."""
    products = [[int(p) for p in row] for row in x.astype(np.int64) @ x.T.astype(np.int64)]
    lists = []
    for i, row in enumerate(products):
        keys = [Fraction(p * abs(p), max(products[j][j], 1)) if normalize else p for j, p in enumerate(row)]
        lists.append(sorted((j for j in range(len(x)) if j != i), key=lambda j: (-keys[j], j))[:K])
    return np.array(lists)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("kind", ["codes", "small integers", "duplicated rows", "rows of zeros"])
def test_ties_are_ties_and_go_to_the_lowest_index(kind, normalize):
    x = tied(kind)
    expected = nearest_of_integers(x, normalize)
    for blocked in (False, True):
        np.testing.assert_array_equal(lists_of(x.astype(np.float32), normalize, blocked), expected)
    by_numpy = NeighborSketcher(K, normalize=normalize).by_numpy(x.astype(np.float32))
    assert (by_numpy is None) == (not normalize or kind == "rows of zeros")
    if by_numpy is not None:
        np.testing.assert_array_equal(by_numpy.neighbors, expected)


def test_numpy_makes_no_lists_of_layers_that_need_care():
    x = of_a_language_model(0)
    for bad in (np.ones_like(x), np.where(x == x.max(), np.nan, x), x.astype(np.float64)):
        assert NeighborSketcher(K).by_numpy(bad) is None
    with pytest.raises(ValueError, match="Choose a smaller k"):
        NeighborSketcher(len(x)).by_numpy(x)
