"""What single layers tell, sample by sample."""

import numpy as np
from scipy.spatial.distance import cdist


def magnitude_difference(x, y):
    x, y = (np.mean(z, axis=0, dtype=np.float64) for z in (x, y))
    return float(abs(np.linalg.norm(x) - np.linalg.norm(y)))


def concentricity(x):
    x = np.asarray(x, np.float64)
    mean = x.mean(axis=0)
    lengths = [np.linalg.norm(row) or 1 for row in x]  # a row of zeros counts as 0
    return np.mean([row @ mean / length / np.linalg.norm(mean) for row, length in zip(x, lengths, strict=True)])


def concentricity_difference(x, y):
    return float(abs(concentricity(x) - concentricity(y)))


def uniformity_difference(x, y, t=2.0):
    """Klabunde et al. 2025, of all n^2 pairs."""
    u, v = (np.log(np.mean(np.exp(-t * cdist(z, z, "sqeuclidean")))) for z in (x, y))
    return float(abs(u - v))


def heat(x, k, times):
    """Tsitsulin et al. 2020: eigenvalues of `I - D^(-1/2) A D^(-1/2)`, A the graph of nearest neighbours."""
    n = len(x)
    distances = cdist(x, x)
    graph = np.zeros((n, n))
    for i in range(n):
        others = sorted((j for j in range(n) if j != i), key=lambda j: (distances[i, j], j))
        for j in others[:k]:
            graph[i, j] = graph[j, i] = 1
    scale = np.diag(graph.sum(axis=0) ** -0.5)
    values = np.linalg.eigvals(np.eye(n) - scale @ graph @ scale).real
    return np.array([np.exp(-t * values).sum() for t in times])


def imd(x, y, k=5):
    times = 10 ** np.linspace(-1, 1, 256)
    difference = np.abs(heat(x, k, times) - heat(y, k, times)) / len(x)
    return float(np.max(np.exp(-2 * (times + 1 / times)) * difference))
