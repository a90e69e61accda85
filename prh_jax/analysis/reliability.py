"""How well the repeats of a representation agree, and scores corrected for it."""

from collections.abc import Iterator
from itertools import combinations
from math import comb
from typing import Any, NamedTuple

import numpy as np

from ..arrays import real_numbers
from ..metrics.base import Metric, sign_of
from ..numerics.whole import check_whole
from .repeats import as_repeats
from .subsets import as_metric


class Reliability(NamedTuple):
    """Agreement of the means of two halves of the repeats.

    Parameters
    ----------
    reliability
        Reliability of the mean of all repeats, by the Spearman-Brown formula. Without it, the same as `mean`.
    mean, sd
        Mean and standard deviation over splits of the score of two halves. `sd` is NaN if there is one split.
    scores
        Score of each split.
    """

    reliability: float
    mean: float
    sd: float
    scores: np.ndarray


def split_half_reliability(
    repeats: Any,
    metric: str | Metric,
    *,
    splits: int = 100,
    spearman_brown: bool | None = None,
    seed: int = 0,
) -> Reliability:
    """Estimate how well a metric reproduces between two halves of the repeats.

    The repeats are split into halves, and the metric compares the means of both halves. With R repeats in all, h in a
    half and m = R / h, the Spearman-Brown formula `m r / (1 + (m - 1) r)` gives the reliability of the mean of all
    repeats from the mean r over splits.

    Parameters
    ----------
    repeats
        Features (repeats, n, d), or a list of arrays (n, d), as in `noise_ceiling`. Of an odd number of repeats, each
        split leaves out one.
    metric
        A metric, or the name of one. If it is not symmetric, a split has the mean of both directions.
    splits
        Number of random splits. If there are not more different splits, all of them are made, once each.
    spearman_brown
        True applies the formula. None applies it to metrics with the range from -1 to 1, as correlations have. It is
        exact for a correlation of features with independent noise of one variance, and approximate for others. If r is
        not above 0, `reliability` is r.
    seed
        Seed of the splits.

    Returns
    -------
    Reliability
        Reliability of the mean of all repeats, at most 1, and mean and spread of the scores of halves.

    Raises
    ------
    ValueError
        If there are fewer than 2 repeats, shapes differ, values are not finite, a setting is out of range, or the
        formula is asked for with a distance.

    References
    ----------
    Spearman 1910, doi:10.1111/j.2044-8295.1910.tb00206.x.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> repeats = rng.normal(size=(50, 10)) + rng.normal(size=(4, 50, 10))
    >>> found = prh_jax.split_half_reliability(repeats, "unbiased_cka")
    >>> len(found.scores), bool(found.mean < found.reliability < 1)
    (3, True)
    """
    metric, x = as_metric(metric), as_repeats("split_half_reliability", repeats)
    check_whole(1, splits=splits)
    check_whole(seed=seed)
    if spearman_brown and sign_of(metric) < 0:
        raise ValueError(
            f"The Spearman-Brown formula is for similarities, and {metric.name} is a distance: leave out "
            "spearman_brown, and read the mean."
        )
    scores = []
    for first, second in _halves(len(x), splits, seed):
        a, b = x[list(first)].mean(axis=0), x[list(second)].mean(axis=0)
        both = [metric(a, b)] if metric.symmetric else [metric(a, b), metric(b, a)]
        scores.append(np.mean([float(score) for score in both]))
    mean = float(np.mean(scores))
    corrected = metric.bounds == (-1.0, 1.0) if spearman_brown is None else spearman_brown
    longer = len(x) / (len(x) // 2)
    whole = longer * mean / (1 + (longer - 1) * mean) if corrected and mean > 0 else mean
    sd = float(np.std(scores, ddof=1)) if len(scores) > 1 else float("nan")
    return Reliability(whole, mean, sd, np.array(scores))


def disattenuate(score: Any, reliability_x: Any, reliability_y: Any = 1.0) -> Any:
    """Return a score corrected for the noise of both sides, `score / sqrt(reliability_x reliability_y)`.

    It estimates the score without noise. The correction is exact for a correlation of features with independent noise,
    and approximate for other metrics. In simulations of `unbiased_cka` and `rsa`, it was too high by up to 0.02 with
    reliabilities of 0.9, and by 0.06 to 0.09 with 0.6. Do not use it with distances.

    Parameters
    ----------
    score
        Score of x and y, or an array of scores.
    reliability_x, reliability_y
        Reliabilities in (0, 1], numbers or arrays that broadcast with the scores, or what `split_half_reliability`
        returns. A model without noise has 1.

    Returns
    -------
    float or array
        The corrected score. It may be above 1, since all three numbers are estimates; it is not cut.

    Raises
    ------
    ValueError
        If a reliability is not in (0, 1]. Noise then hides the representation, and there is nothing to correct.

    References
    ----------
    Spearman 1904, doi:10.2307/1412159.

    Examples
    --------
    >>> import prh_jax
    >>> print(prh_jax.disattenuate(0.3, 0.5, 0.72))
    0.5
    """
    sides = []
    for name, side in (("reliability_x", reliability_x), ("reliability_y", reliability_y)):
        values = np.asarray(side.reliability if isinstance(side, Reliability) else real_numbers(side), np.float64)
        if not ((values > 0) & (values <= 1 + 1e-6)).all():  # scores are in float32
            raise ValueError(
                f"{name} must be above 0 and at most 1, got {values.tolist()!r}. A score with a side of no reliability "
                "cannot be corrected: take more repeats, or leave that side out."
            )
        sides.append(values)
    found = np.asarray(real_numbers(score), np.float64) / np.sqrt(sides[0] * sides[1])
    return found if found.ndim else float(found)


def _halves(count: int, splits: int, seed: int) -> Iterator[tuple[Any, Any]]:
    """Pairs of disjoint halves of the repeats: all of them if there are at most `splits`, else random ones."""
    half = count // 2
    if comb(count, 2 * half) * comb(2 * half, half) // 2 <= splits:
        for used in combinations(range(count), 2 * half):
            for rest in combinations(used[1:], half - 1):
                first = (used[0], *rest)
                yield first, tuple(r for r in used if r not in first)
        return
    rng = np.random.default_rng(seed)
    for _ in range(splits):
        order = rng.permutation(count)
        yield order[:half], order[half : 2 * half]
