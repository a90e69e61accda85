"""Dimensions of a layer, and their standard errors."""

import numpy as np


def distances(x):
    """Of all pairs, infinite on the diagonal."""
    apart = x[:, None] - x[None]
    found = np.sqrt((apart**2).sum(axis=2))
    np.fill_diagonal(found, np.inf)
    return found


def two_nn(table, discard=0.1):
    """Facco et al. 2017: the slope of a line through the origin."""
    near = np.sort(table, axis=1)
    ratios = np.sort(near[:, 1] / near[:, 0])
    n = len(ratios)
    if discard == 0:
        return (n - 1) / np.log(ratios).sum()
    kept = int(n * (1 - discard))
    heights = [-np.log(1 - i / n) for i in range(1, kept + 1)]
    return np.linalg.lstsq(np.log(ratios[:kept])[:, None], np.array(heights), rcond=None)[0][0]


def maximum_likelihood(table, k=20):
    """Levina and Bickel 2005, equation 8, and the mean of inverses of MacKay and Ghahramani."""
    near = np.sort(table, axis=1)[:, :k]
    local = [(k - 1) / sum(np.log(row[-1] / t) for t in row[:-1]) for row in near]
    return 1 / np.mean([1 / d for d in local])


def singular_values(x, weights=None):
    """Of the layer less its mean; samples may have weights."""
    weights = np.ones(len(x)) if weights is None else weights
    centered = x - np.average(x, axis=0, weights=weights)
    return np.linalg.svd(np.sqrt(weights)[:, None] * centered, compute_uv=False)


def participation_ratio(x, weights=None):
    values = singular_values(x, weights) ** 2
    return values.sum() ** 2 / (values**2).sum()


def effective_rank(x, weights=None):
    """Roy and Vetterli 2007, definition 1, of the layer less its mean."""
    values = singular_values(x, weights)
    shares = values[values > 1e-9 * values[0]] / values.sum()
    return np.exp(-sum(p * np.log(p) for p in shares))


def error_by_halves(estimate, table, splits, seed=0):
    """Standard error from random halves, each with all distances of its own."""
    n, squares = len(table), []
    for split in range(splits):
        order = np.random.default_rng([seed, split]).permutation(n)
        a, b = (estimate(table[np.ix_(half, half)]) for half in (order[: n // 2], order[n // 2 :]))
        squares.append((np.log(a) - np.log(b)) ** 2 / 2)
    return estimate(table) * np.sqrt(np.mean(squares) / 2)


def error_by_weights(estimate, x, step=1e-4):
    """Standard error by the infinitesimal jackknife: derivatives by the weight of each sample, from differences."""
    x, n = x.astype(np.float64), len(x)
    change = step * np.eye(n)
    slopes = np.array([estimate(x, 1 + row) - estimate(x, 1 - row) for row in change]) / (2 * step)
    return np.sqrt(n / (n - 1) * ((slopes - slopes.mean()) ** 2).sum())
