"""`prh pack` and `prh unpack`: a feature store as one file."""

import argparse

EPILOG = """\
examples:
  prh pack features.zarr
  prh unpack features.zarr.zip
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prh pack` and `prh unpack`."""
    parser.add_argument("path", help="a feature store to pack, or an archive to unpack")
    parser.add_argument("-o", "--output", help="where it goes (beside it)")
    parser.add_argument("--force-remake", action="store_true", help="overwrite what is there")


def run(args: argparse.Namespace) -> int:
    """Pack or unpack, whichever the command says, and print where it went."""
    from ..stores.archive import pack, unpack

    convert = {"pack": pack, "unpack": unpack}[args.command]
    print(convert(args.path, args.output, overwrite=args.force_remake))
    return 0
