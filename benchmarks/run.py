"""The command: measure, write JSON, print tables."""

import argparse
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prh_jax.metrics.registry import METRICS, SUPPORTED_METRICS
from prh_jax.stores.publish import write_whole
from prh_jax.stores.target import file_target

from . import budgets, family, growth, kernels, largest, machine, many_samples, neighbors, null, study, sweep
from .options import PARTS, SIZES, add_arguments

RESULTS = Path(__file__).parent / "results"


def run(args: argparse.Namespace) -> int:
    """Measure the parts asked for, beside those that the file of results holds."""
    results: dict[str, Any] = {"machine": machine.describe(), "size": args.size}
    path = Path(args.output) if args.output else RESULTS / f"{slug(results['machine'])}-{args.size}.json"
    if file_target(path, overwrite=True).exists():
        results = json.loads(path.read_text()) | results
    results["peaks"] = machine.peaks(SIZES[args.size]["peak"])
    with tempfile.TemporaryDirectory() as temporary:
        for part in [name for name in PARTS if name in args.parts]:
            results |= MEASURES[part](args, SIZES[args.size], Path(args.features or temporary), results["peaks"])
            with write_whole(path, replace=True) as building:  # a run that is stopped loses its last part alone
                building.write_text(json.dumps(results, indent=1) + "\n")
            print(TABLES[part](results), flush=True)
    print(f"Results: {path}")
    return 0


RowRange = Callable[[argparse.Namespace, dict[str, Any], Path, dict[str, float]], dict[str, Any]]


def _kernels(args: argparse.Namespace, size: dict[str, Any], *_: Any) -> dict[str, Any]:
    shape = {key: size[key] for key in ("n", "d", "layers", "rounds", "peak")}
    first, *others = args.k or size["ks"]
    rows = kernels.measure(SUPPORTED_METRICS, k=first, reference=args.reference, **shape)
    for k in others:
        some = [name for name in SUPPORTED_METRICS if "k" in METRICS[name]().settings]
        rows += kernels.measure(some, k=k, reference=args.reference, **shape)
    return {"kernels": rows}


def _neighbors(args: argparse.Namespace, size: dict[str, Any], *_: Any) -> dict[str, Any]:
    return {"neighbors": neighbors.measure(n=size["graph"], d=size["d"], k=size["ks"][0], rounds=size["rounds"])}


def _largest(args: argparse.Namespace, size: dict[str, Any], *_: Any) -> dict[str, Any]:
    ks = (5,) if args.size == "toy" else (10, 20, 50, 100)
    return {"largest": largest.measure(args.size, ks=ks, d=size["d"], rounds=size["rounds"])}


def _sweep(args: argparse.Namespace, size: dict[str, Any], *_: Any) -> dict[str, Any]:
    toy = args.size == "toy"
    names = SUPPORTED_METRICS[1:4:2] if toy else SUPPORTED_METRICS
    return {"sweep": sweep.measure(names, toy=toy, peak=size["peak"])}


def _growth(args: argparse.Namespace, *_: Any) -> dict[str, Any]:
    return {"growth": growth.measure(toy=args.size == "toy")}


def _family(args: argparse.Namespace, size: dict[str, Any], *_: Any) -> dict[str, Any]:
    names = ["mutual_knn", "rsa"] if args.size == "toy" else list(METRICS)
    return {"family": family.measure(names, n=size["n"], d=size["d"], layers=size["layers"])}


def _many(args: argparse.Namespace, size: dict[str, Any], folder: Path, *_: Any) -> dict[str, Any]:
    return {"many": many_samples.measure(folder, toy=args.size != "full", peak=size["peak"])}


def _null(_: Any, size: dict[str, Any], __: Any, peaks: dict[str, float]) -> dict[str, Any]:
    return null.measure(size, peaks["gemm_flops"])


def _study(args: argparse.Namespace, size: dict[str, Any], folder: Path, *_: Any) -> dict[str, Any]:
    alone = SUPPORTED_METRICS[1:2] if args.size == "toy" else SUPPORTED_METRICS
    lists = [SUPPORTED_METRICS, *([name] for name in alone if args.each)]
    shape = {"n": size["n"], "scale": size["scale"]}
    found: dict[str, Any] = {"study": study.measure(folder, lists, dtype=args.dtype, memory=args.memory, **shape)}
    if args.reference:
        rounds = {"k": size["ks"][0], "rounds": size["rounds"]}
        found["study_reference_seconds"] = study.reference_seconds(args.reference, **shape, **rounds)
    return found


def _budgets(args: argparse.Namespace, size: dict[str, Any], folder: Path, *_: Any) -> dict[str, Any]:
    given = ["2GiB"] if args.size == "toy" else ["0.5GiB", "2GiB", "8GiB"]
    return {"budgets": budgets.measure(folder, given, n=size["n"], scale=size["scale"])}


MEASURES: dict[str, RowRange] = {
    "kernels": _kernels,
    "neighbors": _neighbors,
    "largest": _largest,
    "sweep": _sweep,
    "family": _family,
    "many": _many,
    "null": _null,
    "growth": _growth,
    "study": _study,
    "budgets": _budgets,
}


def kernel_table(results: dict[str, Any]) -> str:
    """Kernel-only figures as Markdown."""
    lines = [
        "| metric | k | sketch ms | of peak | pair us | reference ms | x | cached torch ms | x | error | of bfloat16 |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in results["kernels"]:
        cells = [row["metric"], str(row["k"] or ""), f"{row['sketch_s'] * 1e3:.1f}"]
        # results of before sketches had the product in turn are held against that of the run
        share = row.get("sketch_of_peak", row["sketch_flops"] / results["peaks"]["gemm_flops"])
        cells += [f"{share:.0%}", f"{row['pair_s'] * 1e6:.2f}"]
        for opponent in ("reference", "cached_torch"):
            known = f"{opponent}_s" in row
            cells.append(f"{row[f'{opponent}_s'] * 1e3:.3g}" if known else "")
            cells.append(f"{row[f'kernel_ratio_{opponent}']:,.0f}" if known else "")
        lines.append("| " + " | ".join([*cells, f"{row['max_error']:.0e}", f"{row['bfloat16_error']:.0e}"]) + " |")
    return "\n".join(lines)


def study_table(results: dict[str, Any]) -> str:
    """Whole-study figures as Markdown."""
    lines = ["| study | layers | seconds | peak GiB | reference, estimated | x |", "|---|---|---|---|---|---|"]
    estimate = results.get("study_reference_seconds", {})
    for row in results["study"]:
        names = list(estimate) if row["metrics"] == "all" else row["metrics"]
        theirs = sum(estimate.get(name, 0) for name in names)
        label = "all metrics" if row["metrics"] == "all" else ", ".join(row["metrics"])
        cells = [
            label,
            f"{row['layers_x']} x {row['layers_y']}",
            f"{row['seconds']:.1f}",
            f"{row['peak_bytes'] / 2**30:.1f}",
        ]
        cells += [f"{theirs / 3600:.2f} h", f"{theirs / row['seconds']:,.0f}"] if theirs else ["", ""]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "kernels": kernel_table,
    "neighbors": lambda results: json.dumps(results["neighbors"]),
    "largest": lambda results: largest.table(results["largest"]),
    "sweep": lambda results: sweep.table(results["sweep"]),
    "family": lambda results: family.table(results["family"]),
    "many": lambda results: many_samples.table(results["many"]),
    "null": null.tables,
    "growth": lambda results: growth.table({"sweep": []} | results),
    "study": study_table,
    "budgets": lambda results: budgets.table(results["budgets"]),
}


def slug(found: dict[str, Any]) -> str:
    name = found["device"] if found["device"].lower() != "cpu" else f"{found['processor']}-{found['cores']}-cores"
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def main(argv: list[str] | None = None) -> int:
    """`python -m benchmarks`."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args(argv))
