"""The command: measure, write JSON, print tables."""

import argparse
import json
import re
import tempfile
from pathlib import Path
from typing import Any

from prh_jax.metrics import METRICS

from . import budgets, kernels, machine, neighbors, null, study, sweep

RESULTS = Path(__file__).parent / "results"
SIZES = {
    "toy": {"n": 64, "d": 32, "layers": 4, "rounds": 2, "scale": 0.02, "graph": 128, "ks": (5,), "peak": 256},
    "standard": {
        "n": 1024,
        "d": 768,
        "layers": 64,
        "rounds": 5,
        "scale": 0.25,
        "graph": 4096,
        "ks": (10,),
        "peak": 4096,
    },
    "full": {
        "n": 1024,
        "d": 768,
        "layers": 64,
        "rounds": 7,
        "scale": 1.0,
        "graph": 16384,
        "ks": (10, 32, 100),
        "peak": 4096,
    },
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prh bench`."""
    parser.add_argument(
        "--size", choices=SIZES, default="standard", help="toy: seconds; full: the paper's study (%(default)s)"
    )
    parser.add_argument("--reference", metavar="DIR", help="checkout of the PRH reference code, timed in the same run")
    parser.add_argument(
        "--features", metavar="DIR", help="where the study's stores are made and kept (a temporary folder)"
    )
    parser.add_argument(
        "--dtype", default="bfloat16", choices=("float32", "bfloat16"), help="of the stores (%(default)s)"
    )
    parser.add_argument("--k", nargs="+", type=int, help="neighbours (those of the size: 10, of full also 32 and 100)")
    parser.add_argument("--memory", help="budget of the study, such as 8GiB")
    parser.add_argument("--each", action="store_true", help="also run the study for each metric alone")
    parser.add_argument("--sweep", action="store_true", help="also each metric over samples, width, neighbours, layers")
    parser.add_argument("--budgets", action="store_true", help="also the peak memory of a study given 0.5, 2 and 8 GiB")
    parser.add_argument("--null", action="store_true", help="also the permutation null, beside calibrated-similarity")
    parser.add_argument("--output", metavar="JSON", help="where results go (benchmarks/results/<machine>.json)")


def run(args: argparse.Namespace) -> int:
    """Measure everything at the size asked for."""
    size: dict[str, Any] = SIZES[args.size]
    names = list(METRICS)
    results: dict[str, Any] = {"machine": machine.describe(), "size": args.size, "peaks": machine.peaks(size["peak"])}
    shape = {key: size[key] for key in ("n", "d", "layers", "rounds")}
    first, *others = args.k or size["ks"]
    results["kernels"] = kernels.measure(names, k=first, reference=args.reference, **shape)
    for k in others:
        some = [name for name in names if "k" in METRICS[name]().settings]
        results["kernels"] += kernels.measure(some, k=k, reference=args.reference, **shape)
    save(results, args)
    print(kernel_table(results), flush=True)
    results["neighbors"] = neighbors.measure(n=size["graph"], d=size["d"], k=first, rounds=size["rounds"])
    save(results, args)
    print(json.dumps(results["neighbors"]), flush=True)
    if args.sweep:
        results["sweep"] = sweep.measure(names, toy=args.size == "toy")
        save(results, args)
        print(sweep.table(results["sweep"]), flush=True)
    if args.null:
        results |= null.measure(size, results["peaks"]["gemm_flops"])
        save(results, args)
        print(null.tables(results), flush=True)
    lists = [names, *([name] for name in names if args.each)]
    with tempfile.TemporaryDirectory() as temporary:
        results["study"] = study.measure(
            Path(args.features or temporary),
            lists,
            n=size["n"],
            dtype=args.dtype,
            scale=size["scale"],
            memory=args.memory,
        )
        save(results, args)
        if args.budgets:
            folder, scale = Path(args.features or temporary), size["scale"]
            results["budgets"] = budgets.measure(folder, ["0.5GiB", "2GiB", "8GiB"], n=size["n"], scale=scale)
            print(budgets.table(results["budgets"]), flush=True)
    if args.reference:
        results["study_reference_seconds"] = study.reference_seconds(
            args.reference, n=size["n"], k=first, scale=size["scale"], rounds=size["rounds"]
        )
    print(study_table(results))
    print(f"Results: {save(results, args)}")
    return 0


def save(results: dict[str, Any], args: argparse.Namespace) -> Path:
    """Write what is measured so far: a run that is stopped loses no more than its last part."""
    path = Path(args.output) if args.output else RESULTS / f"{slug(results['machine'])}-{args.size}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")
    return path


def kernel_table(results: dict[str, Any]) -> str:
    """Kernel-only figures as Markdown."""
    lines = [
        "| metric | k | sketch ms | of peak | pair us | reference ms | x | cached torch ms | x | error | of bfloat16 |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in results["kernels"]:
        cells = [row["metric"], str(row["k"] or ""), f"{row['sketch_s'] * 1e3:.1f}"]
        cells += [f"{row['sketch_flops'] / results['peaks']['gemm_flops']:.0%}", f"{row['pair_s'] * 1e6:.2f}"]
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


def slug(found: dict[str, Any]) -> str:
    name = found["device"] if found["device"].lower() != "cpu" else f"{found['processor']}-{found['cores']}-cores"
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def main(argv: list[str] | None = None) -> int:
    """`python -m benchmarks`."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args(argv))
