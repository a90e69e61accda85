"""How high a score can be with this much noise: ceilings from repeated measurements."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..arrays import NotRealError, real_numbers
from ..metrics.base import Metric
from ..stores.reader import FeatureStore, open_store
from ..stores.repeats import read_repeats
from .subsets import as_metric


class NoiseCeiling(NamedTuple):
    """Bounds on the score that the true representation would have with noisy repeats.

    Parameters
    ----------
    lower
        Mean of `lower_each`.
    upper
        Mean of `upper_each`.
    lower_each
        Score of each repeat with the mean of the others.
    upper_each
        Score of each repeat with the mean of all, itself included.
    """

    lower: float
    upper: float
    lower_each: np.ndarray
    upper_each: np.ndarray


def noise_ceiling(repeats: Any, metric: str | Metric) -> NoiseCeiling:
    """Estimate the lower and upper noise ceiling of a metric from repeated measurements of the same samples.

    `lower = mean_r metric(mean of the others, repeat r)` and `upper = mean_r metric(mean of all, repeat r)`. The mean
    of the others has not seen the repeat and is noisy itself: the true representation scores higher. The mean of all
    has seen the repeat: the true representation scores lower. A model between the bounds agrees with a repeat as
    well as the other repeats do.

    Parameters
    ----------
    repeats
        Features (repeats, n, d), or a list of arrays (n, d), one for each repeat, session or subject. Row i is the same
        sample and column j the same feature. `rdm_noise_ceiling` takes subjects with different features. A store of
        `write_repeats` with one layer, or its path.
    metric
        A metric, or the name of one. If it is not symmetric, the mean is its x and the repeat its y. Of a distance,
        the upper ceiling is the smaller number.

    Returns
    -------
    NoiseCeiling
        Bounds in the range of the metric, and the scores of single repeats.

    Raises
    ------
    ValueError
        If there are fewer than 2 repeats, shapes differ, values are not finite, or the metric is unknown.

    Notes
    -----
    The ceilings are those of one repeat. If you score the mean of all repeats, use `split_half_reliability` and
    `disattenuate`. In simulations the mean score of the true features was between the bounds for `cka`,
    `unbiased_cka`, `rsa` and `mutual_knn`. It was not always so for `procrustes_distance`, `aligned_cosine` and
    `linear_regression`, which fit to noise.

    References
    ----------
    Nili et al. 2014, doi:10.1371/journal.pcbi.1003553.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> repeats = rng.normal(size=(50, 10)) + rng.normal(size=(5, 50, 10))
    >>> found = prh_jax.noise_ceiling(repeats, "unbiased_cka")
    >>> bool(found.lower < found.upper)
    True
    """
    metric, x = as_metric(metric), as_repeats("noise_ceiling", repeats)
    whole = x.mean(axis=0)
    others = (np.delete(x, r, axis=0).mean(axis=0) for r in range(len(x)))
    lower = np.array([float(metric(mean, one)) for mean, one in zip(others, x, strict=True)])
    upper = np.array([float(metric(whole, one)) for one in x])
    return NoiseCeiling(float(lower.mean()), float(upper.mean()), lower, upper)


def as_repeats(who: str, repeats: Any) -> np.ndarray:
    """Repeats (repeats, n, d) in float64; ValueError unless there are 2 or more, finite and of one shape.

    A store, or its path, is taken if it has one layer.
    """
    if isinstance(repeats, str | Path | FeatureStore):
        store = repeats if isinstance(repeats, FeatureStore) else open_store(repeats)
        if len(store.layers) > 1:
            raise ValueError(
                f"{store.path} has {len(store.layers)} layers, and {who} takes one: give "
                f'prh_jax.read_repeats(store, "{store.layers[-1].name}").'
            )
        repeats = read_repeats(store)
    try:
        given = repeats if isinstance(repeats, list | tuple) else np.atleast_1d(np.asarray(real_numbers(repeats)))
        items = [np.asarray(real_numbers(item)) for item in given]
    except NotRealError as error:
        raise TypeError(f"{who} takes real numbers, and was given {error}.") from error
    shapes = sorted({item.shape for item in items})
    if len(shapes) != 1 or len(shapes[0]) != 2 or 0 in shapes[0]:
        raise ValueError(
            f"{who} takes repeats of one shape (n, d), with the same samples and the same features; got shapes "
            f"{', '.join(map(str, shapes)) or 'of no repeat'}. Give an array (repeats, n, d), or a list "
            "of arrays (n, d)."
        )
    if len(items) < 2:
        raise ValueError(f"{who} needs at least 2 repeats, got {len(items)}.")
    x = np.stack(items).astype(np.float64)
    if not np.isfinite(x).all():
        raise ValueError(f"{who} needs finite features: leave out samples and features with NaN or infinity.")
    return x
