"""Measures of single features, by scipy's linear sum assignment."""

import numpy as np
from scipy.optimize import linear_sum_assignment

from .shapes import same_width


def correlations(x, y):
    """Pearson correlation of feature i of x and j of y; 0 where one is constant."""
    x, y = (np.asarray(z, np.float64) - np.mean(z, axis=0, dtype=np.float64) for z in (x, y))
    lengths = np.outer(np.linalg.norm(x, axis=0), np.linalg.norm(y, axis=0))
    return np.divide(x.T @ y, lengths, out=np.zeros_like(lengths), where=lengths > 0)


def soft_correlation_match(x, y):
    """Li et al. 2016, section 3.2, from both sides."""
    r = correlations(x, y)
    return float((np.mean([max(row) for row in r]) + np.mean([max(column) for column in r.T])) / 2)


def hard_correlation_match(x, y):
    r = correlations(x, y)
    return float(r[linear_sum_assignment(r, maximize=True)].mean())


def permutation_procrustes(x, y, centered=True, unit_norm=True):
    x, y = same_width(x, y, centered)
    if unit_norm:
        x, y = x / np.linalg.norm(x), y / np.linalg.norm(y)
    _, match = linear_sum_assignment(x.T @ y, maximize=True)
    return float(np.linalg.norm(x - y[:, match]))
