"""More samples than a matrix of all pairs allows: a study within a budget beside its plan, and a million samples."""

import importlib
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from prh_jax import align, plan, write_features
from prh_jax.errors import StoreError
from prh_jax.metrics.registry import make_metric
from prh_jax.sketches.base import SketchContext
from prh_jax.sketches.nearest import query_rows
from prh_jax.sketches.neighbors import NeighborSketcher
from prh_jax.stores.reader import open_store

from .machine import forget_peak, sketching, status_bytes

METRICS = ["mutual_knn", "cka", "unbiased_cka", "cknna"]


def related_samples(n: int, width: int, seed: int) -> np.ndarray:
    """A layer of n samples that shares a latent with those of other seeds, made in blocks; float32."""
    weights = np.random.default_rng(seed).standard_normal((32, width)).astype(np.float32)
    blocks = []
    for start in range(0, n, 1 << 16):
        count = min(1 << 16, n - start)
        latent = np.random.default_rng([0, start]).standard_normal((count, 32)).astype(np.float32)
        noise = np.random.default_rng([seed + 1, start]).standard_normal((count, width)).astype(np.float32)
        blocks.append(latent @ weights + 4 * noise)
    return np.concatenate(blocks)


def study(folder: Path, *, n: int, width: int, layers: int, memory: str) -> dict[str, Any]:
    """Seconds and memory of a study of `layers` x `layers` from Zarr, beside what `plan` said before."""
    paths = [folder / f"many-{side}-{n}-{width}-{layers}.zarr" for side in "xy"]
    for i, path in enumerate(paths):
        try:
            open_store(path).require_complete()
        except StoreError:
            made = [related_samples(n, width, 100 * i + layer) for layer in range(layers)]
            write_features(path, made, ids=[str(j) for j in range(n)], spec={"model": path.stem}, dtype="bfloat16")
    planned = plan(n, [[width] * layers], [[width] * layers], METRICS, memory=memory)
    held, start = forget_peak(), time.perf_counter()
    result = align(*paths, METRICS, memory=memory, progress=False)
    taken = time.perf_counter() - start
    assert all(np.isfinite(result.scores(name).values).all() for name in METRICS)
    return {
        "n": n,
        "width": width,
        "layers": layers,
        "metrics": METRICS,
        "memory_budget": memory,
        "seconds": taken,
        "planned_s": planned.seconds,
        "planned_bytes": planned.memory_bytes,
        "peak_bytes": status_bytes("VmHWM"),
        "held_bytes": held,
    }


def graph(*, n: int, width: int, queries: int, k: int, peak: int) -> dict[str, Any]:
    """Rate of exact neighbours of some samples among n, beside that of a product of two peak x peak matrices."""
    sketch = jax.jit(NeighborSketcher(k, normalize=False, queries=queries).specialise(SketchContext(n)))
    found = sketching(sketch, jnp.asarray(related_samples(n, width, 1)), 3, peak)
    share = queries / n  # of the operations that `sketching` counts
    return {
        "n": n,
        "width": width,
        "queries": queries,
        "k": k,
        "seconds": found["sketch_s"],
        "flops": found["sketch_flops"] * share,
        "of_peak": found["sketch_of_peak"] * share,
    }


def queries(*, n: int, width: int, queries: int, k: int) -> dict[str, Any]:
    """mutual_knn of some samples against all, beside the same from the lists of faiss's exact search."""
    x, y = (related_samples(n, width, seed) for seed in (1, 2))
    metric = make_metric("mutual_knn", k=k, normalize=False, queries=queries)
    held, start = forget_peak(), time.perf_counter()
    score = float(metric(x, y))
    row: dict[str, Any] = {"n": n, "width": width, "queries": queries, "k": k, "score": score}
    row |= {"seconds": time.perf_counter() - start, "peak_bytes": status_bytes("VmHWM"), "held_bytes": held}
    try:
        faiss = importlib.import_module("faiss")
    except ImportError:
        return row
    start, lists = time.perf_counter(), []
    rows = query_rows(n, queries)
    for z in (x, y):
        index = faiss.IndexFlatIP(width)
        index.add(z)
        found = index.search(z[rows], k + 1)[1]
        own = found == rows[:, None]
        own[~own.any(axis=1), -1] = True  # a sample that is not among its own nearest: the last is one too many
        lists.append(found[~own].reshape(queries, k))
    shared = [np.intersect1d(a, b).size for a, b in zip(*lists, strict=True)]
    return row | {"faiss_score": float(np.mean(shared)) / k, "faiss_s": time.perf_counter() - start}


SIZES = {
    "toy": {"n": 600, "width": 24, "layers": 2, "memory": "1GiB", "asked": 200, "million": 2000, "queries": 100},
    "full": {
        "n": 65536,
        "width": 768,
        "layers": 8,
        "memory": "4GiB",
        "asked": 8192,
        "million": 10**6,
        "queries": 20000,
    },
}


def measure(folder: Path, *, toy: bool, peak: int) -> dict[str, Any]:
    """All three."""
    size = SIZES["toy" if toy else "full"]
    n, width = size["n"], size["width"]
    return {
        "study": study(folder, n=n, width=width, layers=size["layers"], memory=size["memory"]),
        "graph": graph(n=n, width=width, queries=size["asked"], k=10, peak=peak),
        "queries": queries(n=size["million"], width=min(64, width), queries=size["queries"], k=10),
    }


def table(found: dict[str, Any]) -> str:
    """The figures as Markdown."""
    whole, lists, some = found["study"], found["graph"], found["queries"]
    side, names = whole["layers"], ", ".join(whole["metrics"])
    planned = f"planned {whole['planned_s']:,.0f} s and {whole['planned_bytes'] / 2**30:.1f} GiB"
    faiss = f"score {some['score']:.6f}"
    if "faiss_s" in some:
        faiss += f"; faiss {some['faiss_score']:.6f} in {some['faiss_s']:.1f} s"
    rows = [
        (f"study of {side} x {side} layers: {names}", whole, f"{planned}; budget {whole['memory_budget']}"),
        (f"neighbours of {lists['queries']:,} samples", lists, f"{lists['of_peak']:.0%} of the GEMM peak"),
        (f"mutual_knn of {some['queries']:,} samples", some, faiss),
    ]
    lines = ["| many samples | n | width | seconds | peak GiB | beside |", "|---|---|---|---|---|---|"]
    for label, row, beside in rows:
        peak = f"{row['peak_bytes'] / 2**30:.1f}" if "peak_bytes" in row else ""
        lines.append(f"| {label} | {row['n']:,} | {row['width']} | {row['seconds']:,.1f} | {peak} | {beside} |")
    return "\n".join(lines)
