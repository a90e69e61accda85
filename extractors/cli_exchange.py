"""`prh import` and `prh finish`: features made elsewhere, and stores written by several workers."""

import argparse
from pathlib import Path

IMPORT_EPILOG = """\
examples:
  prh import bloomz_pool-avg.pt -o bloomz.zarr --model bloomz-560m --modality language --pool avg --ids rows
  prh import features.npz -o mine.zarr --model mine --modality vision --ids ids.txt
  prh import features.parquet -o mine.zarr --model mine --modality vision --id-column image_id
"""

FINISH_EPILOG = """\
examples:
  prh finish results/features
  prh finish alignment.zarr                 scores the tiles that workers left
  prh finish results/features/emoji_1024/hog_pool-none.zarr

Needed only where the last worker was stopped before it could. Exit status: 0 when all stores are complete, 1 when
blocks are missing in some.
"""


def add_import_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prh import`."""
    parser.add_argument("source", help="a .pt file of the reference, .npy, .npz or .parquet")
    parser.add_argument("-o", "--output", required=True, metavar="STORE", help="the feature store to write")
    parser.add_argument("--model", required=True, metavar="NAME", help="what the model is called")
    parser.add_argument("--modality", required=True, choices=("vision", "language"))
    parser.add_argument("--pool", default="none", help="how the features were pooled, for the record (%(default)s)")
    parser.add_argument("--ids", metavar="FILE", help="sample ids, one a line in the order of the rows; or: rows")
    parser.add_argument("--id-column", default="id", metavar="NAME", help="of a parquet file (%(default)s)")
    parser.add_argument("--dataset", help="take the ids from this data set, as `prh extract` reads it")
    parser.add_argument("--subset", help="its revision")
    parser.add_argument("--num-samples", type=int, help="its first so many samples")
    parser.add_argument("--force-remake", action="store_true", help="overwrite a store that is there")


def run_import(args: argparse.Namespace) -> int:
    """Import one file."""
    from .errors import ExtractionError
    from .importing import import_features

    ids, identity = None, None
    if args.ids and args.dataset:
        raise ExtractionError("Give --ids or --dataset, not both.")
    if args.dataset:
        from .dataset import load

        data = load(args.dataset, args.subset, num_samples=args.num_samples)
        ids, identity = data.ids, data.identity()
    elif args.ids:
        ids = args.ids if args.ids == "rows" else Path(args.ids).read_text().splitlines()
    store = import_features(
        args.source,
        args.output,
        model=args.model,
        pool="mean" if args.pool == "avg" else args.pool,
        modality=args.modality,
        ids=ids,
        id_column=args.id_column,
        dataset=identity,
        overwrite=args.force_remake,
    )
    widths = sorted({layer.dim for layer in store.layers})
    print(f"{len(store.layers)} layers of {store.n} samples, widths {widths}, {store.dtype}: {store.path}")
    return 0


def add_finish_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prh finish`."""
    parser.add_argument(
        "path", nargs="+", help="feature stores, folders of them, or results (also URLs) of `prh align`"
    )
    parser.add_argument("--memory", metavar="SIZE", help="for the tiles that a result lacks, such as 8GiB")


def run_finish(args: argparse.Namespace) -> int:
    """Finish all stores at the paths; 0 when all are complete, 1 when blocks are missing in some."""
    from prh_jax.errors import StoreError

    from .errors import ExtractionError
    from .finish import finish_store

    unfinished = 0
    for path in args.path:
        try:
            print(f"{path}: {'finished' if finish_store(path) else 'was complete'}")
        except (ExtractionError, StoreError) as error:
            if len(args.path) == 1:
                raise
            unfinished += 1
            print(f"{path}: {error}")
    return 1 if unfinished else 0
