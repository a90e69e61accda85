"""Float64 values of metrics on float32 features; what is ranked is put in order by exact arithmetic."""

from contextlib import contextmanager
from fractions import Fraction
from unittest.mock import patch

import numpy as np
import oracles.lists
import oracles.subspaces
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


def exact_lists(x, k, normalize=True, queries=0):
    """The k nearest of each sample, equal ones by index."""
    keys = cosine_keys(integers(x)) if normalize else products(integers(x))
    n = len(x)
    return [sorted((j for j in range(n) if j != i), key=lambda j: (-keys[i][j], j))[:k] for i in range(n)]


def exact_by_distance(x):
    """For each sample the others, the nearest first, equally near ones by index."""
    keys = squared_distance_keys(integers(x))
    n = len(x)
    return [sorted((j for j in range(n) if j != i), key=lambda j: (keys[i, j], j)) for i in range(n)]


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


def scale_of(metric, x, y):
    """What an error of the score is measured by: 1 where scores are shares or angles, else the layers' own size."""
    x, y = (z.astype(np.float64) for z in (x, y))
    if metric.name == "magnitude_difference":
        return max(np.linalg.norm(z.mean(axis=0)) for z in (x, y))
    if metric.name in ("procrustes_distance", "permutation_procrustes") and not metric.unit_norm:
        return max(np.linalg.norm(z) for z in (x, y))
    return 0 if metric.name == "rsm_norm_difference" else 1


def exact_value(metric, x, y):
    """The score of float32 features by the definition in the metric's documentation, in float64."""
    name, settings = metric.name, metric.settings
    if name == "rsa" and settings["compare_by"] in ("spearman", "kendall"):
        return exact_rsa(x, y, **settings)
    if name == "information_imbalance":
        with documented():
            return ORACLES[name](x, y, **settings)
    if metric.invariances >= {"isotropic_scaling"}:
        x, y = scaled(x), scaled(y)
    if metric.invariances >= {"translation"}:
        x, y = (z - z.mean(axis=0, dtype=np.float64) for z in (x, y))
    with documented(), np.errstate(all="ignore"):
        return ORACLES[name](x, y, **settings)


@contextmanager
def documented():
    """The oracles with neighbours in the order of exact arithmetic, and the rank of features in float32."""
    with (
        patch.object(oracles.lists, "neighbor_lists", exact_lists),
        patch.object(oracles.lists, "by_distance", exact_by_distance),
        patch.object(oracles.subspaces, "EPS", np.finfo(np.float32).eps),
    ):
        yield
