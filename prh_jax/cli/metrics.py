"""`prh metrics`: the metrics, and a table that helps to choose one."""

import argparse

EPILOG = """\
examples:
  prh metrics
  prh metrics --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prh metrics`."""
    parser.add_argument("--format", default="text", choices=("text", "json", "markdown"), help="(%(default)s)")
    parser.add_argument("--json", dest="format", action="store_const", const="json", help="the same as --format json")
    parser.add_argument(
        "--table",
        action="store_true",
        help="a table for choosing one, with the level at chance and the cost of a pair, measured here (a minute)",
    )


def run(args: argparse.Namespace) -> int:
    """Print the metrics in the form asked for."""
    from ..metrics.describe import as_json, as_markdown, as_text

    if args.table:
        from ..analysis import choosing
        from ..runtime.compilation_cache import keep_compiled

        keep_compiled()
        print(choosing.choosing_table())
        return 0
    print({"text": as_text, "json": as_json, "markdown": as_markdown}[args.format]())
    return 0
