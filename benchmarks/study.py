"""The whole study of the paper, from stores on disk to tables of best layers, with synthetic features."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from prh_jax import align, write_features
from prh_jax.errors import StoreError
from prh_jax.metrics.registry import METRICS, SUPPORTED_METRICS
from prh_jax.stores.reader import open_store

from .kernels import related_layers
from .machine import alternate, peak_memory
from .opponents import load_reference

LANGUAGE = {
    "bloomz-560m": (1024, 25),
    "bloomz-1b1": (1536, 25),
    "bloomz-1b7": (2048, 25),
    "bloomz-3b": (2560, 31),
    "bloomz-7b1": (4096, 31),
    "open_llama_3b": (3200, 27),
    "open_llama_7b": (4096, 33),
    "open_llama_13b": (5120, 41),
    "llama-7b": (4096, 33),
    "llama-13b": (5120, 41),
    "llama-30b": (6656, 61),
    "llama-65b": (8192, 81),
}
VISION = {
    "vit_tiny": (192, 12),
    "vit_small": (384, 12),
    "vit_base": (768, 12),
    "vit_large": (1024, 24),
    "mae_base": (768, 12),
    "mae_large": (1024, 24),
    "mae_huge": (1280, 32),
    "dino_small": (384, 12),
    "dino_base": (768, 12),
    "dino_large": (1024, 24),
    "dino_giant": (1536, 40),
    "clip_base": (768, 12),
    "clip_large": (1024, 24),
    "clip_huge": (1280, 32),
    "clip_ft_base": (768, 12),
    "clip_ft_large": (1024, 24),
    "clip_ft_huge": (1280, 32),
}
"""Width and layers of the paper's 12 language and 17 vision models: 454 x 352 layers."""


def shrunk(models: dict[str, tuple[int, int]], scale: float) -> dict[str, tuple[int, int]]:
    """The models with widths and layers times `scale`; a toy, below a tenth, has the first two alone."""
    kept = list(models.items())[: 2 if scale < 0.1 else None]
    return {name: (max(16, int(width * scale)), max(2, int(layers * scale))) for name, (width, layers) in kept}


def stores(folder: Path, models: dict[str, tuple[int, int]], n: int, dtype: str, scale: float) -> list[Path]:
    """Feature stores of the models, written where they are not there yet; `scale` shrinks widths and layers."""
    paths = []
    latent = np.random.default_rng(0).normal(size=(n, 64)).astype(np.float32) * np.arange(1, 65) ** -0.5
    for name, (width, layers) in shrunk(models, scale).items():
        path = folder / f"{name}_{n}_{width}_{layers}_{dtype}.zarr"
        paths.append(path)
        try:
            open_store(path).require_complete()
            continue
        except StoreError:
            pass
        rng = np.random.default_rng(list(name.encode()))
        features = [
            latent.astype(np.float32) @ rng.standard_normal((64, width), np.float32)
            + 2 * rng.standard_normal((n, width), np.float32)
            for _ in range(layers)
        ]
        spec = {"model": name, "synthetic": True}
        write_features(path, features, spec=spec, ids=[str(i) for i in range(n)], dtype=dtype)
    return paths


def measure(
    folder: Path, metrics: list[list[str]], *, n: int, dtype: str, scale: float, memory: str | None
) -> list[dict[str, Any]]:
    """Seconds from stores on disk to best-layer tables, for each list of metrics."""
    folder.mkdir(parents=True, exist_ok=True)
    xs, ys = stores(folder, LANGUAGE, n, dtype, scale), stores(folder, VISION, n, dtype, scale)
    rows = []
    for names in metrics:
        before = peak_memory()
        start = time.perf_counter()
        result = align(xs, ys, names, memory=memory, progress=False)
        tables = {name: result.scores(name) for name in names}
        taken = time.perf_counter() - start
        assert all(np.isfinite(table.values).all() for table in tables.values())
        sizes = result.dataset.sizes
        rows.append(
            {
                "metrics": names if names != SUPPORTED_METRICS else "all",
                "layers_x": sizes["layer_x"],
                "layers_y": sizes["layer_y"],
                "n": n,
                "dtype": dtype,
                "scale": scale,
                "seconds": taken,
                "feature_bytes": sum(open_store(path).nbytes for path in (*xs, *ys)),
                "memory_budget": memory,
                "peak_bytes": peak_memory(),
                "peak_bytes_beyond_start": peak_memory() - before,
            }
        )
    return rows


def reference_seconds(folder: str | Path, *, n: int, k: int, scale: float, rounds: int) -> dict[str, float]:
    """The reference's seconds for the study, metric by metric: a call at the mean widths of both sides, times pairs.

    Its time per call grows linearly with the sum of the two widths, so that the mean widths stand for all; reading,
    and its clipping, which it repeats for every pair of models, are left out.
    """
    import torch

    theirs = load_reference(folder)
    layers, widths = [], []
    for models in (LANGUAGE, VISION):
        sizes, counts = zip(*shrunk(models, scale).values(), strict=True)
        layers.append(sum(counts))
        widths.append(round(np.average(sizes, weights=counts)))
    x, y = (torch.from_numpy(related_layers(1, n, width, seed)[0]) for seed, width in enumerate(widths))
    calls = {}
    for name in SUPPORTED_METRICS:
        settings = {"topk": k} if "k" in METRICS[name]().settings else {}
        calls[name] = lambda name=name, settings=settings: theirs.measure(name, x, y, **settings)
    return {name: taken * layers[0] * layers[1] for name, taken in alternate(calls, rounds).items()}
