"""Measures of shape, by scipy's rotation of one layer, filled up with zeros, onto the other."""

import numpy as np
from scipy.linalg import orthogonal_procrustes

from . import subspaces


def same_width(x, y, centered):
    x, y = (np.asarray(z, np.float64) for z in (x, y))
    if centered:
        x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    d = max(x.shape[1], y.shape[1])
    return [np.pad(z, ((0, 0), (0, d - z.shape[1]))) for z in (x, y)]


def procrustes_distance(x, y, centered=True, unit_norm=True):
    x, y = same_width(x, y, centered)
    if unit_norm:
        x, y = x / np.linalg.norm(x), y / np.linalg.norm(y)
    return float(np.linalg.norm(x @ orthogonal_procrustes(x, y)[0] - y))


def partly_whitened(x, alpha):
    """Williams et al. 2021: x Z with `Z = alpha + (1 - alpha) C^(-1/2)`, C the covariance of trace one."""
    u, values, v = np.linalg.svd(x / np.linalg.norm(x), full_matrices=False)
    kept = values > len(x) * subspaces.EPS * values[0]
    return (u * (alpha * values + (1 - alpha) * kept)) @ v


def angular_shape_distance(x, y, centered=True, alpha=1.0):
    x, y = (partly_whitened(z, alpha) for z in same_width(x, y, centered))
    nuclear = np.linalg.svd(x.T @ y, compute_uv=False).sum()
    return float(np.arccos(np.clip(nuclear / np.linalg.norm(x) / np.linalg.norm(y), -1, 1)))


def normalized_bures(x, y):
    """Tang et al. 2020: of the fidelity of two Gram matrices, the nuclear norm of features by features."""
    x, y = same_width(x, y, True)
    return float(np.linalg.norm(x.T @ y, "nuc") / np.linalg.norm(x) / np.linalg.norm(y))


def aligned_cosine(x, y):
    x, y = same_width(x, y, False)
    x = x @ orthogonal_procrustes(x, y)[0]
    return float(np.mean((x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)))
