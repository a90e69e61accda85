"""Ridge regression on the samples' side: one decomposition serves all penalties and targets."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class RidgeFit(NamedTuple):
    """A layer's part in ridge regressions of all penalties: an intercept that is not penalised, any targets.

    Attributes
    ----------
    train
        Samples that the regressions are fitted on.
    vectors, values
        Eigenvectors and eigenvalues of the inner products of the centred samples.
    project
        Inner products of other samples with the eigenvectors, so that `project @ (vectors' y / (values + penalty))`
        is the prediction, less the mean of y.
    scale
        The mean eigenvalue: what penalties are units of.
    """

    train: Int[np.ndarray, " m"]
    vectors: Float[np.ndarray, "m r"]
    values: Float[np.ndarray, " r"]
    project: Float[np.ndarray, "p r"]
    scale: float


def ridge_fit(
    products: Float[np.ndarray, "n n"], train: Int[np.ndarray, " m"], others: Int[np.ndarray, " p"]
) -> RidgeFit:
    """Decompose the inner products (n, n) of centred features for the samples that are fitted on."""
    from scipy.linalg import eigh  # slow to import, and needed here alone

    own = products[np.ix_(train, train)]
    means = own.mean(axis=0)
    centred = own - means[None, :] - means[:, None] + means.mean()
    cross = products[np.ix_(others, train)]
    cross = cross - cross.mean(axis=1, keepdims=True) - means[None, :] + means.mean()
    values, vectors = eigh(centred, driver="evd")
    kept = values > values[-1] * len(train) * np.finfo(np.float64).eps
    values, vectors = values[kept], vectors[:, kept]
    return RidgeFit(train, vectors, values, cross @ vectors, float(np.trace(centred)) / len(train))


def narrow_ridge_fit(
    x: Float[np.ndarray, "n d"], train: Int[np.ndarray, " m"], others: Int[np.ndarray, " p"]
) -> RidgeFit:
    """The same as `ridge_fit` from features with fewer columns than samples: a smaller matrix is decomposed.

    Directions whose eigenvalue is near the rounding of the largest are less exact. A penalty leaves nothing of them.
    """
    from scipy.linalg import eigh

    mean = x[train].mean(axis=0)
    own, other = x[train] - mean, x[others] - mean
    values, directions = eigh(own.T @ own, driver="evd")
    kept = values > values[-1] * len(train) * np.finfo(np.float64).eps
    values, directions = values[kept], directions[:, kept]
    roots = np.sqrt(values)
    scale = float(np.vdot(own, own)) / len(train)
    return RidgeFit(train, own @ (directions / roots), values, other @ (directions * roots), scale)


def left_out_errors(
    fit: RidgeFit, y: Float[np.ndarray, "m t"], ridges: Float[np.ndarray, " r"]
) -> Float[np.ndarray, "r t"]:
    """The sum of squared errors of predicting each fitted sample by a regression on all others, for each target."""
    centred = y - y.mean(axis=0)
    inside = fit.vectors.T @ centred
    errors = np.empty((len(ridges), y.shape[1]))
    for row, ridge in enumerate(ridges):
        shrunk = fit.values / (fit.values + ridge * fit.scale)
        leverage = 1 / len(y) + np.square(fit.vectors) @ shrunk
        weights = 1 / np.maximum(1 - leverage, np.finfo(np.float64).eps)
        rest = centred - (fit.vectors * shrunk) @ inside
        rest *= weights[:, None]
        errors[row] = np.einsum("mt,mt->t", rest, rest)
    return errors


def predict(fit: RidgeFit, y: Float[np.ndarray, "m t"], ridges: Float[np.ndarray, " t"]) -> Float[np.ndarray, "p t"]:
    """Predictions of the other samples, with a penalty for each target."""
    mean = y.mean(axis=0)
    weights = fit.vectors.T @ (y - mean) / (fit.values[:, None] + ridges[None, :] * fit.scale)
    return fit.project @ weights + mean


def left_out_totals(
    fit: RidgeFit, targets: Sequence[Float[np.ndarray, "m _"]], ridges: Float[np.ndarray, " r"]
) -> Float[np.ndarray, "r t"]:
    """The sum of `left_out_errors` over the columns of each of several centred targets, for each penalty.

    With u the eigenvectors, s what a penalty leaves of them, and d the weights of the samples, the sum for y is
    `sum d |y|^2 - 2 sum d (u * y y' u) s + sum (s u' d u s) * (u' y y' u)`: few products are made for each penalty,
    and none of them takes y.
    """
    u, m = fit.vectors, len(fit.train)
    parts = []
    for y in targets:
        inside = u.T @ y
        parts.append((np.square(y).sum(axis=1), u * (y @ inside.T), inside @ inside.T))
    totals = np.empty((len(ridges), len(targets)))
    for row, ridge in enumerate(ridges):
        shrunk = fit.values / (fit.values + ridge * fit.scale)
        leverage = 1 / m + np.square(u) @ shrunk
        rest = np.maximum(1 - leverage, np.finfo(np.float64).eps)
        weights = 1 / np.square(rest)
        scaled = u * shrunk / rest[:, None]
        within = scaled.T @ scaled
        for column, (squares, mixed, products) in enumerate(parts):
            totals[row, column] = weights @ squares - 2 * weights @ (mixed @ shrunk) + np.vdot(within, products)
    return totals
