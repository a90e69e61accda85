"""Layers on which float32 arithmetic loses digits, and plain float64 values of every metric on them."""

import dataclasses
import re
import warnings
from functools import partial

import numpy as np

from prh_jax.metrics.registry import METRICS, parse_metric

from .exact import exact_value, scale_of

N, WIDE, NARROW = 40, 14, 11


def latent(n=N, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 5))


def ordinary(n=N, d=WIDE, seed=0):
    """Features of a latent that all layers of `n` samples share."""
    rng = np.random.default_rng([seed, d])
    return latent(n) @ rng.normal(size=(5, d)) + rng.normal(size=(n, d))


def one_large(scale, signed):
    x, rng = ordinary(), np.random.default_rng(1)
    x[:, 3] = scale * (rng.normal(size=N) if signed else 1 + 0.01 * rng.normal(size=N))
    return x


def two_large():
    x = one_large(1e5, True)
    x[:, 9] = 1e3 * (1 + 0.01 * np.random.default_rng(2).normal(size=N))
    return x


def codes(values):
    return values[np.random.default_rng(3).integers(0, len(values), size=(N, WIDE))]


def duplicated():
    return ordinary()[np.arange(N) % (N // 2)]


def with_zero_rows():
    x = ordinary()
    x[[4, 17, 30]] = 0
    return x


def rank_one():
    rng = np.random.default_rng(4)
    return np.outer(rng.integers(-9, 9, N) + 0.5, rng.integers(-9, 9, WIDE))


def one_huge(scale, x):
    """One sample far from all others."""
    x = x.copy()
    x[7] *= scale
    return x


LAYERS = {
    "ordinary": ordinary,
    "rank one": rank_one,
    "wider than samples": lambda: ordinary(N, 60),
    "offset 1e3": lambda: ordinary() + 1e3 * ordinary().std(),
    "constant dimension 1e4": lambda: one_large(1e4, False),
    "constant dimension 1e5": lambda: one_large(1e5, False),
    "signed dimension 1e4": lambda: one_large(1e4, True),
    "signed dimension 1e5": lambda: one_large(1e5, True),
    "signed dimension 1e6": lambda: one_large(1e6, True),
    "two large dimensions": two_large,
    "codes -1 and 1": lambda: codes(np.array([-1.0, 1.0])),
    "small integers": lambda: codes(np.array([0.0, 1.0, 2.0])),
    "duplicated rows": duplicated,
    "rows of zeros": with_zero_rows,
    "scale 1e-30": lambda: 1e-30 * ordinary(),
    "scale 1e30": lambda: 1e30 * ordinary(),
    "scale 1e-40": lambda: 1e-40 * ordinary(),
    **{f"row {scale} times": partial(one_huge, float(scale), ordinary()) for scale in ("1e2", "3e4", "1e6")},
    **{f"rows {scale} times in both": partial(one_huge, float(scale), ordinary()) for scale in ("1e2", "3e4", "1e6")},
}
"""Layers by what is hard about them, of float32 numbers."""


def layer(name):
    return LAYERS[name]().astype(np.float32)


def partner(name):
    """The other layer: ordinary features, but where both have a huge row."""
    x = ordinary(d=NARROW, seed=1)
    found = re.fullmatch(r"rows (.*) times in both", name)
    return (one_huge(float(found[1]), x) if found else x).astype(np.float32)


METRIC_TEXTS = (
    *METRICS,
    "mutual_knn:normalize=false",
    "cknna:unbiased=false",
    "rsa:rdm=cosine",
    "rsa:rdm=euclidean",
    "rsa:compare_by=pearson",
    "gulp:ridge=0",
    "mean_cca:variance=0.9",
    "procrustes_distance:unit_norm=false",
)
"""Every metric, and settings that make another sketch; without those that take long."""

SLOW_TEXTS = (
    "rsa:compare_by=kendall",
    "rsa:rdm=euclidean,compare_by=kendall",
    "rsa:rdm=cosine,compare_by=cosine",
    "cka:kernel=rbf,sigma=0.5,median=true",
    "cknna:formula=paper",
    "distance_correlation:biased=false",
    "rsm_norm_difference:rdm=cosine,norm=spectral",
    "cca:average=yanai",
    "linear_regression:ridge=0.1",
    "linear_regression:leave_one_out=true",
    "angular_shape_distance:alpha=0",
    "angular_shape_distance:alpha=0.5,centered=false",
    "permutation_procrustes:centered=false,unit_norm=false",
)

DENORMAL = "float32 arithmetic takes numbers below 1.2e-38 for zero"
FEW_DIGITS = "next to one row that is so large float32 has too few digits of the others"
NO_SCORE = {
    **{
        (text, name): FEW_DIGITS
        for text, scales in (
            ("aligned_cosine", ("3e4", "1e6")),
            ("distance_correlation:biased=false", ("1e6",)),
            ("linear_regression:leave_one_out=true", ("1e2", "3e4", "1e6")),
        )
        for scale in scales
        for name in (f"row {scale} times", f"rows {scale} times in both")
    },
    ("svcca", "rows 1e6 times in both"): FEW_DIGITS,
    **{
        (text, "rows of zeros"): "a row of zeros has no correlation and no cosine: 0 / 0"
        for text in (
            "rsa",
            "rsa:rdm=cosine",
            "rsa:compare_by=pearson",
            "rsa:compare_by=kendall",
            "rsa:rdm=cosine,compare_by=cosine",
            "rsm_norm_difference:rdm=cosine,norm=spectral",
        )
    },
    ("second_order_cosine", "rows of zeros"): "a row of zeros has no cosines: 0 / 0",
    ("aligned_cosine", "rows of zeros"): "a row of zeros has no direction: 0 / 0",
    ("svcca", "rank one"): "it has one direction, and four are compared",
    ("cknna:unbiased=false", "offset 1e3"): "what is left of its HSIC is 1e-6 of the terms, and less than rounding",
    ("cknna:unbiased=false", "constant dimension 1e4"): "its HSIC is what is left of terms a thousand times as large",
    ("cknna:unbiased=false", "constant dimension 1e5"): "its HSIC is what is left of terms a thousand times as large",
    ("linear_regression:leave_one_out=true", "wider than samples"): "each sample decides its own prediction",
}
"""Where a score is NaN by the definition, or because float32 inner products cancel, and why."""


def reason(text, name):
    """Why a metric has no score on a layer; None where it has."""
    return DENORMAL if name == "scale 1e-40" else NO_SCORE.get((text, name))


def small(text):
    """A metric from text, of few neighbours or directions."""
    metric = parse_metric(text)
    few = {key: 4 for key in ("k", "dim") if key in metric.settings}
    return dataclasses.replace(metric, **few)


@dataclasses.dataclass(frozen=True)
class Measured:
    """Scores of a layer and its partner, in both orders if that matters: ours, the exact ones, and what was said."""

    found: list
    exact: list
    scale: float
    warned: list

    @property
    def error(self):
        """The largest error, as a part of the score or, where that is larger, of its scale."""
        return max(abs(f - e) / max(abs(e), self.scale) for f, e in zip(self.found, self.exact, strict=True))


def measure(text, name):
    metric, x, y = small(text), layer(name), partner(name)
    pairs = [(x, y)] if metric.symmetric else [(x, y), (y, x)]
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        found = [float(metric(*pair)) for pair in pairs]
    said = [str(w.message) for w in warned if w.category is RuntimeWarning]
    exact = [] if np.isnan(found).any() else [exact_value(metric, *pair) for pair in pairs]
    return Measured(found, exact, scale_of(metric, x, y), said)
