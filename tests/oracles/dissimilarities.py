"""Measures of all distances between samples, with scipy's distances and rank statistics."""

import numpy as np
from scipy.spatial.distance import pdist, squareform
from scipy.stats import kendalltau, pearsonr, spearmanr


def distance_correlation(x, y, biased=True):
    """Szekely et al. 2007 (distance covariances of double-centred distances); Szekely and Rizzo 2014 (U-centred)."""
    n = len(x)
    centred = []
    for z in (x, y):
        d = squareform(pdist(np.asarray(z, np.float64)))
        if biased:
            centred.append(d - d.mean(0) - d.mean(1)[:, None] + d.mean())
        else:
            rows = d.sum(0) / (n - 2)
            d = d - rows - rows[:, None] + d.sum() / ((n - 1) * (n - 2))
            np.fill_diagonal(d, 0)
            centred.append(d)
    a, b = centred
    squared = (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
    return float(np.sqrt(squared) if biased else squared)


def dissimilarities(x, rdm):
    """Of all pairs; 1 where a row has no direction."""
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(pdist(np.asarray(x, np.float64), rdm), nan=1)


def rsa(x, y, rdm="correlation", compare_by="spearman"):
    a, b = (dissimilarities(z, rdm) for z in (x, y))
    if compare_by == "cosine":
        return float(a @ b / np.sqrt((a @ a) * (b @ b)))
    return float({"spearman": spearmanr, "kendall": kendalltau, "pearson": pearsonr}[compare_by](a, b)[0])


def rsm_norm_difference(x, y, rdm="euclidean", norm="frobenius"):
    a, b = (squareform(dissimilarities(z, rdm)) for z in (x, y))
    return float(np.linalg.norm(a - b, ord={"frobenius": "fro", "spectral": 2}[norm]))
