"""The kNN graph of one large layer, against faiss and plain torch."""

import importlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from prh_jax.sketches.base import SketchContext
from prh_jax.sketches.neighbors import NeighborSketcher

from .kernels import related_layers
from .machine import alternate


def measure(*, n: int, d: int, k: int, rounds: int) -> dict[str, Any]:
    """Seconds of ours, faiss IndexFlatIP and torch in turn, and the share of equal neighbours."""
    (x,) = related_layers(1, n, d, 1)
    sketch = jax.jit(NeighborSketcher(k, normalize=False).specialise(SketchContext(n)))
    device = jnp.asarray(x)
    calls: dict[str, Any] = {"ours": lambda: sketch(device)}
    ours = np.asarray(sketch(device).neighbors)
    row: dict[str, Any] = {"n": n, "d": d, "k": k}
    try:
        faiss = importlib.import_module("faiss")

        def search():
            index = faiss.IndexFlatIP(d)
            index.add(x)
            return index.search(x, k + 1)[1]

        calls["faiss"] = search
        row["same_as_faiss"] = _agreement(ours, search())
    except ImportError:
        pass
    try:
        import torch

        tx = torch.from_numpy(x)
        calls["torch"] = lambda: [(part @ tx.T).topk(k + 1).indices for part in tx.split(1024)]
    except ImportError:
        pass
    medians = alternate(calls, rounds)
    row |= {f"{name}_s": value for name, value in medians.items()}
    return row


def _agreement(ours: np.ndarray, found: np.ndarray) -> float:
    """Share of our neighbours that the other list, itself left out, has too."""
    shared = 0
    for i, (mine, other) in enumerate(zip(ours, found, strict=True)):
        shared += len(set(mine.tolist()) & set([j for j in other.tolist() if j != i][: len(mine)]))
    return shared / ours.size
