"""One score for two networks by matching their layers: one to one, in order, or by shares."""

import importlib.util
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np


def assignment(scores: np.ndarray) -> Any:
    """The mean score of layers matched one to one, such that it is largest.

    All layers of the network with fewer layers have a partner: `max_p sum_i S[i, p(i)] / min(Lx, Ly)`.

    Parameters
    ----------
    scores
        Scores (..., layers of x, layers of y), larger is closer. NaN cells are avoided, and left out of the mean.

    Returns
    -------
    Array
        Scores (...).
    """
    return _matched_mean(scores, "assignment")


def dtw(scores: np.ndarray) -> Any:
    """The mean score along the best order-preserving alignment of two networks' layers (dynamic time warping).

    The alignment goes from the pair of first layers to that of last layers. A step to the next layer of one network has
    weight 1, a step in both weight 2, and the first pair weight 2: the symmetric form P = 0 of Sakoe and Chiba (1978).
    All alignments have the total weight Lx + Ly, and the score is `max_path sum w S / (Lx + Ly)`.

    Parameters
    ----------
    scores
        As in `assignment`.

    Returns
    -------
    Array
        Scores (...).
    """
    return _matched_mean(scores, "dtw")


def transport(scores: np.ndarray) -> Any:
    """The mean score under the best coupling of layers, in which all layers of a network have the same share.

    `max_P <P, S>` over nonnegative P (Lx, Ly) with row sums 1 / Lx and column sums 1 / Ly: exact optimal transport. It
    is the assignment for networks of equally many layers.

    Parameters
    ----------
    scores
        As in `assignment`.

    Returns
    -------
    Array
        Scores (...).
    """
    return _matched_mean(scores, "transport")


def assignment_weights(scores: np.ndarray) -> np.ndarray:
    """Weights (..., Lx, Ly) of the best one-to-one match: 1 / min(Lx, Ly) for a matched pair."""
    from scipy.optimize import linear_sum_assignment  # slow to import, and needed here alone

    weights = np.zeros(scores.shape)
    for one, chosen in zip(_flat(scores), _flat(weights), strict=True):
        chosen[linear_sum_assignment(one, maximize=True)] = 1 / min(one.shape)
    return weights


def dtw_weights(scores: np.ndarray) -> np.ndarray:
    """Weights (..., Lx, Ly) of the best order-preserving alignment, of sum 1; a step in both networks wins a tie."""
    flat = _flat(scores).astype(np.float64, copy=False)
    count, nx, ny = flat.shape
    total = np.full((count, nx + 1, ny + 1), -np.inf)
    # as if the first pair were reached by a step in both networks
    total[:, 0, 0] = 0
    step = np.zeros((count, nx + 1, ny + 1), np.int8)
    for diagonal in range(nx + ny - 1):
        i = np.arange(max(0, diagonal - ny + 1), min(nx - 1, diagonal) + 1)
        j = diagonal - i
        s = flat[:, i, j]
        ways = np.stack([total[:, i, j] + 2 * s, total[:, i, j + 1] + s, total[:, i + 1, j] + s])
        step[:, i + 1, j + 1] = ways.argmax(axis=0)
        total[:, i + 1, j + 1] = ways.max(axis=0)
    weights = np.zeros((count, nx, ny))
    i, j = np.full(count, nx), np.full(count, ny)
    everyone = np.arange(count)
    for _ in range(nx + ny - 1):
        going = everyone[(i > 0) & (j > 0)]
        way = step[going, i[going], j[going]]
        weights[going, i[going] - 1, j[going] - 1] = np.where(way == 0, 2, 1) / (nx + ny)
        i[going] -= way != 2
        j[going] -= way != 1
    return weights.reshape(scores.shape)


def transport_weights(scores: np.ndarray) -> np.ndarray:
    """The best coupling (..., Lx, Ly); by the package POT if it is installed, else by scipy, 50 times as slow."""
    nx, ny = scores.shape[-2:]
    scores = scores.astype(np.float64)
    low, high = (reach(scores, axis=(-2, -1), keepdims=True) for reach in (np.min, np.max))
    scores = (scores - low) / np.where(high > low, high - low, 1)  # solvers have absolute tolerances
    if nx == ny:
        return assignment_weights(scores)
    if 1 in (nx, ny):  # all couplings are one; POT 0.9 finds none
        return np.full(scores.shape, 1 / (nx * ny))
    solve = _with_pot if importlib.util.find_spec("ot") else _with_scipy
    return np.array([solve(one) for one in _flat(scores)]).reshape(scores.shape)


def _with_pot(scores: np.ndarray) -> np.ndarray:
    import ot

    nx, ny = scores.shape
    plan = ot.emd(np.full(nx, 1 / nx), np.full(ny, 1 / ny), -scores, numItermax=10**7)
    sound = np.allclose(plan.sum(axis=0), 1 / ny, atol=1e-9) and np.allclose(plan.sum(axis=1), 1 / nx, atol=1e-9)
    return plan if sound else _with_scipy(scores)


def _with_scipy(scores: np.ndarray) -> np.ndarray:
    from scipy.optimize import linprog

    nx, ny = scores.shape
    shares = np.repeat([1 / nx, 1 / ny], [nx, ny])
    found = linprog(-scores.ravel(), A_eq=_sums(nx, ny), b_eq=shares, method="highs")
    return found.x.reshape(nx, ny)


@lru_cache(maxsize=64)
def _sums(nx: int, ny: int) -> Any:
    """The matrix that takes a flat (nx, ny) coupling to its row and column sums."""
    from scipy.sparse import eye_array, kron, vstack

    return vstack([kron(eye_array(nx), np.ones((1, ny))), kron(np.ones((1, nx)), eye_array(ny))]).tocsr()


WEIGHTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "assignment": assignment_weights,
    "dtw": dtw_weights,
    "transport": transport_weights,
}
"""Ways to match layers, by name: from scores (..., Lx, Ly), larger is closer, to weights of sum 1."""


def layer_weights(scores: np.ndarray, how: str) -> np.ndarray:
    """Weights (..., Lx, Ly) of the layer pairs that a way of WEIGHTS matches; NaN cells have none."""
    unknown = np.isnan(scores)
    if unknown.any():
        # low enough that one NaN more is worse than any gain on the other layers
        low, high = np.nanmin(scores), np.nanmax(scores)
        scores = np.where(unknown, low - (high - low + 1) * sum(scores.shape[-2:]), scores)
    weights = np.where(unknown, 0, WEIGHTS[how](scores))
    return weights / weights.sum(axis=(-2, -1), keepdims=True)


def _matched_mean(scores: np.ndarray, how: str) -> Any:
    weights = layer_weights(scores, how)
    return np.sum(weights * np.where(np.isnan(scores), 0, scores), axis=(-2, -1))


def _flat(scores: np.ndarray) -> np.ndarray:
    return scores.reshape(-1, *scores.shape[-2:])
