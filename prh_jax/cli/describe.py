"""`prh describe`: the dimension of every layer of feature stores."""

import argparse
from pathlib import Path
from typing import Any

EPILOG = """\
examples:
  prh describe stores/*.zarr
  prh describe stores/*.zarr --estimator two_nn participation_ratio -o dimensions.csv
  prh describe stores/vit.zarr --clip-quantile 0.95 --normalize        the features as `prh align` compares them

Estimators disagree: compare the values of one of them over layers and models of the same samples. Those of nearest
neighbours (two_nn, maximum_likelihood) are too small in high dimensions.
"""

ESTIMATORS = ("two_nn", "maximum_likelihood", "participation_ratio", "effective_rank")
"""The names that `analysis.describe` knows: here too, as help must not wait for numpy."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prh describe`."""
    parser.add_argument("stores", nargs="+", metavar="STORE", help="feature stores, or folders of them")
    parser.add_argument(
        "--estimator",
        nargs="+",
        action="extend",
        choices=ESTIMATORS,
        metavar="NAME",
        help=f"estimators of the dimension: {', '.join(ESTIMATORS)} (all)",
    )
    parser.add_argument("-k", type=int, default=20, help="neighbours of maximum_likelihood (%(default)s)")
    parser.add_argument(
        "--discard", type=float, default=0.1, help="share of the largest ratios that two_nn discards (%(default)s)"
    )
    parser.add_argument(
        "--splits", type=int, default=50, help="random halves for standard errors; 0 computes none (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the halves (%(default)s)")
    parser.add_argument("--clip-quantile", type=float, default=1.0, help="1 clips nothing (%(default)s)")
    parser.add_argument("--normalize", action="store_true", help="divide rows by their length")
    parser.add_argument("--memory", metavar="SIZE", help="for the matrices of a layer, such as 8GiB")
    parser.add_argument("-o", "--output", metavar="FILE", help="also write the values to a .csv file")
    parser.add_argument("--force-remake", action="store_true", help="overwrite a file that is there")


def run(args: argparse.Namespace) -> int:
    """Describe the layers of the stores, print a table, and write it to a file if one is named."""
    from ..stores.target import file_target

    path = None if args.output is None else file_target(args.output, overwrite=args.force_remake)
    if path is not None and path.suffix != ".csv":
        raise ValueError(f"The table is written as .csv, and {path.name!r} ends otherwise: choose a name in .csv.")

    from ..analysis.describe import describe
    from ..engine.preprocess import Preprocess
    from ..runtime.compilation_cache import keep_compiled
    from .arguments import paths_of

    keep_compiled()
    found = describe(
        paths_of(args.stores),
        args.estimator,
        k=args.k,
        discard=args.discard,
        splits=args.splits,
        seed=args.seed,
        preprocess=Preprocess(clip_quantile=args.clip_quantile, normalize=args.normalize),
        memory=args.memory,
    )
    print(f"{found}\n\n{_table(found)}")
    if path is not None:
        _write(found, path)
        print(f"\nWritten to {path}")
    return 0


def _table(found: Any) -> str:
    """A row for each layer, a column for each estimator."""
    import pandas as pd

    from ..results.description import layer_cells
    from ..stores.shown import plain_name, shorten

    names = [(shorten(plain_name(model), 44), shorten(plain_name(layer), 32)) for model, layer in found.table().index]
    index = pd.MultiIndex.from_tuples(names, names=["model", "layer"])
    return pd.DataFrame([layer_cells(found, i) for i in range(len(names))], index, found.estimators).to_string()


def _write(found: Any, path: Path) -> None:
    """A row for each layer and estimator."""
    import csv

    from ..stores.publish import write_whole

    with write_whole(path, replace=True, suffix=path.suffix) as building:
        found.to_dataframe().to_csv(building, index=False, quoting=csv.QUOTE_NONNUMERIC)
