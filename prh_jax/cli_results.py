"""`prh show`, `prh export`, `prh merge` and `prh doctor`: look at results, hand them on, join them; check the house."""

import argparse
import json
from pathlib import Path
from typing import Any

SHOW = """\
examples:
  prh show alignment.zarr
  prh show alignment.zarr --metric cka --how mean
  prh show alignment.zarr --json > alignment.json
"""
EXPORT = """\
the ending says what is written:
  .csv .parquet   a row per layer pair or model pair, with its origin
  .nc             netCDF, for xarray, R, Julia, MATLAB
  .npy            the reference's form (one metric)
  .md .tex        model-by-model tables

examples:
  prh export alignment.zarr -o alignment.csv
  prh export alignment.zarr -o pairs.parquet --per model
  prh export alignment.zarr -o table.tex --metric cka
"""
MERGE = """\
results of other models or other metrics become one, if they score the same samples in the same way

example:
  prh merge first.zarr second.zarr -o whole.zarr
"""
DOCTOR = """\
examples:
  prh doctor                      exit status 1 where a metric does not give the value it should
  JAX_PLATFORMS=cpu prh doctor    the same without the accelerator
"""
_HOW = "from layer pairs to a model pair: the best, the mean, or the mean at the same relative depth (%(default)s)"


def _add_choice(parser: argparse.ArgumentParser) -> None:
    from .results.reduce import HOW

    parser.add_argument("result", help="path or URL of a result of `prh align`")
    parser.add_argument("--metric", metavar="NAME", help="one of its metrics (all)")
    parser.add_argument("--how", default="best", choices=HOW, help=_HOW)


def add_show_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prh show`."""
    _add_choice(parser)
    parser.add_argument("--json", action="store_true", help="print JSON: protocol, scores, calibration")


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prh export`."""
    _add_choice(parser)
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help=".csv, .parquet, .nc, .npy, .md or .tex")
    parser.add_argument("--per", default="layer", choices=("layer", "model"), help="rows of the table (%(default)s)")
    parser.add_argument("--force-remake", action="store_true", help="overwrite a file that is there")


def add_merge_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prh merge`."""
    parser.add_argument("results", nargs="+", metavar="RESULT", help="paths or URLs of results of `prh align`")
    parser.add_argument(
        "-o", "--output", required=True, metavar="RESULT", help="path or URL of the result of all together"
    )
    parser.add_argument("--missing", default="error", choices=("error", "nan"), help="what none scored (%(default)s)")
    parser.add_argument("--no-calibration", action="store_true", help="leave calibrations aside")
    parser.add_argument("--force-remake", action="store_true", help="overwrite a result that is there")


def add_doctor_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prh doctor`."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run_show(args: argparse.Namespace) -> int:
    """Print what a result is made of and its tables."""
    from .cli_calibrate import print_calibration, print_json, table
    from .results.alignment import load_alignment
    from .results.provenance import origin_lines

    result = load_alignment(args.result)
    metrics = result.metrics if args.metric is None else [str(result.layers(args.metric).name)]
    if args.json:
        print_json(args.result, result, metrics, args.how)
        return 0
    print(f"{args.result}\n  {result!r}")
    for word, text in origin_lines(result.protocol, result.calibration and result.calibration.settings):
        print(f"  {word:10s} {text}")
    for key in metrics:
        print(f"\n{key}: {args.how} over layer pairs")
        print(table(result.reduce(key, args.how)))
        undefined = int(result.dataset[key].isnull().sum())
        if undefined:
            print(f"{undefined} of {result.dataset[key].size} layer pairs have no score (NaN): see `prh metrics`.")
        if result.calibration is not None:
            print_calibration(result.calibration, key)
    return 0


def run_export(args: argparse.Namespace) -> int:
    """Write a result as a file for other programs."""
    from .results.alignment import load_alignment
    from .results.export import export

    result = load_alignment(args.result)
    options: dict[str, Any] = {"metric": args.metric, "per": args.per, "how": args.how}
    print(export(result, args.output, overwrite=args.force_remake, **options))
    return 0


def run_merge(args: argparse.Namespace) -> int:
    """Join results."""
    from .results.alignment import load_alignment
    from .results.merge import merge

    found = [load_alignment(path, calibration=not args.no_calibration) for path in args.results]
    merged = merge(found, missing=args.missing, calibration=not args.no_calibration)
    print(f"{merged.save(args.output, overwrite=args.force_remake)}: {merged!r}")
    return 0


def run_finish(args: argparse.Namespace) -> int:
    """Complete results that workers left, and finish feature stores that they wrote."""
    from extractors import cli_exchange

    from .results.storage import SCHEMA
    from .runtime.compilation_cache import keep_compiled
    from .stores.location import place, schema_of
    from .stores.url import Url
    from .study.resume import finish_alignment

    paths = [found for path in map(place, args.path) for found in (_below(path) or [path])]
    results = [path for path in paths if isinstance(path, Url) or schema_of(path) == SCHEMA]
    args.path = [path for path in paths if path not in results]
    keep_compiled()
    for path in results:
        print(f"{path}: {finish_alignment(path, memory=args.memory)!r}")
    return cli_exchange.run_finish(args) if args.path else 0


def _below(path: Any) -> list[Path]:
    """The stores and results in a folder of them."""
    if not isinstance(path, Path) or not path.is_dir() or (path / "zarr.json").exists():
        return []
    return sorted(found for found in path.rglob("*.zarr") if not found.name.startswith("."))


def run_doctor(args: argparse.Namespace) -> int:
    """Examine the installation; exit status 1 where a metric fails its self-test."""
    from .doctor import as_text, examine
    from .runtime.compilation_cache import keep_compiled

    keep_compiled()
    report = examine()
    print(json.dumps(report) if args.json else as_text(report))
    return 0 if report["sound"] else 1
