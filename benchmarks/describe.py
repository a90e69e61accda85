"""How fast layers are described next to scikit-dimension and DADApy: `python -m benchmarks.describe`.

Packages that can be imported are timed in turns with prh_jax, on the same float64 copy of float32 features.
"""

import argparse
import contextlib
import io
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import prh_jax

ESTIMATORS = ("two_nn", "maximum_likelihood", "participation_ratio", "effective_rank")
SHAPES = ((1024, 384), (1024, 768), (2048, 4096), (8192, 768))


def by_prh_jax(estimator: str | None, splits: int = 0) -> Callable[[np.ndarray], float]:
    """The estimator of prh_jax, or all of them."""
    return lambda x: float(prh_jax.describe(x, estimator, splits=splits, progress=False).dataset["value"].values[0, 0])


def opponents() -> dict[tuple[str, str], Callable[[np.ndarray], float]]:
    """Functions of features (n, d), by estimator and package."""
    found: dict[tuple[str, str], Callable[[np.ndarray], float]] = {}
    with contextlib.suppress(ImportError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import skdim

        found["two_nn", "scikit-dimension"] = lambda x: skdim.id.TwoNN().fit(x).dimension_
        found["maximum_likelihood", "scikit-dimension"] = lambda x: skdim.id.MLE().fit(x).dimension_
        ratio = skdim.id.lPCA(ver="participation_ratio")
        found["participation_ratio", "scikit-dimension"] = lambda x: ratio.fit(x).dimension_
    with contextlib.suppress(ImportError), contextlib.redirect_stderr(io.StringIO()):
        from dadapy import Data

        def two_nn(x: np.ndarray) -> float:
            data = Data(coordinates=x)
            data.compute_distances(maxk=3)
            return float(data.compute_id_2NN()[0])

        found["two_nn", "DADApy"] = two_nn
    return found


def measure(*, rounds: int = 5, shapes: Any = SHAPES) -> list[dict[str, Any]]:
    """One row for each estimator, package and shape: median seconds of several rounds in turns, and the value."""
    rows = []
    for n, d in shapes:
        rng = np.random.default_rng(0)
        x = (rng.normal(size=(n, d)) * np.arange(1, d + 1) ** -0.5).astype(np.float32).astype(float)
        ways: dict[tuple[str, str], Callable[[np.ndarray], float]] = {}
        ways |= {(name, "prh_jax"): by_prh_jax(name) for name in ESTIMATORS} | opponents()
        ways["all", "prh_jax"] = by_prh_jax(None)
        ways["all, with standard errors", "prh_jax"] = by_prh_jax(None, splits=50)
        values = {way: float(run(x)) for way, run in ways.items()}  # compiles
        times: dict[Any, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, run in ways.items():
                start = time.perf_counter()
                run(x)
                times[way].append(time.perf_counter() - start)
        for estimator, package in ways:
            own, s = (statistics.median(times[estimator, each]) for each in ("prh_jax", package))
            difference = abs(values[estimator, package] / values[estimator, "prh_jax"] - 1)
            names = {"n": n, "d": d, "estimator": estimator, "package": package}
            rows.append(names | {"s": s, "ratio": s / own, "difference": difference})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Return the figures as Markdown."""
    lines = ["| n | d | estimator | package | s | times prh_jax | difference |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        names = " | ".join(str(row[name]) for name in ("n", "d", "estimator", "package"))
        lines.append(f"| {names} | {row['s']:.3f} | {row['ratio']:.1f} | {row['difference']:.0e} |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.describe", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each, in turns (%(default)s)")
    print(table(measure(rounds=parser.parse_args(argv).rounds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
