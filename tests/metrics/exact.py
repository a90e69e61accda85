"""Float64 values of metrics on float32 features; what is ranked is put in order by exact arithmetic."""

from fractions import Fraction

import numpy as np
from oracles import ORACLES
from scipy.stats import kendalltau, spearmanr


def integers(x):
    """Features times a power of two that makes them integers, as Python's own."""
    mantissas, exponents = np.frexp(x.astype(np.float64))
    digits = (mantissas * 2.0**53).astype(np.int64).astype(object)
    shifts = (exponents - exponents[x != 0].min(initial=0)).clip(0)
    return digits * np.array([[2 ** int(s) for s in row] for row in shifts], dtype=object)


def products(z):
    return z @ z.T


def cosine_keys(z):
    """Numbers in the order of the cosines of all rows: `sign(p) p^2 / (q_i q_j)`, 0 for a row of zeros."""
    p = products(z)
    q = [max(int(s), 1) for s in np.diagonal(p)]
    n = len(z)
    return [[Fraction(int(p[i, j]) * abs(int(p[i, j])), q[i] * q[j]) for j in range(n)] for i in range(n)]


def squared_distance_keys(z):
    p = products(z)
    s = np.diagonal(p)
    return s[:, None] + s[None, :] - 2 * p


def exact_lists(x, k, normalize=True, largest=True, by_distance=False, with_self=False):
    z = integers(x)
    keys = squared_distance_keys(z) if by_distance else cosine_keys(z) if normalize else products(z)
    sign = 1 if by_distance else -1
    n = len(z)
    return [
        sorted((j for j in range(n) if with_self or j != i), key=lambda j: (sign * keys[i][j], j))[:k] for i in range(n)
    ]


def pair_ranks(x, rdm):
    z = integers(x)
    if rdm == "correlation":
        z = z * z.shape[1] - z.sum(axis=1)[:, None]
    keys = squared_distance_keys(z) if rdm == "euclidean" else cosine_keys(z)
    values = [keys[i][j] if rdm == "euclidean" else -keys[i][j] for i in range(len(z)) for j in range(i)]
    place = {value: r for r, value in enumerate(sorted(set(values)))}
    return np.array([place[v] for v in values])


def exact_rsa(x, y, rdm="correlation", compare_by="spearman"):
    a, b = pair_ranks(x, rdm), pair_ranks(y, rdm)
    return float({"spearman": spearmanr, "kendall": kendalltau}[compare_by](a, b)[0])


def scaled(x):
    """Float64 features times the power of two that brings the largest to 1."""
    x = x.astype(np.float64)
    return np.ldexp(x, -np.frexp(np.abs(x).max())[1])


def exact_value(metric, x, y):
    name, settings = metric.name, metric.settings
    if name == "rsa" and settings["compare_by"] in ("spearman", "kendall"):
        return exact_rsa(x, y, **settings)
    if "isotropic_scaling" in metric.invariances:
        x, y = scaled(x), scaled(y)
    with np.errstate(all="ignore"):
        return ORACLES[name](x, y, **settings)
