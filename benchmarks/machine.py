"""The machine: what it is, and the peaks that speeds are held against."""

import ctypes
import datetime
import os
import platform
import resource
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from prh_jax.runtime.host import kept_memory, quiet_blas


def describe() -> dict[str, Any]:
    """Processor, memory, devices, versions and date."""
    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        model = names[0] if names else model
    versions = {}
    for name in ("jax", "jaxlib", "numpy", "zarr", "torch", "faiss-cpu"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "date": datetime.date.today().isoformat(),
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "device": jax.devices()[0].device_kind,
        "devices": len(jax.devices()),
        "versions": versions,
    }


def seconds(call: Any) -> float:
    """Wall time of one call, its arrays waited for."""
    start = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - start


REST, LEAST = 0.01, 0.02
"""Seconds before each measurement, as threads of another library's pool spin for a while after its call, on the same
cores; and seconds that calls are repeated for, one after another, as a study makes them, which warms short ones."""


def alternate(calls: dict[str, Any], rounds: int) -> dict[str, float]:
    """Median seconds of each call, measured in turn, round after round: a slow spell of the machine hits all alike."""
    repeats = {}
    for name, call in calls.items():
        call()
        repeats[name] = max(1, round(LEAST / seconds(call)))
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            time.sleep(REST)
            times[name].append(sum(seconds(call) for _ in range(repeats[name])) / repeats[name])
    return {name: float(np.median(values)) for name, values in times.items()}


def gemm(n: int) -> Any:
    """A call that multiplies two n x n float32 matrices at full precision."""
    x = jax.random.normal(jax.random.key(0), (n, n))
    product = jax.jit(lambda a: jnp.matmul(a, a, precision=jax.lax.Precision.HIGHEST))
    return lambda: product(x)


def sketching(sketch: Any, x: Any, rounds: int, peak: int, *, features: bool = False) -> dict[str, float]:
    """Median seconds of a sketch, as a study makes it, and its rate beside that of a product of peak x peak matrices.

    The product is measured in turn; operations are those of the full Gram matrix (of which half is made, but where
    neighbours are found by blocks): that of the samples, or where a sketch (`features`) takes the smaller of the two,
    of the features.
    """
    n, d = x.shape
    with quiet_blas(), kept_memory():
        found = alternate({"sketch": lambda: sketch(x), "gemm": gemm(peak)}, rounds)
    rate = 2 * n * d * (min(n, d) if features else n) / found["sketch"]
    return {"sketch_s": found["sketch"], "sketch_flops": rate, "sketch_of_peak": rate * found["gemm"] / (2 * peak**3)}


def peaks(size: int = 4096, rounds: int = 5) -> dict[str, float]:
    """Best measured float32 GEMM rate (FLOP/s) and memory read rate (bytes/s)."""
    call = gemm(size)
    call()
    flops = 2 * size**3 / min(seconds(call) for _ in range(rounds))
    x = jnp.ones(2**26, jnp.float32)
    total = jax.jit(jnp.sum)
    total(x)
    return {"gemm_flops": flops, "read_bytes": x.nbytes / min(seconds(lambda: total(x)) for _ in range(rounds))}


def status_bytes(name: str) -> int:
    """A size of this process as the kernel counts it: VmRSS now, VmHWM at most."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"The kernel does not tell {name}.")


def forget_peak() -> int:
    """Give back what is free and start VmHWM anew; bytes held now."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return status_bytes("VmRSS")


def peak_memory() -> int:
    """Bytes of memory the process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
