"""Each metric with its default settings as a careful numpy user writes it: float32, vectorised, one pair of layers."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata

K = 10
"""Neighbours, as metrics of neighbours have them by default."""


def centred(x: np.ndarray) -> np.ndarray:
    return x - x.mean(axis=0)


def unit_rows(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def lists(x: np.ndarray, k: int = K, *, unit: bool = True) -> np.ndarray:
    """The k nearest of each sample by inner product, nearest first."""
    rows = unit_rows(x) if unit else x
    similar = rows @ rows.T
    np.fill_diagonal(similar, -np.inf)
    return in_order(similar, k)


def in_order(similar: np.ndarray, k: int) -> np.ndarray:
    """The places of the k largest entries of each row, the largest first."""
    some = np.argpartition(similar, -k, axis=1)[:, -k:]
    order = np.argsort(-np.take_along_axis(similar, some, axis=1), axis=1, kind="stable")
    return np.take_along_axis(some, order, axis=1)


def equal_entries(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Whether entries p and q of a sample's two lists are one sample, (n, k, k)."""
    return lists(x)[:, :, None] == lists(y)[:, None, :]


def mutual_knn(x, y):
    return equal_entries(x, y).sum() / len(x) / K


def cycle_knn(x, y):
    a, b = lists(x), lists(y)
    return (a[b] == np.arange(len(x))[:, None, None]).any(axis=(1, 2)).mean()


def lcs_knn(x, y):
    same = equal_entries(x, y)
    length = np.zeros((K + 1, K + 1, len(x)), np.int32)
    for i in range(K):
        for j in range(K):
            longer = np.maximum(length[i, j + 1], length[i + 1, j])
            length[i + 1, j + 1] = np.where(same[:, i, j], length[i, j] + 1, longer)
    return length[K, K].mean() / K


def edit_distance_knn(x, y):
    same = equal_entries(x, y)
    steps = np.zeros((K + 1, K + 1, len(x)), np.int32)
    steps[:, 0] = steps[0, :] = np.arange(K + 1)[:, None]
    for i in range(K):
        for j in range(K):
            shorter = np.minimum(steps[i, j + 1], steps[i + 1, j]) + 1
            steps[i + 1, j + 1] = np.minimum(steps[i, j] + ~same[:, i, j], shorter)
    return 1 - steps[K, K].mean() / K


def jaccard(same: np.ndarray) -> np.ndarray:
    shared = same.sum(axis=(1, 2))
    return shared / (2 * K - shared)


def rank_weights(same: np.ndarray) -> np.ndarray:
    first, second = np.arange(1, K + 1)[:, None], np.arange(1, K + 1)[None, :]
    weights = (same * (2 / ((1 + abs(first - second)) * (first + second)))).sum(axis=(1, 2))
    harmonic = np.concatenate([[1], np.cumsum(1 / np.arange(1, K + 1))])
    return weights / harmonic[same.sum(axis=(1, 2))]


def knn_jaccard(x, y):
    return jaccard(equal_entries(x, y)).mean()


def rank_similarity(x, y):
    return rank_weights(equal_entries(x, y)).mean()


def joint_rank_jaccard(x, y):
    same = equal_entries(x, y)
    return (jaccard(same) * rank_weights(same)).mean()


def second_order_cosine(x, y):
    near = np.zeros((len(x), len(x)), bool)
    sides = []
    for z in (x, y):
        rows = unit_rows(z)
        similar = rows @ rows.T
        np.fill_diagonal(similar, -np.inf)
        np.put_along_axis(near, in_order(similar, K), True, axis=1)
        sides.append(similar)
    a, b = (np.where(near, z, 0) for z in sides)
    return ((a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))).mean()


def cka(x, y):
    """In feature space, which is smaller than that of samples."""
    x, y = centred(x), centred(y)
    return np.linalg.norm(x.T @ y) ** 2 / np.linalg.norm(x.T @ x) / np.linalg.norm(y.T @ y)


def hsic(a: np.ndarray, b: np.ndarray) -> Any:
    """Unbiased, of matrices whose diagonal is zero."""
    n = len(a)
    crossed = 2 * (a.sum(axis=0) @ b.sum(axis=1)) / (n - 2)
    return ((a * b.T).sum() + a.sum() * b.sum() / ((n - 1) * (n - 2)) - crossed) / (n * (n - 3))


def unbiased_cka(x, y):
    grams = []
    for z in (x, y):
        z = centred(z)
        gram = z @ z.T
        np.fill_diagonal(gram, 0)
        grams.append(gram)
    a, b = grams
    return hsic(a, b) / np.sqrt(hsic(a, a) * hsic(b, b))


def cknna(x, y):
    grams, masks = [], []
    for z in (x, y):
        gram = z @ z.T
        np.fill_diagonal(gram, -np.inf)
        near = np.zeros(gram.shape, bool)
        np.put_along_axis(near, np.argpartition(gram, -K, axis=1)[:, -K:], True, axis=1)
        np.fill_diagonal(gram, 0)
        grams.append(gram)
        masks.append(near)
    (a, b), both = grams, masks[0] & masks[1]
    own = hsic(a * masks[0], a * masks[0]) * hsic(b * masks[1], b * masks[1])
    return hsic(a * both, b * both) / np.sqrt(own)


def information_imbalance(x, y):
    near, order = (np.argsort(_apart(z), axis=1) for z in (x, y))
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(1, len(x) + 1)[None, :], axis=1)
    return 2 * np.take_along_axis(ranks, near[:, :1], axis=1).mean() / len(x)


def _apart(x: np.ndarray) -> np.ndarray:
    squares = np.square(distances(x))
    np.fill_diagonal(squares, np.inf)
    return squares


def distances(x: np.ndarray) -> np.ndarray:
    squares = np.square(x).sum(axis=1)
    apart = np.maximum(squares[:, None] + squares[None, :] - 2 * (x @ x.T), 0)
    np.fill_diagonal(apart, 0)
    return np.sqrt(apart)


def distance_correlation(x, y):
    a, b = (d - d.mean(axis=0) - d.mean(axis=1)[:, None] + d.mean() for d in map(distances, (x, y)))
    return np.sqrt((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


def rsa(x, y):
    pairs = np.triu_indices(len(x), 1)
    a, b = (rankdata(1 - np.corrcoef(z)[pairs]) for z in (x, y))
    return np.corrcoef(a, b)[0, 1]


def rsm_norm_difference(x, y):
    return np.linalg.norm(distances(x) - distances(y))


def basis(x: np.ndarray) -> np.ndarray:
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    return u[:, s > len(x) * np.finfo(x.dtype).eps * s[0]]


def svcca(x, y):
    u, v = (np.linalg.svd(centred(z) / z.std(axis=0, ddof=1), full_matrices=False)[0][:, :K] for z in (x, y))
    return np.linalg.svd(u.T @ v, compute_uv=False).mean()


def cca(x, y):
    u, v = basis(centred(x)), basis(centred(y))
    return np.linalg.norm(u.T @ v) ** 2 / min(u.shape[1], v.shape[1])


def mean_cca(x, y):
    return np.linalg.svd(basis(centred(x)).T @ basis(centred(y)), compute_uv=False).mean()


def pwcca(x, y):
    x, y = centred(x), centred(y)
    u, v = basis(x), basis(y)
    left, rho, _ = np.linalg.svd(u.T @ v, full_matrices=False)
    weights = np.abs((u @ left).T @ x).sum(axis=1)
    return weights @ rho / weights.sum()


def eigenspace_overlap(x, y):
    u, v = basis(x), basis(y)
    return np.linalg.norm(u.T @ v) ** 2 / max(u.shape[1], v.shape[1])


def gulp(x, y):
    sides = []
    for z in (x, y):
        z = centred(z)
        u, s, _ = np.linalg.svd(z / np.linalg.norm(z), full_matrices=False)
        sides.append((u, s**2 / (s**2 + np.float32(0.01))))
    (u, p), (v, q) = sides
    return p @ p + q @ q - 2 * (p @ np.square(u.T @ v) @ q)


def linear_regression(x, y):
    x, v = centred(x), basis(centred(y))
    return np.linalg.norm(v.T @ x) ** 2 / np.linalg.norm(x) ** 2


def unit_norm(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x)


def procrustes_distance(x, y):
    x, y = unit_norm(centred(x)), unit_norm(centred(y))
    x, y = (x, y) if x.shape[1] >= y.shape[1] else (y, x)
    u, _, v = np.linalg.svd(y.T @ x, full_matrices=False)
    nearest, inside = y @ u, x @ v.T  # what stands outside of the narrower layer's directions counts too
    return np.sqrt(np.linalg.norm(nearest - inside) ** 2 + np.linalg.norm(x - inside @ v) ** 2)


def normalized_bures(x, y):
    x, y = unit_norm(centred(x)), unit_norm(centred(y))
    return np.linalg.svd(x.T @ y, compute_uv=False).sum()


def angular_shape_distance(x, y):
    return np.arccos(min(normalized_bures(x, y), 1))


def aligned_cosine(x, y):
    u, _, v = np.linalg.svd(y.T @ x, full_matrices=False)
    return ((x * (y @ u @ v)).sum(axis=1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)).mean()


def correlations(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = centred(x), centred(y)
    return (x / np.linalg.norm(x, axis=0)).T @ (y / np.linalg.norm(y, axis=0))


def soft_correlation_match(x, y):
    r = correlations(x, y)
    return (r.max(axis=1).mean() + r.max(axis=0).mean()) / 2


def hard_correlation_match(x, y):
    r = correlations(x, y)
    return r[linear_sum_assignment(r, maximize=True)].mean()


def permutation_procrustes(x, y):
    x, y = unit_norm(centred(x)), unit_norm(centred(y))
    gain = x.T @ y
    return np.sqrt(2 - 2 * gain[linear_sum_assignment(gain, maximize=True)].sum())


def magnitude_difference(x, y):
    return abs(np.linalg.norm(x.mean(axis=0)) - np.linalg.norm(y.mean(axis=0)))


def concentricity(x: np.ndarray) -> Any:
    mean = x.mean(axis=0)
    return (unit_rows(x) @ (mean / np.linalg.norm(mean))).mean()


def concentricity_difference(x, y):
    return abs(concentricity(x) - concentricity(y))


def uniformity_difference(x, y):
    a, b = (np.log(np.exp(-2 * np.square(distances(z))).mean()) for z in (x, y))
    return abs(a - b)


def heat(x: np.ndarray, times: np.ndarray) -> np.ndarray:
    near = -distances(x)
    np.fill_diagonal(near, -np.inf)
    graph = np.zeros(near.shape, np.float32)
    np.put_along_axis(graph, np.argpartition(near, -5, axis=1)[:, -5:], 1, axis=1)
    graph = np.maximum(graph, graph.T)
    scale = 1 / np.sqrt(graph.sum(axis=1))
    values = np.linalg.eigvalsh(np.eye(len(x), dtype=np.float32) - graph * scale[:, None] * scale[None, :])
    return np.exp(-times[:, None] * values[None, :]).mean(axis=1)


def imd(x, y):
    times = np.logspace(-1, 1, 256, dtype=np.float32)
    return (np.exp(-2 * (times + 1 / times)) * np.abs(heat(x, times) - heat(y, times))).max()


PLAIN: dict[str, Callable[[Any, Any], Any]] = {
    function.__name__: function
    for function in (
        *(cycle_knn, mutual_knn, lcs_knn, cka, unbiased_cka, cknna, svcca, edit_distance_knn),
        *(knn_jaccard, rank_similarity, joint_rank_jaccard, second_order_cosine, information_imbalance),
        *(distance_correlation, rsa, rsm_norm_difference),
        *(cca, mean_cca, pwcca, eigenspace_overlap, gulp, linear_regression),
        *(procrustes_distance, angular_shape_distance, normalized_bures, aligned_cosine),
        *(soft_correlation_match, hard_correlation_match, permutation_procrustes),
        *(magnitude_difference, concentricity_difference, uniformity_difference, imd),
    )
}
"""The metrics in plain numpy, by name."""
