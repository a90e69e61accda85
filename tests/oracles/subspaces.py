"""Canonical correlations by the textbook: orthonormal bases and the singular values between them."""

import numpy as np


def leading_directions(x, dim):
    x = np.asarray(x, np.float64)
    x = x - x.mean(axis=0)
    deviation = x.std(axis=0, ddof=1)
    x = x[:, deviation > 0] / deviation[deviation > 0]
    return np.linalg.svd(x, full_matrices=False)[0][:, :dim]


def svcca(x, y, dim=10):
    """Mean canonical correlation of the leading left singular vectors, by CCA of the two sets of columns."""
    u, v = leading_directions(x, dim), leading_directions(y, dim)
    q, _ = np.linalg.qr(u - u.mean(axis=0))
    r, _ = np.linalg.qr(v - v.mean(axis=0))
    return float(np.linalg.svd(q.T @ r, compute_uv=False).mean())
