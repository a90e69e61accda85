"""Canonical correlations by the textbook: orthonormal bases and the singular values between them."""

import numpy as np

EPS = np.finfo(float).eps
"""Precision of the features, which decides the rank of a layer."""


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


def basis(x, centered=True, variance=1.0):
    """Left singular vectors of singular values above zero; the first of them that hold a share of the variance."""
    x = np.asarray(x, np.float64)
    u, s, _ = np.linalg.svd(x - x.mean(axis=0) if centered else x, full_matrices=False)
    rank = int((s > len(x) * EPS * s[0]).sum())
    if variance < 1:
        share = np.cumsum(s**2) / np.sum(s**2)
        rank = min(rank, int(np.argmax(share >= variance)) + 1)
    return u[:, :rank]


def cca(x, y, average="squared"):
    u, v = basis(x), basis(y)
    squares = np.linalg.svd(u.T @ v, compute_uv=False) ** 2
    ranks = u.shape[1], v.shape[1]
    return float(squares.sum() / {"squared": min(ranks), "yanai": np.sqrt(ranks[0] * ranks[1]), "pillai": 1}[average])


def mean_cca(x, y, variance=1.0):
    return float(np.linalg.svd(basis(x, True, variance).T @ basis(y, True, variance), compute_uv=False).mean())


def pwcca(x, y):
    """Morcos et al. 2018: canonical variates of x by its basis, and how much of all its features projects on each."""
    u, v = basis(x), basis(y)
    left, rho, _ = np.linalg.svd(u.T @ v, full_matrices=False)
    variates = u @ left
    features = np.asarray(x, np.float64) - np.mean(x, axis=0, dtype=np.float64)
    weights = [sum(abs(variate @ feature) for feature in features.T) for variate in variates.T]
    return float(np.dot(weights, rho) / sum(weights))


def eigenspace_overlap(x, y):
    u, v = basis(x, centered=False), basis(y, centered=False)
    return float(np.linalg.norm(u.T @ v) ** 2 / max(u.shape[1], v.shape[1]))


def gulp(x, y, ridge=0.01):
    """Boix-Adsera et al. 2022: by covariances of normalised features, d x d; without a ridge by the spans."""
    if ridge == 0:
        u, v = basis(x), basis(y)
        return float(u.shape[1] + v.shape[1] - 2 * np.linalg.norm(u.T @ v) ** 2)
    x, y = (np.asarray(z, np.float64) - np.mean(z, axis=0) for z in (x, y))
    x, y = x / np.linalg.norm(x), y / np.linalg.norm(y)
    inverse = [np.linalg.pinv(z.T @ z + ridge * np.eye(z.shape[1]), hermitian=True) for z in (x, y)]
    own = [np.trace(i @ z.T @ z @ i @ z.T @ z) for i, z in zip(inverse, (x, y), strict=True)]
    cross = np.trace(inverse[0] @ x.T @ y @ inverse[1] @ y.T @ x)
    return float(own[0] + own[1] - 2 * cross)


def linear_regression(x, y, ridge=0.0, leave_one_out=False):
    """R^2 of x from y over all features, by solving the (ridge) normal equations; anew without each sample."""
    x, y = (np.asarray(z, np.float64) - np.mean(z, axis=0) for z in (x, y))
    y = y / np.linalg.norm(y) if ridge else basis(y)  # the span alone matters, and its rank is that of all samples

    def predicted(x, y, new):
        """By the fit to centred features of some samples, for other samples."""
        (own, mean), place = (y - y.mean(axis=0), x.mean(axis=0)), new - y.mean(axis=0)
        if ridge == 0:
            return mean + place @ np.linalg.lstsq(own, x - mean, rcond=None)[0]
        return mean + place @ np.linalg.solve(own.T @ own + ridge * np.eye(y.shape[1]), own.T @ (x - mean))

    if not leave_one_out:
        return float(1 - np.linalg.norm(x - predicted(x, y, y)) ** 2 / np.linalg.norm(x) ** 2)
    others = [np.arange(len(x)) != i for i in range(len(x))]
    wrong = sum(np.sum((x[i] - predicted(x[rest], y[rest], y[i])) ** 2) for i, rest in enumerate(others))
    return float(1 - wrong / sum(np.sum((x[i] - x[rest].mean(axis=0)) ** 2) for i, rest in enumerate(others)))
