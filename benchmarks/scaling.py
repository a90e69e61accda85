"""How studies scale over processes of a core each, and over faked devices: `python -m benchmarks.scaling`."""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import prh_jax

METRICS = ["mutual_knn", "cka", "svcca"]

ALIGN = """
import sys, time
import prh_jax
stores, metrics = sys.argv[1].split(","), sys.argv[2].split(",")
prh_jax.align(stores, metrics=metrics, progress=False)  # compiles
start = time.perf_counter()
prh_jax.align(stores, metrics=metrics, progress=False)
print(time.perf_counter() - start)
"""


def make_stores(folder: Path, *, models: int, layers: int, n: int, d: int) -> list[str]:
    """Write stores of random features that share a latent."""
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((n, 32), dtype=np.float32)

    def layer() -> np.ndarray:
        noise = rng.standard_normal((n, d), dtype=np.float32)
        return latent @ rng.standard_normal((32, d), dtype=np.float32) + 4 * noise

    paths = [folder / f"model{m}.zarr" for m in range(models)]
    for path in paths:
        prh_jax.write_features(path, [layer() for _ in range(layers)], ids=[str(i) for i in range(n)], spec={})
    return [str(path) for path in paths]


def by_workers(stores: list[str], count: int, folder: Path, compiled: Path) -> float:
    """Return seconds of processes that share a study, a core each, from the first start to the last end."""
    output = folder / f"shared{count}-{time.monotonic_ns()}.zarr"
    command = [sys.executable, "-m", "prh_jax", "align", "--x", *stores, "--metric", *METRICS, "-o", str(output)]
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(compiled)}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    cores = sorted(os.sched_getaffinity(0))
    start, running = time.perf_counter(), []
    for i in range(count):
        os.sched_setaffinity(0, {cores[i % len(cores)]})  # what is started inherits it
        running.append(subprocess.Popen([*command, "--worker", f"{i}/{count}"], env=environment, **quiet))
    os.sched_setaffinity(0, cores)
    if any(process.wait() for process in running):
        raise RuntimeError(f"a worker of {count} failed")
    return time.perf_counter() - start


def by_devices(stores: list[str], count: int) -> float:
    """Return seconds of the second study of a process whose CPU passes for several devices."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"
    done = subprocess.run(
        [sys.executable, "-c", ALIGN, ",".join(stores), ",".join(METRICS)],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1])


def measure(*, rounds: int = 3, models: int = 4, layers: int = 12, n: int = 1024, d: int = 384) -> list[dict[str, Any]]:
    """One row a way of sharing: median seconds of several rounds in turns, and how much of ideal scaling that is."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stores = make_stores(folder, models=models, layers=layers, n=n, d=d)
        ways = {("processes", k): lambda k=k: by_workers(stores, k, folder, folder / "compiled") for k in (1, 2)}
        ways |= {("faked devices", k): lambda k=k: by_devices(stores, k) for k in (1, 2, 4)}
        for kind, k in ways:
            if kind == "processes":
                ways[kind, k]()  # fills the cache of programs
        times: dict[Any, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, run in ways.items():
                times[way].append(run())
    seconds = {way: statistics.median(found) for way, found in times.items()}
    return [
        {"by": kind, "count": k, "s": s, "speed": seconds[kind, 1] / s, "efficiency": seconds[kind, 1] / s / k}
        for (kind, k), s in seconds.items()
    ]


def table(rows: list[dict[str, Any]]) -> str:
    """Return the figures as Markdown."""
    lines = ["| shared by | count | s | speed | efficiency |", "|---|---|---|---|---|"]
    return "\n".join(
        lines
        + [
            f"| {row['by']} | {row['count']} | {row['s']:.1f} | {row['speed']:.2f} | {row['efficiency']:.2f} |"
            for row in rows
        ]
    )


def main(argv: list[str] | None = None) -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    for name, value, meaning in (
        ("rounds", 3, "runs of each, in turns"),
        ("models", 4, "models of the self-study"),
        ("layers", 12, "layers of a model"),
        ("samples", 1024, "samples"),
        ("width", 384, "features of a layer"),
    ):
        parser.add_argument(f"--{name}", type=int, default=value, help=f"{meaning} (%(default)s)")
    args = parser.parse_args(argv)
    rows = measure(rounds=args.rounds, models=args.models, layers=args.layers, n=args.samples, d=args.width)
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
