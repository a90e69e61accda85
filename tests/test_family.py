"""What contract tests cannot know of single metrics: ties, widths, arguments of papers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inputs import correlated, scored
from oracles.dissimilarities import rsa
from scipy.stats import kendalltau

from prh_jax import kendall
from prh_jax.metrics import Rsa


@pytest.mark.parametrize("n", [5, 8, 17, 30])
@pytest.mark.parametrize("values", [2, 9, 1000])
def test_tau_of_ties(n, values, x64):
    """Few values, so that pairs of pairs are tied in one layer, in the other, and in both; against scipy."""
    rng = np.random.default_rng(n)
    x, y = rng.integers(0, values, size=(2, n, 3)).astype(float)
    y[:, 0] = x[:, 0]
    score = float(scored(Rsa("euclidean", "kendall"), x, y))
    assert score == pytest.approx(rsa(x, y, "euclidean", "kendall"), abs=1e-12)


def test_inversions_are_counted_exactly():
    """Of a permutation of 4,224, as many as the definition counts; tau from float32 shares is scipy's."""
    order = np.random.default_rng(0).permutation(4224).astype(np.int32)
    counts = np.asarray(jax.jit(kendall.inversions)(order), np.int64)
    assert counts.sum() == sum(int((order[:i] > order[i]).sum()) for i in range(len(order)))
    large = jnp.asarray(np.full(2**12, 2**23 + 5, np.int32))
    assert float(kendall.share(large)) == pytest.approx((2**23 + 5) / ((2**12 - 1) / 2), rel=1e-6)
    x, y = correlated(n=150, dx=14, dy=11)
    assert float(scored(Rsa("euclidean", "kendall"), x, y)) == pytest.approx(
        kendalltau(*(rsa_pairs(z) for z in (x, y)))[0], abs=2e-6
    )


def rsa_pairs(x):
    return np.array([np.linalg.norm(x[i].astype(float) - x[j]) for i in range(len(x)) for j in range(i)])
