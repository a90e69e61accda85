"""Layers on which float32 arithmetic loses digits, and plain float64 values of every metric on them."""

import numpy as np

from prh_jax.metrics.registry import make_metric, parse_metric

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


LAYERS = {
    "ordinary": ordinary,
    "rank one": lambda: np.outer(np.arange(1.0, N + 1), np.arange(-6.0, WIDE - 6)),
    "wider than samples": lambda: ordinary(N, 60),
    "offset 1e3": lambda: ordinary() + 1e3 * ordinary().std(),
    "constant dimension 1e4": lambda: one_large(1e4, False),
    "constant dimension 1e5": lambda: one_large(1e5, False),
    "signed dimension 1e4": lambda: one_large(1e4, True),
    "signed dimension 1e5": lambda: one_large(1e5, True),
    "two large dimensions": two_large,
    "codes -1 and 1": lambda: codes(np.array([-1.0, 1.0])),
    "small integers": lambda: codes(np.array([0.0, 1.0, 2.0])),
    "duplicated rows": duplicated,
    "rows of zeros": with_zero_rows,
    "scale 1e-30": lambda: 1e-30 * ordinary(),
    "scale 1e30": lambda: 1e30 * ordinary(),
    "scale 1e-40": lambda: 1e-40 * ordinary(),
}
"""Layers by what is hard about them, of float32 numbers."""


def layer(name):
    return LAYERS[name]().astype(np.float32)


def partner():
    return ordinary(d=NARROW, seed=1).astype(np.float32)


def small(text):
    """A metric from text, of few neighbours or directions."""
    metric = parse_metric(text)
    few = {"k": 4, "dim": 4}
    given = {key: value for key, value in few.items() if key in metric.settings}
    return make_metric(metric.name, base=metric, **given)
