"""CKA of sampled units is a mean over tuples of distinct samples and distinct units, and has no bias by either."""

from itertools import combinations, permutations

import jax
import numpy as np
import pytest

import prh_jax
from prh_jax import feature_unbiased_cka

RNG = np.random.default_rng(0)


def kernel_of_tuples(n):
    """All tuples of four distinct samples."""
    return np.array(list(permutations(range(n), 4))).T


def hsic(k, m):
    """Unbiased HSIC of Gram matrices: the mean over distinct samples i, j, q, r of K_ij (L_ij + L_qr - 2 L_iq)."""
    i, j, q, r = kernel_of_tuples(len(k))
    return np.mean(k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q]))


def by_tuples(x, y, sampled="both"):
    def own(z, drawn):
        units = range(z.shape[1])
        pairs = permutations(units, 2) if drawn else ((a, b) for a in units for b in units)
        return np.mean([hsic(np.outer(z[:, a], z[:, a]), np.outer(z[:, b], z[:, b])) for a, b in pairs])

    shared = hsic(x @ x.T / x.shape[1], y @ y.T / y.shape[1])
    return shared / np.sqrt(own(x, sampled in ("both", "x")) * own(y, sampled in ("both", "y")))


@pytest.mark.parametrize("sampled", ["both", "x", "y"])
@pytest.mark.parametrize("widths", [(4, 3), (2, 9)])
def test_score_is_the_mean_over_distinct_samples_and_units(sampled, widths):
    latent = RNG.normal(size=(7, 2))
    x, y = (latent @ RNG.normal(size=(2, d)) + 0.1 * RNG.normal(size=(7, d)) + 5 for d in widths)
    x, y = x.astype(np.float32), y.astype(np.float32)
    expected = by_tuples(x.astype(float), y.astype(float), sampled)
    assert float(feature_unbiased_cka(x, y, sampled=sampled)) == pytest.approx(expected, rel=1e-5)
    traced = jax.jit(lambda x, y: feature_unbiased_cka(x, y, sampled=sampled))(x, y)
    assert float(traced) == pytest.approx(expected, rel=1e-4)


def test_mean_over_all_subsets_of_units_is_the_whole():
    """Of numerator and denominator apart, since their ratio has a bias: y stays as it is, and x is compared with y.

    With one y, `score(x)^2 = H(x, y)^2 / H'(x, x)` up to a factor of y, and H(x, y) is `unbiased_cka` times norms.
    """
    latent = RNG.normal(size=(8, 1))
    x, y = ((latent * RNG.uniform(1, 2, size=d) + 0.15 * RNG.normal(size=(8, d))).astype(np.float32) for d in (5, 3))

    def parts(z):
        z, other = z.astype(float), y.astype(float)
        shared = hsic(z @ z.T / z.shape[1], other @ other.T / 3)
        score = float(feature_unbiased_cka(z, y, sampled="x"))
        return shared, shared**2 / score**2

    subsets = [parts(x[:, list(chosen)]) for chosen in combinations(range(5), 3)]
    np.testing.assert_allclose(np.mean(subsets, axis=0), parts(x), rtol=1e-4)


def test_sampling_few_units_does_not_lower_the_score():
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(60, 5))
    x, y = (np.tanh(latent @ rng.normal(size=(5, 400))).astype(np.float32) for _ in range(2))
    whole = float(prh_jax.unbiased_cka(x, y))  # of 400 units, so that little is lacking
    draws = [(x[:, rng.permutation(400)[:20]], y[:, rng.permutation(400)[:20]]) for _ in range(40)]
    corrected = np.mean([float(feature_unbiased_cka(a, b)) for a, b in draws])
    plain = np.mean([float(prh_jax.unbiased_cka(a, b)) for a, b in draws])
    assert plain < whole - 0.15 and abs(corrected - whole) < 0.05


def test_it_is_a_metric_of_a_study_and_has_a_gradient():
    latent = RNG.normal(size=(20, 3))
    x, y = (latent @ RNG.normal(size=(3, d)) for d in (12, 30))
    metric = prh_jax.FunctionMetric("sampled_cka", feature_unbiased_cka, symmetric=True)
    found = prh_jax.layer_matrix([x], [y, y[:, :20]], metric)  # by the tiles of a study
    np.testing.assert_allclose(found, [[by_gram(x, y), by_gram(x, y[:, :20])]], rtol=1e-4)
    x32, y32, step = x.astype(np.float32), y.astype(np.float32), 1e-3 * RNG.normal(size=x.shape)
    slope = np.sum(np.asarray(jax.jit(jax.grad(feature_unbiased_cka))(x32, y32)) * step)
    ends = [by_gram(x + sign * step, y) for sign in (-0.5, 0.5)]
    assert slope == pytest.approx(ends[1] - ends[0], rel=1e-2)


def by_gram(x, y):
    """The score in float64 through U-centred Gram matrices of all units and of each alone."""

    def centred(k):
        n = len(k)
        k = k - np.diag(np.diag(k))
        rows = k.sum(axis=0)
        u = k - (rows[:, None] + rows) / (n - 2) + k.sum() / ((n - 1) * (n - 2))
        return u - np.diag(np.diag(u))

    grams = [np.stack([centred(np.outer(u, u)) for u in z.T]) for z in (x, y)]
    own = [(np.sum(g.sum(axis=0) ** 2) - np.sum(g**2)) / (len(g) * (len(g) - 1)) for g in grams]
    shared = np.sum(grams[0].mean(axis=0) * grams[1].mean(axis=0))
    return shared / np.sqrt(own[0] * own[1])


def test_layers_without_a_score():
    x = RNG.normal(size=(6, 3)).astype(np.float32)
    for layer in (np.ones((6, 2), np.float32), np.full((6, 2), np.nan, np.float32)):
        with pytest.warns(RuntimeWarning, match="feature_unbiased_cka is NaN"):
            assert np.isnan(feature_unbiased_cka(x, layer))
    for one, other, sampled, words in (
        (x, x[:, :1], "both", "y has 1"),
        (x, x[:5], "both", r"\(6, 3\) and \(5, 3\)"),
        (x[:3], x[:3], "both", "n >= 4"),
        (x, x, "none", "'both', 'x' and 'y'"),
    ):
        with pytest.raises(ValueError, match=words):
            feature_unbiased_cka(one, other, sampled=sampled)
    x = x + np.arange(6, dtype=np.float32)[:, None] * 2
    assert np.isfinite(feature_unbiased_cka(x, x[:, :1], sampled="x"))
