"""Plain calls, `prh_jax.cka(x, y)`, beside numpy doing the same in the same run: `python -m benchmarks.plain_calls`."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from typing import Any

import jax
import numpy as np

import prh_jax
from prh_jax.metrics.registry import METRICS

from .plain_numpy import PLAIN
from .plain_packages import by_packages

FIRST = """
import time, numpy as np, prh_jax
r = np.random.default_rng(0)
x, y = (r.standard_normal(({n}, d), dtype=np.float32) for d in ({dx}, {dy}))
function = prh_jax.{name}
prh_jax.keep_compiled({folder!r})
import jax
jax.devices()
start, begun = time.process_time(), time.perf_counter()
float(function(x, y))
print(time.process_time() - start, time.perf_counter() - begun)
"""
"""The first call of a fresh process, after importing: seconds of the processor, and by the clock."""

BUSY = "while True: pass"
"""What keeps one core busy."""


ROW = ("ours_s", "numpy_s", "jit_s")
"""Seconds of what every metric has; other packages stand below "packages"."""


def layers(n: int, dx: int, dy: int) -> tuple[np.ndarray, np.ndarray]:
    """Two layers that share a latent, on a common offset."""
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((n, 24), dtype=np.float32)
    x, y = (
        latent @ rng.standard_normal((24, d), dtype=np.float32)
        + 4 * rng.standard_normal((n, d), dtype=np.float32)
        + rng.standard_normal(d, dtype=np.float32)
        for d in (dx, dy)
    )
    return x / np.float32(8), y / np.float32(8)


def measure(
    names: list[str], *, n: int = 1024, dx: int = 768, dy: int = 512, rounds: int = 5, first: bool = False
) -> list[dict[str, Any]]:
    """One row a metric: seconds of ours and of numpy's, in turn, round after round; and how far the values differ."""
    x, y = layers(n, dx, dy)
    rows = []
    for name in names:
        ours, theirs = getattr(prh_jax, name), PLAIN[name]
        functions = {"ours": ours, "numpy": theirs, "jit": jax.jit(ours)} | by_packages(name)
        values = {by: float(function(x, y)) for by, function in functions.items()}
        times = in_turns([ours, theirs], x, y, rounds)
        # apart, as the threads of some packages spin long after their calls
        others = [by for by in functions if by not in ("ours", "numpy")]
        apart = in_turns([functions[by] for by in others], x, y, rounds)
        medians = np.median(np.concatenate([times, apart], axis=1), axis=0).tolist()
        median = dict(zip(["ours", "numpy", *others], medians, strict=True))
        row = {
            "metric": name,
            **{f"{by}_s": median[by] for by in ("ours", "numpy", "jit")},
            "ratio": median["ours"] / median["numpy"],
            "worst_ratio": float(times[:, 0].max() / median["numpy"]),
            "value": values["ours"],
            "difference": abs(values["ours"] - values["numpy"]),
            "packages": {by: {"s": median[by], "value": values[by]} for by in functions if f"{by}_s" not in ROW},
        }
        if first:
            row |= first_call(name, n, dx, dy)
        rows.append(row)
        print(table([row]).splitlines()[-1], file=sys.stderr, flush=True)
    return rows


def in_turns(functions: list[Any], x: np.ndarray, y: np.ndarray, rounds: int) -> np.ndarray:
    """Seconds of each function (rounds, functions), in turns."""
    return np.array([[seconds(function, x, y) for function in functions] for _ in range(rounds)])


def seconds(function: Any, x: np.ndarray, y: np.ndarray) -> float:
    """Of one call, after a rest: threads of the other library's pool spin for a while after its call."""
    time.sleep(0.1)
    start = time.perf_counter()
    float(function(x, y))
    return time.perf_counter() - start


def first_call(name: str, n: int, dx: int, dy: int) -> dict[str, float]:
    """Seconds of the first call of a process, compiling included, and of the next process, with what the first kept."""
    times = []
    with tempfile.TemporaryDirectory() as folder:
        code = FIRST.format(name=name, n=n, dx=dx, dy=dy, folder=folder)
        for _ in range(2):
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            times.append([float(word) for word in done.stdout.split()])
    (cpu, clock), (kept, _) = times
    return {"first_cpu_s": cpu, "first_s": clock, "kept_cpu_s": kept}


def spread(name: str, n: int, dx: int, dy: int, calls: int = 10) -> list[float]:
    """Largest over smallest time of calls, plain and compiled, beside a process that keeps one core busy."""
    x, y = layers(n, dx, dy)
    ratios = []
    with subprocess.Popen([sys.executable, "-c", BUSY]) as busy:
        try:
            for function in (getattr(prh_jax, name), jax.jit(getattr(prh_jax, name))):
                float(function(x, y))
                times = [seconds(function, x, y) for _ in range(calls)]
                ratios.append(max(times) / min(times))
        finally:
            busy.kill()
    return ratios


def table(rows: list[dict[str, Any]]) -> str:
    """The figures as Markdown."""
    lines = [
        "| metric | ours ms | numpy ms | ratio | slowest | difference | jitted ms | others ms "
        "| first call CPU s | first call s | kept CPU s |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [f"{row['ours_s'] * 1e3:.1f}", f"{row['numpy_s'] * 1e3:.1f}", f"{row['ratio']:.2f}"]
        cells += [f"{row['worst_ratio']:.2f}", f"{row['difference']:.0e}", f"{row['jit_s'] * 1e3:.1f}"]
        cells.append(", ".join(f"{by} {found['s'] * 1e3:.1f}" for by, found in row["packages"].items()))
        cells += [f"{row[key]:.2f}" if key in row else "" for key in ("first_cpu_s", "first_s", "kept_cpu_s")]
        lines.append(f"| {row['metric']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Measure the metrics that are named (all, unless told) and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plain_calls", description=__doc__)
    parser.add_argument("metrics", nargs="*", default=list(METRICS), metavar="METRIC", help="names (all)")
    parser.add_argument("--samples", type=int, default=1024, help="number of samples (%(default)s)")
    parser.add_argument("--widths", type=int, nargs=2, default=(768, 512), help="features of x and y (768 512)")
    parser.add_argument("--rounds", type=int, default=5, help="calls of each, in turn (%(default)s)")
    parser.add_argument("--first", action="store_true", help="also the first call of a fresh process")
    parser.add_argument("--busy", action="store_true", help="in place of all: how calls spread beside a busy process")
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    args = parser.parse_args(argv)
    dx, dy = args.widths
    if args.busy:
        for name in args.metrics:
            plain, compiled = spread(name, args.samples, dx, dy)
            print(f"{name}: largest over smallest of ten calls {plain:.2f}, compiled {compiled:.2f}", flush=True)
        return 0
    rows = measure(args.metrics, n=args.samples, dx=dx, dy=dy, rounds=args.rounds, first=args.first)
    print(json.dumps(rows, indent=1) if args.json else table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
