"""`prh calibrate`, and the options of `prh align` that ask for the same: what chance gives for a result."""

import argparse
import json
from pathlib import Path
from typing import Any

from .results.tables import plain_name, shorten

EPILOG = """\
examples:
  prh calibrate result.zarr --null 500
  prh calibrate result.zarr --null 10000 --stop-after 20             clear cases of chance cost a few orders only
  prh calibrate moved.zarr --x stores/bert.zarr --y stores/*vit*.zarr
"""


def add_null_options(parser: argparse.ArgumentParser, *, default: int | None) -> None:
    """How chance is found."""
    from .null.settings import AGGREGATES

    group = parser.add_argument_group("what chance gives: samples paired at random")
    group.add_argument(
        "--null", type=int, default=default, metavar="ORDERS", help=f"random orders ({default or 'none'})"
    )
    group.add_argument("--null-seed", type=int, default=0, help="of the orders (%(default)s)")
    group.add_argument("--alpha", type=float, default=0.05, help="level of the critical score (%(default)s)")
    group.add_argument(
        "--aggregate", default="max", choices=AGGREGATES, help="from layer pairs to a model pair (%(default)s)"
    )
    group.add_argument(
        "--stop-after", type=int, metavar="H", help="stop a pair at H orders that score at least as high"
    )
    group.add_argument("--no-tail", action="store_true", help="leave out the skewness of each layer pair's null")
    group.add_argument("--force-null", action="store_true", help="replace a calibration with other settings")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prh calibrate`."""
    parser.add_argument("result", help="path or URL of a result of `prh align`")
    parser.add_argument("--x", nargs="+", metavar="STORE", help="its feature stores, where they have moved")
    parser.add_argument("--y", nargs="+", metavar="STORE", help="of the other side")
    parser.add_argument("--memory", metavar="SIZE", help="for sketches and temporaries, such as 8GiB")
    parser.add_argument("--sketch-cache", metavar="FOLDER", help="where `prh align --sketch-cache` kept sketches")
    parser.add_argument("--json", action="store_true", help="print JSON in place of tables, as `prh show --json`")
    add_null_options(parser, default=200)


def null_of(args: argparse.Namespace) -> Any:
    """The settings asked for; None without --null."""
    from .null.settings import Null

    if args.null is None:
        return None
    return Null(args.null, args.null_seed, args.alpha, args.aggregate, args.stop_after, not args.no_tail)


def groups_of(path: str | None) -> list[str] | None:
    """The group of each sample from a text file, a line each."""
    if path is None:
        return None
    lines = Path(path).read_text().splitlines()
    return [line.strip() for line in lines]


def run(args: argparse.Namespace) -> int:
    """Calibrate a result, print the tables, keep the calibration in it."""
    from .runtime.compilation_cache import keep_compiled
    from .study.resume import calibrate

    keep_compiled()
    alignment = calibrate(
        args.result,
        null_of(args),
        stores_x=args.x,
        stores_y=args.y,
        overwrite=args.force_null,
        memory=args.memory,
        sketch_cache=args.sketch_cache,
    )
    if args.json:
        print_json(args.result, alignment)
        return 0
    for key in alignment.metrics:
        print_calibration(alignment.calibration, key)
    print(f"\nKept in {args.result} (prh_jax.load_alignment(...).calibration)")
    return 0


def print_json(path: Any, result: Any, metrics: list[str] | None = None, how: Any = "best") -> None:
    """A result on one line of JSON: protocol, scores of model pairs, calibration."""
    from .results.export import as_plain

    print(json.dumps({"path": str(path)} | as_plain(result, metrics or result.metrics, how)))


def print_calibration(calibration: Any, key: str) -> None:
    """Calibrated scores, critical scores and q-values of a metric as text."""
    pairs, null = calibration.pairs(key), calibration.settings["null"]
    kind = "all" if calibration.settings["exact"] else "random"
    within = " within groups" if calibration.settings["groups"] else ""
    print(
        f"\n{key}: calibrated {null['aggregate']} over layer pairs, {null['orders']} {kind} orders{within}; 0 is chance"
    )
    print(table(pairs["calibrated"]))
    q = pairs["q_bh"].values
    known = q[q == q]
    print(
        f"critical score {float(pairs['tau'].min()):.4f} to {float(pairs['tau'].max()):.4f} at level {null['alpha']:g};"
    )
    print(f"{int((known <= null['alpha']).sum())} of {known.size} model pairs beyond chance (Benjamini-Hochberg q)")


def table(scores: Any) -> str:
    """A model-by-model table as text, columns numbered where their names are long."""
    frame = scores.to_pandas()
    frame.index = [shorten(plain_name(name), 60) for name in frame.index]
    frame.columns = [plain_name(name) for name in frame.columns]
    legend = ""
    if sum(len(str(name)) for name in frame.columns) > 90:
        legend = "".join(f"\n  [{i}] {name}" for i, name in enumerate(frame.columns))
        frame.columns = [f"[{i}]" for i in range(frame.shape[1])]
    return frame.to_string(float_format=lambda value: f"{value:.4f}") + legend
