"""Inputs the tests share: golden pairs, layers with a common latent; and a compiled score."""

import json
from pathlib import Path

import jax
import numpy as np

from prh_jax import write_features
from prh_jax.metrics.neighbors.base import FractionMetric, NeighborMetric
from prh_jax.sketches.base import SketchContext

produced = jax.jit(lambda maker, x: maker(x), static_argnums=0)
reduced = jax.jit(lambda sketcher, products: sketcher.sketch(products), static_argnums=0)
compared = jax.jit(lambda metric, a, b: metric.compare(a, b), static_argnums=0)


def sketched(sketcher, x):
    return reduced(sketcher, produced(sketcher.summarizer, x))


def scored(metric, x, y):
    """A metric's score in the steps of a study: few programs are compiled, as metrics share the one with a width."""
    sketcher = metric.sketcher.specialise(SketchContext(len(x)))
    return compared(metric, sketched(sketcher, x), sketched(sketcher, y))


def counts(metric):
    """Whether a score is an integer divided once, the same to the bit however it is computed."""
    return isinstance(metric, NeighborMetric) and not isinstance(metric, FractionMetric)


GOLDEN = Path(__file__).parent / "golden"


def golden_values(file):
    """Entries of a golden file, each with its pair of inputs in float64."""
    inputs = np.load(GOLDEN / "inputs.npz", allow_pickle=False)
    for entry in json.loads((GOLDEN / file).read_text())["values"]:
        x, y = (inputs[f"{entry['pair']}_{side}"].astype(np.float64) for side in "XY")
        if entry["rows"] == "unit":
            x, y = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))
        yield entry, x, y


def correlated(n=40, dx=12, dy=9, shared=5, noise=1.0, seed=0, dtype=np.float32):
    """Two layers that share a latent, of unequal widths."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n, shared))
    return tuple(
        (latent @ rng.normal(size=(shared, d)) + noise * rng.normal(size=(n, d)) + rng.normal(size=d)).astype(dtype)
        for d in (dx, dy)
    )


N = 60
IDS = [f"s{i}" for i in range(N)]


def make_store(path, model, widths, seed=0, ids=IDS, **kwargs):
    rng = np.random.default_rng(seed)
    latent = np.random.default_rng(99).normal(size=(len(ids), 6))
    layers = [latent @ rng.normal(size=(6, d)) + rng.normal(size=(len(ids), d)) for d in widths]
    spec = {"model": model, "pool": "mean", "random_init": None}
    return write_features(path, [x.astype(np.float32) for x in layers], spec=spec, ids=ids, **kwargs)
