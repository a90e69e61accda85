"""`prh show`: what a result is made of, and its tables."""

import argparse

from .arguments import add_choice

EPILOG = """\
examples:
  prh show alignment.zarr
  prh show alignment.zarr --metric cka --how mean
  prh show alignment.zarr --family family
  prh show alignment.zarr --json > alignment.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prh show`."""
    add_choice(parser)
    parser.add_argument(
        "--family",
        metavar="NAME",
        help="compare models within and between families: the assigned or recorded value of this name, or a .csv file "
        "(family), as of `prh report`",
    )
    parser.add_argument("--json", action="store_true", help="print JSON: protocol, scores, calibration, families")


def run(args: argparse.Namespace) -> int:
    """Print what a result is made of and its tables."""
    from ..results.alignment import load_alignment
    from ..results.families import families_here
    from ..results.groups import compare_groups
    from ..results.notebook import headline
    from ..results.provenance import origin_lines
    from .printing import print_calibration, print_groups, print_json, table
    from .report import families_told

    result = load_alignment(args.result)
    metrics = result.metrics if args.metric is None else [str(result.layers(args.metric).name)]
    found = {}
    if args.family is not None:
        families = families_here(result, families_told(args.family))
        found = {key: compare_groups(result, families, key, how=args.how) for key in metrics}
    if args.json:
        print_json(args.result, result, metrics, args.how, found)
        return 0
    print(f"{args.result}\n  {headline(result)}")
    for word, text in origin_lines(result.provenance, result.calibration and result.calibration.settings):
        print(f"  {word:10s} {text}")
    for key in metrics:
        print(f"\n{key}: {args.how} over layer pairs")
        print(table(result.reduce(key, args.how)))
        undefined = int(result.dataset[key].isnull().sum())
        if undefined:
            print(f"{undefined} of {result.dataset[key].size} layer pairs have no score (NaN): see `prh metrics`.")
        if result.calibration is not None:
            print_calibration(result, key)
        if key in found:
            print_groups(found[key])
    return 0
