"""`prh finish`: stores and results that several workers wrote, completed."""

import argparse
from pathlib import Path
from typing import Any

from .arguments import add_own_metrics, import_own_metrics, stores_below

EPILOG = """\
examples:
  prh finish results/features
  prh finish alignment.zarr                 scores the tiles that workers left
  prh finish results/features/emoji_1024/hog_pool-none.zarr

Needed only where the last worker was stopped before it could. Exit status: 0 when all stores are complete, 1 when
blocks are missing in some.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prh finish`."""
    parser.add_argument(
        "path", nargs="+", help="feature stores, folders of them, or results (also URLs) of `prh align`"
    )
    parser.add_argument("--memory", metavar="SIZE", help="for the tiles that a result lacks, such as 8GiB")
    add_own_metrics(parser)


def run(args: argparse.Namespace) -> int:
    """Complete results and stores at the paths; exit status 1 where blocks are missing in some store."""
    from ..results.storage import SCHEMA
    from ..runtime.compilation_cache import keep_compiled
    from ..stores.location import place, schema_of
    from ..stores.url import Url
    from ..study.resume import finish_alignment

    paths: list[Any] = []
    for path in map(place, args.path):
        paths += (isinstance(path, Path) and stores_below(path)) or [path]
    results = [path for path in paths if isinstance(path, Url) or schema_of(path) == SCHEMA]
    keep_compiled()
    import_own_metrics(args)
    for path in results:
        print(f"{path}: {finish_alignment(path, memory=args.memory)!r}")
    return _finish_stores([path for path in paths if path not in results])


def _finish_stores(paths: list[Any]) -> int:
    from extractors.errors import ExtractionError
    from extractors.pipeline.finish import finish_store

    from ..errors import StoreError

    unfinished = 0
    for path in paths:
        try:
            print(f"{path}: {'finished' if finish_store(path) else 'was complete'}")
        except (ExtractionError, StoreError) as error:
            if len(paths) == 1:
                raise
            unfinished += 1
            print(f"{path}: {error}")
    return 1 if unfinished else 0
