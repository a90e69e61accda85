"""`prh calibrate`, and the options of `prh align` that ask for the same: the null distribution of a result."""

import argparse

from .arguments import add_null_options, add_own_metrics, import_own_metrics, null_of
from .printing import print_calibration, print_json

EPILOG = """\
examples:
  prh calibrate result.zarr --null 500
  prh calibrate result.zarr --null 10000 --stop-after 20             clear cases of chance cost a few orders only
  prh calibrate moved.zarr --x stores/bert.zarr --y stores/*vit*.zarr
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prh calibrate`."""
    parser.add_argument("result", help="path or URL of a result of `prh align`")
    parser.add_argument("--x", nargs="+", metavar="STORE", help="its feature stores, where they have moved")
    parser.add_argument("--y", nargs="+", metavar="STORE", help="of the other side")
    parser.add_argument("--memory", metavar="SIZE", help="for sketches and temporaries, such as 8GiB")
    parser.add_argument("--sketch-cache", metavar="FOLDER", help="where `prh align --sketch-cache` kept sketches")
    parser.add_argument("--json", action="store_true", help="print JSON in place of tables, as `prh show --json`")
    add_own_metrics(parser)
    add_null_options(parser, default=200)


def run(args: argparse.Namespace) -> int:
    """Calibrate a result, print the tables, keep the calibration in it."""
    from ..runtime.compilation_cache import keep_compiled
    from ..study.resume import calibrate

    keep_compiled()
    import_own_metrics(args)
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
        print_calibration(alignment, key)
    print(f"\nKept in {args.result} (prh_jax.load_alignment(...).calibration)")
    return 0
