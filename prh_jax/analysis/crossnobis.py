"""Distances between samples without the bias of noise: products of differences in different repeats."""

from typing import Any

import numpy as np

from ..arrays import NotRealError, real_numbers
from ..runtime.host import quiet_blas
from .repeats import as_repeats


def crossnobis(repeats: Any, *, precision: Any = None) -> np.ndarray:
    """Return the cross-validated squared Mahalanobis distances between samples (crossnobis).

    `D_ij = mean_{r != s} (x_ri - x_rj) P (x_si - x_sj)' / d`, with r and s two different repeats and P the precision of
    the noise. A squared distance of noisy features is too large on average, by the variance of the noise. Noise of
    different repeats is independent, so that D is right on average: it is 0 for two equal samples.

    Parameters
    ----------
    repeats
        Features (repeats, n, d), or a list of arrays (n, d). Row i is the same sample and column j the same feature.
    precision
        Precision (d, d) of the noise between features, symmetric and not negative: see `noise_precision`. If None, the
        identity, which gives cross-validated squared Euclidean distances.

    Returns
    -------
    ndarray
        Distances (n (n - 1) / 2,) in float64, in the order of `scipy.spatial.distance.pdist`, divided by the number of
        features. They may be below 0. `scipy.spatial.distance.squareform` makes the matrix (n, n).

    Raises
    ------
    ValueError
        If there are fewer than 2 repeats or samples, shapes do not match, values are not finite, or the precision is
        not symmetric or has a direction of negative precision.
    TypeError
        If something is not real numbers.

    Notes
    -----
    Equal to `calc_rdm(..., method="crossnobis", cv_descriptor=...)` of rsatoolbox, where each fold is one repeat.

    References
    ----------
    Walther et al. 2016, doi:10.1016/j.neuroimage.2015.12.012; Diedrichsen et al. 2021, arXiv:2007.02789.

    Examples
    --------
    >>> import prh_jax
    >>> prh_jax.crossnobis([[[0.0], [1.0]], [[0.0], [3.0]]])
    array([3.])
    """
    x = as_repeats("crossnobis", repeats)
    count, n, d = x.shape
    if n < 2:
        raise ValueError("crossnobis needs at least 2 samples, got 1.")
    x = x - x.mean(axis=1, keepdims=True)  # distances stay, and nothing cancels
    with quiet_blas():
        y = x if precision is None else x @ _precision(precision, d)
        # all pairs of repeats, less those of a repeat with itself
        products = x.sum(axis=0) @ y.sum(axis=0).T - np.hstack(list(x)) @ np.hstack(list(y)).T
    products /= count * (count - 1) * d
    own, (i, j) = np.diagonal(products), np.triu_indices(n, 1)
    return own[i] + own[j] - products[i, j] - products[j, i]


def noise_precision(residuals: Any, *, shrink: str = "diagonal", dof: int | None = None) -> np.ndarray:
    """Estimate the precision of noise between features from residuals, with shrinkage.

    `P = inverse of S`, with S the covariance of the residuals. Its entries are moved towards a simpler matrix by a
    share that the data give, so that there is an inverse, even with fewer residuals than features.

    Parameters
    ----------
    residuals
        Residuals (m, d) of a model of the time series, or of any other. Or repeats (repeats, n, d): their residuals are
        the deviations from the mean over repeats.
    shrink
        "diagonal" keeps variances and shrinks correlations to 0 (Schafer and Strimmer). "identity" shrinks to a
        multiple of the identity (Ledoit and Wolf).
    dof
        Degrees of freedom. If None, m - 1, or (repeats - 1) n for repeats.

    Returns
    -------
    ndarray
        Precision (d, d) in float64.

    Raises
    ------
    ValueError
        If there are fewer than 3 residuals, shapes do not match, values are not finite, a feature does not vary, or a
        setting is unknown.
    TypeError
        If the residuals are not real numbers.

    Notes
    -----
    Equal to `prec_from_residuals` of rsatoolbox with "shrinkage_diag" and "shrinkage_eye". Without correction of `dof`,
    "identity" is the inverse of scikit-learn's `LedoitWolf`.

    References
    ----------
    Ledoit and Wolf 2004, doi:10.1016/S0047-259X(03)00096-4; Schafer and Strimmer 2005, doi:10.2202/1544-6115.1175.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> residuals = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> prh_jax.noise_precision(residuals, dof=4)
    array([[1., 0.],
           [0., 1.]])
    """
    if shrink not in ("diagonal", "identity"):
        raise ValueError(f"noise_precision shrinks to 'diagonal' or 'identity', got {shrink!r}.")
    x = _numbers("noise_precision", residuals)
    magnitudes = np.abs(x).reshape(-1, x.shape[-1]).max(axis=0, initial=0) if x.ndim > 1 else np.zeros(0)
    freedom = x.shape[0] - 1 if x.ndim == 2 else 0
    if x.ndim == 3:
        x = as_repeats("noise_precision", x)
        freedom = (len(x) - 1) * x.shape[1]
        x = (x - x.mean(axis=0)).reshape(-1, x.shape[2])
    if x.ndim != 2 or len(x) < 3 or x.shape[1] == 0:
        raise ValueError(
            f"noise_precision takes at least 3 residuals (m, d), or repeats (repeats, n, d); got shape {x.shape}."
        )
    if not np.isfinite(x).all():
        raise ValueError("noise_precision needs finite residuals: leave out rows with NaN or infinity.")
    if dof is not None and dof < 1:
        raise ValueError(f"noise_precision needs at least 1 degree of freedom, got {dof}.")
    x = x - x.mean(axis=0)
    # taking off a mean that is rounded leaves a little of a feature that does not vary
    still = int((np.abs(x).max(axis=0) <= 1e-13 * magnitudes).sum())
    if still:
        raise ValueError(
            f"{still} of {x.shape[1]} features do not vary in the residuals, so that their precision is infinite: "
            "leave them out of the residuals and of the repeats."
        )
    unit = np.abs(x).max()  # squares of very small or large numbers would leave the range
    make = _to_diagonal if shrink == "diagonal" else _to_identity
    with quiet_blas():
        covariance = make(x / unit, freedom if dof is None else dof)
        if not _is_positive(covariance, -1e-13):
            raise ValueError(
                f"{len(x)} residuals leave a covariance of {x.shape[1]} features without an inverse: give more, or "
                "leave out features that are combinations of others."
            )
        return np.linalg.inv(covariance) / unit / unit


def _to_diagonal(x: np.ndarray, dof: int) -> np.ndarray:
    m = len(x)
    covariance = x.T @ x / dof
    sd = np.sqrt(np.diagonal(covariance))
    squares = np.square(x / sd)
    means = covariance / sd / sd[:, None] * dof / (m - 1)
    np.fill_diagonal(means, 0)
    apart = np.square(squares.sum(axis=1)).sum() - np.square(squares).sum()  # of two different features
    whole = np.square(means).sum()
    share = m / dof**2 * (apart / (m - 1) - whole) / whole if whole > 0 else 1.0
    shrunk = covariance * (1 - min(max(share, 0.0), 1.0))
    np.fill_diagonal(shrunk, sd**2)
    return shrunk


def _to_identity(x: np.ndarray, dof: int) -> np.ndarray:
    m, d = x.shape
    covariance = x.T @ x / m
    mean, whole = np.trace(covariance) / d, np.square(covariance).sum()
    spread = whole - d * mean**2
    error = min(spread, (np.square(np.square(x).sum(axis=1)).sum() / m - whole) / m)
    share = error / spread if spread > 0 else 1.0
    return (share * mean * np.eye(d) + (1 - share) * covariance) * m / dof


def _precision(given: Any, d: int) -> np.ndarray:
    found = _numbers("crossnobis", given)
    finite = found.shape == (d, d) and np.isfinite(found).all()
    if not (finite and np.allclose(found, found.T, rtol=1e-6, atol=1e-9 * np.abs(found).max())):
        raise ValueError(
            f"The precision of {d} features is a finite and symmetric matrix ({d}, {d}), got shape {found.shape}. "
            "`noise_precision` makes it from residuals."
        )
    if not _is_positive(found, 1e-9):
        raise ValueError("The precision is negative in a direction. `noise_precision` makes one that is positive.")
    return found


def _is_positive(matrix: np.ndarray, slack: float) -> bool:
    """Whether a symmetric matrix has positive eigenvalues, up to a share of the largest entry of its diagonal."""
    allowed = slack * np.abs(np.diagonal(matrix)).max() * np.eye(len(matrix))
    try:
        np.linalg.cholesky((matrix + matrix.T) / 2 + allowed)
    except np.linalg.LinAlgError:
        return False
    return True


def _numbers(who: str, given: Any) -> np.ndarray:
    try:
        return np.asarray(real_numbers(given), np.float64)
    except NotRealError as error:
        raise TypeError(f"{who} takes real numbers, and was given {error}.") from error
