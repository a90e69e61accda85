"""`prh export`: a result for other programs."""

import argparse
from typing import Any

from .arguments import add_choice

EPILOG = """\
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prh export`."""
    add_choice(parser)
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help=".csv, .parquet, .nc, .npy, .md or .tex")
    parser.add_argument("--per", default="layer", choices=("layer", "model"), help="rows of the table (%(default)s)")
    parser.add_argument("--force-remake", action="store_true", help="overwrite a file that is there")


def run(args: argparse.Namespace) -> int:
    """Write a result as a file for other programs."""
    from ..results.alignment import load_alignment
    from ..results.export import export
    from ..stores.target import file_target

    file_target(args.output, overwrite=args.force_remake)
    result = load_alignment(args.result)
    options: dict[str, Any] = {"metric": args.metric, "per": args.per, "how": args.how}
    print(export(result, args.output, overwrite=args.force_remake, **options))
    return 0
