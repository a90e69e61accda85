"""Metrics of neighbour lists, one sample and one list entry at a time."""

from functools import lru_cache

import numpy as np


def unit_rows(x):
    x = np.asarray(x, np.float64)
    norms = np.sqrt((x * x).sum(axis=1, keepdims=True))
    return np.divide(x, norms, out=np.zeros_like(x), where=norms > 0)


def neighbor_lists(x, k, normalize=True, queries=0):
    """For each sample, the k others of largest dot product, largest first, equal ones by index; or for some samples."""
    x = unit_rows(x) if normalize else np.asarray(x, np.float64)
    lists = []
    for i in range(len(x)):
        products = x @ x[i]
        others = [j for j in range(len(x)) if j != i]
        lists.append(sorted(others, key=lambda j: (-products[j], j))[:k])
    asked = sorted(np.random.default_rng(0).permutation(len(x))[:queries]) if queries else range(len(x))
    return [lists[i] for i in asked]


def mutual_knn(x, y, k=10, normalize=True, queries=0):
    a, b = neighbor_lists(x, k, normalize, queries), neighbor_lists(y, k, normalize, queries)
    return float(np.mean([len(set(p) & set(q)) / k for p, q in zip(a, b, strict=True)]))


def cycle_knn(x, y, k=10, normalize=True, swapped=False):
    if swapped:
        x, y = y, x
    a, b = neighbor_lists(x, k, normalize), neighbor_lists(y, k, normalize)
    return float(np.mean([any(i in a[j] for j in b[i]) for i in range(len(a))]))


def longest_common_subsequence(p, q):
    @lru_cache(None)
    def length(i, j):
        if i == len(p) or j == len(q):
            return 0
        if p[i] == q[j]:
            return 1 + length(i + 1, j + 1)
        return max(length(i + 1, j), length(i, j + 1))

    return length(0, 0)


def levenshtein(p, q):
    @lru_cache(None)
    def distance(i, j):
        if i == len(p) or j == len(q):
            return len(p) - i + len(q) - j
        if p[i] == q[j]:
            return distance(i + 1, j + 1)
        return 1 + min(distance(i + 1, j), distance(i, j + 1), distance(i + 1, j + 1))

    return distance(0, 0)


def lcs_knn(x, y, k=10, normalize=True, per_k=True, queries=0):
    a, b = neighbor_lists(x, k, normalize, queries), neighbor_lists(y, k, normalize, queries)
    mean = np.mean([longest_common_subsequence(tuple(p), tuple(q)) for p, q in zip(a, b, strict=True)])
    return float(mean / k if per_k else mean)


def edit_distance_knn(x, y, k=10, normalize=True, queries=0):
    a, b = neighbor_lists(x, k, normalize, queries), neighbor_lists(y, k, normalize, queries)
    return float(1 - np.mean([levenshtein(tuple(p), tuple(q)) for p, q in zip(a, b, strict=True)]) / k)


def jaccard(p, q):
    return len(set(p) & set(q)) / len(set(p) | set(q))


def rank_weights(p, q):
    """Wang et al. 2022: weights of shared neighbours over the harmonic number of how many there are."""
    shared = set(p) & set(q)
    if not shared:
        return 0.0
    ranks = [(p.index(j) + 1, q.index(j) + 1) for j in shared]
    weights = sum(2 / ((1 + abs(r - s)) * (r + s)) for r, s in ranks)
    return weights / sum(1 / m for m in range(1, len(shared) + 1))


def knn_jaccard(x, y, k=10, normalize=True, queries=0):
    lists = zip(neighbor_lists(x, k, normalize, queries), neighbor_lists(y, k, normalize, queries), strict=True)
    return float(np.mean([jaccard(p, q) for p, q in lists]))


def rank_similarity(x, y, k=10, normalize=True, queries=0):
    lists = zip(neighbor_lists(x, k, normalize, queries), neighbor_lists(y, k, normalize, queries), strict=True)
    return float(np.mean([rank_weights(p, q) for p, q in lists]))


def joint_rank_jaccard(x, y, k=10, normalize=True, queries=0):
    lists = zip(neighbor_lists(x, k, normalize, queries), neighbor_lists(y, k, normalize, queries), strict=True)
    return float(np.mean([jaccard(p, q) * rank_weights(p, q) for p, q in lists]))


def second_order_cosine(x, y, k=10):
    """Hamilton et al. 2016: similarities of sample i to the neighbours it has in either layer."""
    lists = zip(neighbor_lists(x, k), neighbor_lists(y, k), strict=True)
    x, y = unit_rows(x), unit_rows(y)
    cosines = []
    for i, (p, q) in enumerate(lists):
        either = sorted(set(p) | set(q))
        a, b = x[either] @ x[i], y[either] @ y[i]
        cosines.append(a @ b / np.sqrt((a @ a) * (b @ b)))
    return float(np.mean(cosines))


def by_distance(x):
    """For each sample the others, the nearest by Euclidean distance first, equally near ones by index."""
    x = np.asarray(x, np.float64)
    n = len(x)
    return [sorted((j for j in range(n) if j != i), key=lambda j: (np.sum((x[j] - x[i]) ** 2), j)) for i in range(n)]


def information_imbalance(x, y, k=1, swapped=False):
    """The mean rank in y of each sample's k nearest in x, over half the number of samples."""
    near, theirs = (by_distance(z) for z in ((y, x) if swapped else (x, y)))
    ranks = [order.index(j) + 1 for some, order in zip(near, theirs, strict=True) for j in some[:k]]
    return float(np.mean(ranks) / (len(x) / 2))
