"""`prh unpack`: an archive as a feature store again."""

import argparse

EPILOG = """\
example:
  prh unpack features.zarr.zip
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prh unpack`."""
    parser.add_argument("path", help="an archive that `prh pack` made")
    parser.add_argument("-o", "--output", help="path of the store (next to the archive)")
    parser.add_argument("--force-remake", action="store_true", help="overwrite what is there")


def run(args: argparse.Namespace) -> int:
    """Unpack the archive, and print where it went."""
    from ..stores.archive import unpack

    print(unpack(args.path, args.output, overwrite=args.force_remake))
    return 0
