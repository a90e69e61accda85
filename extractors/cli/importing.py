"""`prh import`: features made elsewhere."""

import argparse

EPILOG = """\
examples:
  prh import bloomz_pool-avg.pt -o bloomz.zarr --model bloomz-560m --modality language --pool avg --ids rows
  prh import features.npz -o mine.zarr --model mine --modality vision --ids ids.txt
  prh import layers.npy -o mine.zarr --model mine --modality vision --ids rows --axes layers,samples,features
  prh import features.parquet -o mine.zarr --model mine --modality vision --id-column image_id
"""


AXES = ("samples,layers,features", "layers,samples,features")
"""The names that `importing` knows: here too, as help must not wait for numpy."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prh import`."""
    parser.add_argument("source", help="a .pt file of the reference, .npy, .npz or .parquet")
    parser.add_argument("-o", "--output", required=True, metavar="STORE", help="the feature store to write")
    parser.add_argument("--model", required=True, metavar="NAME", help="what the model is called")
    parser.add_argument("--modality", required=True, choices=("vision", "language"))
    parser.add_argument("--pool", default="none", help="how the features were pooled, for the record (%(default)s)")
    parser.add_argument("--ids", metavar="FILE", help="sample ids, one a line in the order of the rows; or: rows")
    parser.add_argument(
        "--axes",
        choices=AXES,
        help="of one array of all layers; needed where neither the file's kind nor the number of ids tells",
    )
    parser.add_argument("--id-column", default="id", metavar="NAME", help="of a parquet file (%(default)s)")
    parser.add_argument("--dataset", help="take the ids from this data set, as `prh extract` reads it")
    parser.add_argument("--subset", help="its revision")
    parser.add_argument("--num-samples", type=int, help="its first so many samples")
    parser.add_argument("--force-remake", action="store_true", help="overwrite a store that is there")


def run(args: argparse.Namespace) -> int:
    """Import one file."""
    from prh_jax.stores.checks import lines_of

    from ..errors import ExtractionError
    from ..importing import import_features

    ids, identity = None, None
    if args.ids and args.dataset:
        raise ExtractionError("Give --ids or --dataset, not both.")
    if args.dataset:
        from ..datasets.loading import load

        data = load(args.dataset, args.subset, num_samples=args.num_samples)
        ids, identity = data.ids, data.identity()
    elif args.ids:
        ids = args.ids if args.ids == "rows" else lines_of(args.ids, "--ids")
    store = import_features(
        args.source,
        args.output,
        model=args.model,
        pool="mean" if args.pool == "avg" else args.pool,
        modality=args.modality,
        ids=ids,
        id_column=args.id_column,
        dataset=identity,
        axes=args.axes,
        overwrite=args.force_remake,
    )
    widths = sorted({layer.dim for layer in store.layers})
    print(f"{len(store.layers)} layers of {store.n} samples, widths {widths}, {store.dtype}: {store.path}")
    return 0
