"""The strictest settings: no silent promotion of types or ranks, shapes checked at run time, no hub."""

import json
import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from jaxtyping import install_import_hook

HOOK = install_import_hook("prh_jax", "typecheck.checker")

import jax  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

scored = jax.jit(lambda metric, x, y: metric(x, y), static_argnums=0)
"""A metric's score, compiled once for each metric and shapes."""

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def x64():
    """Float64 for the duration of a test."""
    with jax.enable_x64(True):
        yield


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
