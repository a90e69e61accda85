"""Ridge regression on folds of the samples: each fold is predicted by a regression on the others."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...numerics.ridge import RidgeFit, left_out_errors, narrow_ridge_fit, predict, ridge_fit
from ...numerics.whole import is_whole

RIDGES = tuple(10.0**power for power in range(-4, 6))
"""Penalties that are tried."""


def check_folds(n: int, folds: Any) -> None:
    """ValueError if n samples cannot be split into this number of folds."""
    if not is_whole(folds) or not 2 <= folds <= n // 4:
        raise ValueError(
            f"A split of {n} samples has from 2 to {n // 4} folds, a whole number, of at least 4 samples each, got "
            f"{folds!r}."
        )


def split(n: int, folds: int, seed: int, groups: Sequence[int] | None = None) -> list[np.ndarray]:
    """The samples of each fold, drawn by a seed; of groups, the largest first, each in the fold that has the least."""
    rng = np.random.default_rng([seed, 1])
    if groups is None:
        return [np.sort(part) for part in np.array_split(rng.permutation(n), folds)]
    codes = np.asarray(groups)
    sizes = np.bincount(codes)
    if len(sizes) < folds:
        raise ValueError(f"There are {len(sizes)} groups, fewer than {folds} folds. Ask for fewer folds.")
    members: list[list[int]] = [[] for _ in range(folds)]
    for group in sorted(rng.permutation(len(sizes)), key=lambda g: -sizes[g]):
        min(members, key=len).extend(np.flatnonzero(codes == group))
    least = len(min(members, key=len))
    if least < 4:
        raise ValueError(
            f"The groups are too unequal for {folds} folds: one fold has {least} samples, and needs 4. Ask for fewer "
            "folds, or give finer groups."
        )
    return [np.sort(part) for part in members]


def fold_fits(layer: np.ndarray, parts: Sequence[np.ndarray]) -> list[RidgeFit]:
    """The decomposition of a layer for each fold."""
    centred = layer / (np.abs(layer).max() or 1)
    centred = centred - centred.mean(axis=0)
    fitted = [np.setdiff1d(np.arange(len(layer)), part) for part in parts]
    if 2 * layer.shape[1] <= min(map(len, fitted)):
        return [narrow_ridge_fit(centred, train, part) for train, part in zip(fitted, parts, strict=True)]
    products = centred @ centred.T
    return [ridge_fit(products, train, part) for train, part in zip(fitted, parts, strict=True)]


def cross_validated(
    fits: Sequence[RidgeFit], parts: Sequence[np.ndarray], y: np.ndarray, ridges: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each target the mean correlation, the share of variance that is predicted, and the mean penalty."""
    correlations, chosen = np.zeros((2, y.shape[1]))
    squares = np.zeros((2, y.shape[1]))
    for fit, part in zip(fits, parts, strict=True):
        known, held = y[fit.train], y[part]
        best = ridges[left_out_errors(fit, known, ridges).argmin(axis=0)]
        guess = predict(fit, known, best)
        correlations += _pearson(guess, held) / len(parts)
        chosen += np.log(best) / len(parts)
        squares += [np.square(held - guess).sum(axis=0), np.square(held - known.mean(axis=0)).sum(axis=0)]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(squares[1] > 0, 1 - squares[0] / squares[1], np.nan)
    return np.where(squares[1] > 0, correlations, np.nan), share, np.exp(chosen)


def _pearson(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Correlations of the columns of two arrays; 0 where one does not vary, up to rounding."""
    apart = [z - z.mean(axis=0) for z in (one, other)]
    norms = [np.linalg.norm(z, axis=0) for z in apart]
    whole = [np.linalg.norm(z, axis=0) for z in (one, other)]
    varies = (norms[0] > 1e-12 * whole[0]) & (norms[1] > 1e-12 * whole[1])
    return np.where(varies, np.sum(apart[0] * apart[1], axis=0) / np.where(varies, norms[0] * norms[1], 1), 0)
