"""`prh merge`: results of several runs as one."""

import argparse

EPILOG = """\
results of other models or other metrics become one, if they score the same samples in the same way

example:
  prh merge first.zarr second.zarr -o whole.zarr
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prh merge`."""
    parser.add_argument("results", nargs="+", metavar="RESULT", help="paths or URLs of results of `prh align`")
    parser.add_argument(
        "-o", "--output", required=True, metavar="RESULT", help="path or URL of the result of all together"
    )
    parser.add_argument("--missing", default="error", choices=("error", "nan"), help="what none scored (%(default)s)")
    parser.add_argument("--no-calibration", action="store_true", help="leave calibrations aside")
    parser.add_argument("--force-remake", action="store_true", help="overwrite a result that is there")


def run(args: argparse.Namespace) -> int:
    """Join results."""
    from ..results.alignment import load_alignment
    from ..results.merge import merge
    from ..stores.location import place
    from ..stores.target import check_target

    check_target(place(args.output))
    found = [load_alignment(path, calibration=not args.no_calibration) for path in args.results]
    merged = merge(found, missing=args.missing, calibration=not args.no_calibration)
    print(f"{merged.save(args.output, overwrite=args.force_remake)}: {merged!r}")
    return 0
