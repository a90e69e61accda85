"""`prh pack`: a feature store as one file."""

import argparse

EPILOG = """\
example:
  prh pack features.zarr
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prh pack`."""
    parser.add_argument("path", help="a feature store")
    parser.add_argument("-o", "--output", help="path of the archive (next to the store)")
    parser.add_argument("--force-remake", action="store_true", help="overwrite what is there")


def run(args: argparse.Namespace) -> int:
    """Pack the store, and print where it went."""
    from ..stores.archive import pack

    print(pack(args.path, args.output, overwrite=args.force_remake))
    return 0
