"""Questions beyond the score next to other packages, speed and values: `python -m benchmarks.packages`.

Packages that can be imported are timed in turns with prh_jax, on the same features.
"""

import argparse
import contextlib
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import prh_jax

Way = Callable[[], Any]
"""A call whose result is numbers that two packages should agree on."""


def cases(*, toy: bool) -> Iterator[tuple[str, Way, dict[str, Way]]]:
    """A question, the answer of prh_jax, and those of other packages by name."""
    rng = np.random.default_rng(0)
    samples, width, targets = (60, 12, 5) if toy else (1024, 768, 200)
    latent = rng.normal(size=(samples, 10))
    x, y = (
        (latent @ rng.normal(size=(10, d)) + rng.normal(size=(samples, d))).astype(np.float32).astype(np.float64)
        for d in (width, targets)
    )
    with contextlib.suppress(ImportError):
        yield f"ridge regression, {samples} x {width}, {targets} targets, 5 folds", *ridge(x, y)
    with contextlib.suppress(ImportError):
        yield f"retrieval by ridge, {samples} x {width} and {targets}, one split", *retrieval(x, y)
    conditions, units = (12, 20) if toy else (200, 500)
    repeats = rng.normal(size=(conditions, units)) + rng.normal(size=(8, conditions, units))
    with contextlib.suppress(ImportError):
        yield f"crossnobis, 8 repeats of {conditions} x {units}", *crossnobis(repeats)
    rdms = np.stack([prh_jax.crossnobis(repeats[i : i + 2]) for i in range(7)])
    with contextlib.suppress(ImportError):
        yield f"noise ceilings of 7 x {rdms.shape[1]} dissimilarities", *ceilings(rdms)
    models = 10 if toy else 60
    matrices = [np.abs(z - z.T) for z in rng.random((2, models, models))]
    with contextlib.suppress(ImportError):
        yield f"Mantel test of {models} models, 999 orders", *mantel(*matrices)
    layers, pairs = (6, 4) if toy else (64, 200)
    with contextlib.suppress(ImportError):
        yield f"{pairs} matrices of {layers} x {layers} layers matched one to one", *matching(layers, pairs)


def ridge(x: np.ndarray, y: np.ndarray) -> tuple[Way, dict[str, Way]]:
    """Nested ridge regression: mean correlation of each target over folds."""
    from sklearn.linear_model import RidgeCV

    from prh_jax.metrics.out_of_sample.folds import RIDGES, split

    def other() -> Any:
        found = []
        for part in split(len(x), 5, 0):
            train = np.setdiff1d(np.arange(len(x)), part)
            scale = x[train].var(axis=0).sum()
            model = RidgeCV([ridge * scale for ridge in RIDGES], alpha_per_target=True).fit(x[train], y[train])
            guess, held = model.predict(x[part]), y[part]
            found.append([np.corrcoef(a, b)[0, 1] for a, b in zip(guess.T, held.T, strict=True)])
        return np.mean(found, axis=0)

    return lambda: prh_jax.ridge_prediction(x, y, progress=False)["r"].values[0], {"scikit-learn": other}


def retrieval(x: np.ndarray, y: np.ndarray) -> tuple[Way, dict[str, Way]]:
    """Recall at 1, 5 and 10 and the mean reciprocal rank, from x to y and back, after a ridge map."""
    from sklearn.linear_model import RidgeCV

    from prh_jax.metrics.out_of_sample.folds import RIDGES
    from prh_jax.metrics.out_of_sample.splits import halves

    def other() -> Any:
        ((train, held),) = halves(len(x), 0.5, 1, 0, np.arange(len(x)))
        found = []
        for a, b in ((x, y), (y, x)):
            scale = a[train].var(axis=0).sum()
            model = RidgeCV([ridge * scale for ridge in RIDGES]).fit(a[train], b[train])
            guess, gallery = (z - b[train].mean(axis=0) for z in (model.predict(a[held]), b[held]))
            similar = guess @ (gallery / np.linalg.norm(gallery, axis=1, keepdims=True)).T
            ranks = (similar >= similar.diagonal()[:, None]).sum(axis=1)
            found.append([*((ranks <= k).mean() for k in (1, 5, 10)), (1 / ranks).mean()])
        return np.array(found)

    def ours() -> Any:
        found = prh_jax.retrieval(x, y, splits=1, null=0, progress=False).dataset.isel(layer_x=0, layer_y=0)
        return np.column_stack([found["recall"].values, found["reciprocal_rank"].values])

    return ours, {"scikit-learn": other}


def crossnobis(repeats: np.ndarray) -> tuple[Way, dict[str, Way]]:
    """Crossnobis distances without noise whitening."""
    import rsatoolbox

    def other() -> Any:
        count, conditions, _ = repeats.shape
        named = {"conds": np.tile(np.arange(conditions), count), "fold": np.repeat(np.arange(count), conditions)}
        data = rsatoolbox.data.Dataset(repeats.reshape(count * conditions, -1), obs_descriptors=named)
        found = rsatoolbox.rdm.calc_rdm(data, method="crossnobis", descriptor="conds", cv_descriptor="fold")
        return found.dissimilarities[0]

    return lambda: prh_jax.crossnobis(repeats), {"rsatoolbox": other}


def ceilings(rdms: np.ndarray) -> tuple[Way, dict[str, Way]]:
    """Lower and upper noise ceiling of RSA by Spearman correlation."""
    import rsatoolbox

    def ours() -> Any:
        found = prh_jax.rdm_noise_ceiling(rdms)
        return found.lower, found.upper

    def other() -> Any:
        return rsatoolbox.inference.boot_noise_ceiling(rsatoolbox.rdm.RDMs(rdms), method="spearman")

    return ours, {"rsatoolbox": other}


def mantel(a: np.ndarray, b: np.ndarray) -> tuple[Way, dict[str, Way]]:
    """The correlation of two matrices, tested by permutations."""
    from skbio.stats.distance import mantel as other

    return (
        lambda: prh_jax.mantel(a, b, orders=999).correlation,
        {"scikit-bio": lambda: other(a, b, permutations=999)[0]},
    )


def matching(layers: int, pairs: int) -> tuple[Way, dict[str, Way]]:
    """Layers matched one to one: the mean score of the matched pairs of each matrix."""
    from scipy.optimize import linear_sum_assignment

    from prh_jax.null.layer_matching import assignment

    scores = np.random.default_rng(1).random((pairs, layers, layers))

    def other() -> Any:
        found = (linear_sum_assignment(matrix, maximize=True) for matrix in scores)
        return np.array([matrix[rows, columns].mean() for matrix, (rows, columns) in zip(scores, found, strict=True)])

    return lambda: assignment(scores), {"scipy": other}


def measure(*, toy: bool = False, rounds: int = 5) -> list[dict[str, Any]]:
    """One row for each question and package: median seconds of rounds in turns, and the largest difference."""
    rows = []
    for question, ours, others in cases(toy=toy):
        ways = {"prh_jax": ours} | others
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            values = {name: np.asarray(run(), np.float64) for name, run in ways.items()}  # compiles
            times: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(rounds):
                for name, run in ways.items():
                    start = time.perf_counter()
                    run()
                    times[name].append(time.perf_counter() - start)
        own = statistics.median(times["prh_jax"])
        for name in others:
            s = statistics.median(times[name])
            difference = float(np.abs(values[name] - values["prh_jax"]).max())
            rows.append(
                {
                    "question": question,
                    "package": name,
                    "own_s": own,
                    "s": s,
                    "ratio": s / own,
                    "largest": float(np.abs(values[name]).max()),
                    "difference": difference,
                }
            )
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Return the figures as Markdown."""
    lines = [
        "| question | package | its s | prh_jax s | ratio | largest value | difference |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        figures = (
            f"{row['s']:.4f} | {row['own_s']:.4f} | {row['ratio']:.1f} | {row['largest']:.3g} | {row['difference']:.0e}"
        )
        lines.append(f"| {row['question']} | {row['package']} | {figures} |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.packages", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each, in turns (%(default)s)")
    parser.add_argument("--toy", action="store_true", help="small sizes")
    args = parser.parse_args(argv)
    print(table(measure(toy=args.toy, rounds=args.rounds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
