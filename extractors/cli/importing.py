"""`prh import`: features made elsewhere."""

import argparse
import sys
from collections.abc import Sequence
from glob import glob
from pathlib import Path
from typing import Any

EPILOG = """\
what is read:
  .pt .pth             a tensor, a list or a dictionary of layers; the reference's dictionaries
  .safetensors .npz    an array (n, d) a layer, called as in the file
  .h5 .hdf5 .mat       the same: data sets, also in groups, or variables of MATLAB (any version)
  .npy                 one layer (n, d), or all of them
  .h5ad                an embedding of `obsm`; ids are the observations
  .parquet             a column of lists a layer; a folder of such files; a saved data set, or owner/name of the hub
Nothing that a file holds is run. A file at a URL is fetched first. Layers come in natural order (layer_2 before
layer_10). --key names the arrays that are layers, if a file has other arrays too.

One array of all layers has axes (samples, layers, features) or (layers, samples, features): --layout says which, where
the number of ids does not tell. Ids pair the samples of two models. A file may hold them (an array `ids`, a column);
else give --ids, or --dataset with the data that the features are of.

examples:
  prh import bloomz_pool-avg.pt -o bloomz.zarr --model bloomz-560m --modality language --pool avg --ids rows
  prh import *.pt -o stores/ --modality vision --ids ids.txt       a store for each file, named after it
  prh import features.npz -o mine.zarr --model mine --modality vision --ids ids.txt
  prh import layers.npy -o mine.zarr --model mine --modality vision --ids rows --layout layers,samples,features
  prh import acts.h5 -o mine.zarr --model mine --modality audio --key 'block_*' --ids ids.txt
  prh import betas.mat -o subject1.zarr --model subject1 --modality brain --key V1 V4 IT --ids trials.txt
  prh import cells.h5ad -o pca.zarr --model pca --modality cells --key X_pca
  prh import shards/ -o mine.zarr --model mine --modality vision --key embedding --id-column image_id
  prh import https://lab.example/acts.safetensors -o mine.zarr --model mine --modality vision --ids rows

Arrays that you have in Python need no file: prh_jax.align({"mine": layers, "theirs": others}).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prh import`."""
    parser.add_argument(
        "source", nargs="+", metavar="FILE", help="files, patterns of them, URLs, folders, or a data set of the hub"
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="STORE", help="the feature store to write; of several files, a folder"
    )
    parser.add_argument("--model", metavar="NAME", help="what the model is called (the file's name)")
    parser.add_argument("--modality", required=True, metavar="WORD", help="vision, language, or any other word")
    parser.add_argument("--pool", default="none", help="how the features were pooled, for the record (%(default)s)")
    parser.add_argument("--ids", metavar="FILE", help="sample ids, one a line in the order of the rows; or: rows")
    parser.add_argument(
        "--layout",
        "--axes",
        dest="axes",
        metavar="AXES",
        help="of one array of all layers: samples,layers,features or layers,samples,features; needed where neither the "
        "file's kind nor the number of ids shows",
    )
    parser.add_argument(
        "--key", nargs="+", metavar="NAME", help="the arrays that are layers, by name or pattern (all of them)"
    )
    parser.add_argument("--id-column", default="id", metavar="NAME", help="of a table (%(default)s)")
    parser.add_argument("--split", default="train", help="of a data set on the hub (%(default)s)")
    parser.add_argument("--dataset", help="take the ids from this data set, as `prh extract` reads it")
    parser.add_argument("--subset", help="its revision (wit_1024 for minhuh/prh)")
    parser.add_argument("--num-samples", type=int, help="number of its first samples")
    parser.add_argument("--force-remake", action="store_true", help="overwrite a store that is there")


def run(args: argparse.Namespace) -> int:
    """Import what was named; 0 when all of it is there, 1 when some files failed, 2 when all did."""
    from prh_jax.stores.checks import lines_of

    from ..errors import ExtractionError

    targets = _targets(args.source, args.output)
    if args.model and len(targets) > 1:
        raise ExtractionError(
            f"--model {args.model} names one model, and {len(targets)} files are imported, each named after its file: "
            "leave --model out."
        )
    ids, identity = None, None
    if args.ids and args.dataset:
        raise ExtractionError("Give --ids or --dataset, not both.")
    if args.dataset:
        from ..datasets.loading import load
        from ..places import subset_of

        data = load(args.dataset, subset_of(args.dataset, args.subset), num_samples=args.num_samples)
        ids, identity = data.ids, data.identity()
    elif args.ids:
        ids = args.ids if args.ids == "rows" else lines_of(args.ids, "--ids")
    failed = 0
    for source, target in targets.items():
        try:
            _import(args, source, target, ids, identity)
        except (ValueError, OSError) as error:
            if len(targets) == 1:
                raise
            failed += 1
            print(f"{source}: {error}", file=sys.stderr)
    if failed:
        print(f"{failed} of {len(targets)} files failed.", file=sys.stderr)
    return 0 if not failed else 2 if failed == len(targets) else 1


def _import(args: argparse.Namespace, source: str, target: Path, ids: Any, identity: dict[str, Any] | None) -> None:
    from ..importing import import_features

    store = import_features(
        source,
        target,
        model=args.model or _stem(source),
        pool="mean" if args.pool == "avg" else args.pool,
        modality=args.modality,
        ids=ids,
        id_column=args.id_column,
        dataset=identity,
        axes=args.axes,
        keys=args.key,
        split=args.split,
        overwrite=args.force_remake,
    )
    widths = sorted({layer.dim for layer in store.layers})
    print(f"{len(store.layers)} layers of {store.n} samples, widths {widths}, {store.dtype}: {store.path}")


def _stem(source: str) -> str:
    """A file's name without its ending, that of a URL without what follows it."""
    from urllib.parse import unquote, urlsplit

    from prh_jax.stores.location import is_url

    return Path(unquote(urlsplit(source).path) if is_url(source) else source).stem


def _targets(sources: Sequence[str], output: str) -> dict[str, Path]:
    """The store of each source; ExtractionError where a pattern fits nothing, or two files have one name."""
    from prh_jax.stores.location import is_url, schema_of

    from ..errors import ExtractionError

    files: dict[str, None] = {}
    several = len(sources) > 1
    for source in sources:
        if is_url(source) or Path(source).exists() or not set(source) & set("*?["):
            files[source] = None
            continue
        matching, several = sorted(glob(source, recursive=True)), True
        if not matching:
            raise ExtractionError(f"No file fits {source}. Check the folder and the ending.")
        files |= dict.fromkeys(matching)
    folder = Path(output)
    if not several and not output.endswith("/") and not (folder.is_dir() and schema_of(folder) is None):
        return dict.fromkeys(files, folder)
    targets = {source: folder / f"{_stem(source)}.zarr" for source in files}
    for source, target in targets.items():
        twice = next((other for other in targets if other != source and targets[other] == target), None)
        if twice is not None:
            raise ExtractionError(
                f"{source} and {twice} would both become {target}. Import them into different folders, one at a time."
            )
    return targets
