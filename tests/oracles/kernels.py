"""HSIC and what is made of it, with the n x n matrices of the definitions written out."""

import numpy as np


def kernel_matrix(x, kernel="linear", sigma=1.0, median=False):
    x = np.asarray(x, np.float64)
    if kernel == "linear":
        return x @ x.T
    if median:
        sigma = sigma * np.median([np.linalg.norm(x[i] - x[j]) for i in range(len(x)) for j in range(i)])
    return np.array([[np.exp(-((p - q) ** 2).sum() / (2 * sigma**2)) for q in x] for p in x])


def hsic_biased(a, b):
    """tr(A H B H): Gretton et al. 2005, without the factor 1 / (n - 1)^2."""
    n = len(a)
    h = np.eye(n) - np.ones((n, n)) / n
    return np.trace(a @ h @ b @ h)


def hsic_unbiased(a, b):
    """Song et al. 2012, equation 5."""
    n = len(a)
    a, b = a - np.diag(np.diag(a)), b - np.diag(np.diag(b))
    one = np.ones(n)
    trace = np.trace(a @ b)
    totals = (one @ a @ one) * (one @ b @ one) / ((n - 1) * (n - 2))
    return (trace + totals - 2 / (n - 2) * (one @ a @ b @ one)) / (n * (n - 3))


def normalized(hsic, a, b, eps):
    return float(hsic(a, b) / (np.sqrt(hsic(a, a) * hsic(b, b)) + eps))


def cka(x, y, kernel="linear", sigma=1.0, eps=0.0, median=False):
    return normalized(hsic_biased, *(kernel_matrix(z, kernel, sigma, median) for z in (x, y)), eps)


def unbiased_cka(x, y, kernel="linear", sigma=1.0, eps=0.0, median=False):
    return normalized(hsic_unbiased, *(kernel_matrix(z, kernel, sigma, median) for z in (x, y)), eps)


def neighbor_mask(gram, k, with_self):
    """Row i: 1 at the k largest entries, equal ones by index; the diagonal competes only if `with_self`."""
    n = len(gram)
    mask = np.zeros((n, n))
    for i in range(n):
        candidates = [j for j in range(n) if with_self or j != i]
        for j in sorted(candidates, key=lambda j: (-gram[i, j], j))[:k]:
            mask[i, j] = 1
    return mask


def cknna(x, y, k=10, unbiased=True, formula="code", eps=0.0):
    a, b = kernel_matrix(x), kernel_matrix(y)
    mask_a, mask_b = neighbor_mask(a, k, not unbiased), neighbor_mask(b, k, not unbiased)
    if formula == "paper":
        a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)

        def align(p, q, mask):
            return (mask * p * q).sum()

    else:
        hsic = hsic_unbiased if unbiased else hsic_biased

        def align(p, q, mask):
            return hsic(mask * p, mask * q)

    own = np.sqrt(align(a, a, mask_a) * align(b, b, mask_b))
    return float(align(a, b, mask_a * mask_b) / (own + eps))
