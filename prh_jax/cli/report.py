"""`prh report`: a result as one HTML file, with samples of its best model pair if they are available."""

import argparse
import contextlib
import csv
import dataclasses
import sys
from pathlib import Path
from typing import Any

EPILOG = """\
examples:
  prh report alignment.zarr -o report.html
  prh report alignment.zarr --pair sentence-transformers/all-MiniLM-L6-v2 hog --pair bert-base-uncased hog
  prh report alignment.zarr --dataset my_pictures.parquet
  prh report alignment.zarr --family pool --covariate params
  prh report alignment.zarr --family models.csv --covariate models.csv
  prh report alignment.zarr --section dimension.png --section dimension.csv

models.csv begins with a line of column names. Each further line is a model: its label in the first column, its family
in the column "family", and numbers to plot alignment against in any other columns.

The report opens in any browser, without network. It shows samples and their neighbours if the command finds the
features and the data set (built in, local, or cached). The scores need neither.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prh report`."""
    parser.add_argument("result", help="path or URL of a result of `prh align`")
    parser.add_argument(
        "-o", "--output", default="report.html", metavar="FILE", help="path of the report (%(default)s)"
    )
    parser.add_argument("--title", default="Alignment of representations", help="title of the page (%(default)s)")
    parser.add_argument(
        "--pair",
        nargs=2,
        action="append",
        metavar=("MODEL_X", "MODEL_Y"),
        help="show samples and neighbours of the best layer pair of these models, by default the closest two; may be "
        "repeated",
    )
    parser.add_argument(
        "--metric",
        metavar="NAME",
        help="metric of the best layer pair and of the neighbours, by default the first of the result",
    )
    parser.add_argument(
        "--dataset", metavar="NAME", help="data set of the samples, by default the one that extraction recorded"
    )
    parser.add_argument(
        "--family",
        metavar="NAME",
        help="colour models by the assigned or recorded value of this name, or by a .csv file (family)",
    )
    parser.add_argument(
        "--covariate",
        action="append",
        metavar="NAME",
        help="plot alignment first against the assigned or recorded number of this name, or the numbers of a .csv "
        "file; may be repeated",
    )
    parser.add_argument(
        "--section",
        action="append",
        metavar="FILE",
        help="show a figure (.png) or a table (.csv) after the scores, under its file name; may be repeated",
    )
    parser.add_argument("--no-gallery", action="store_true", help="show no samples and neighbours")
    parser.add_argument("--force-remake", action="store_true", help="overwrite an existing file")


def run(args: argparse.Namespace) -> int:
    """Write the report. Missing samples are an error if an option named them; otherwise a message says why."""
    from ..analysis.neighbor_gallery import neighbor_gallery
    from ..plot.html_report import report
    from ..results.alignment import load_alignment
    from ..results.gallery import best_pair
    from ..stores.target import file_target

    file_target(args.output, overwrite=args.force_remake)
    result = load_alignment(args.result)
    shown = {"families": families_told(args.family), "covariates": covariates_told(args.covariate or [])}
    galleries = []
    if not args.no_gallery:
        try:
            for pair in args.pair or [best_pair(result, args.metric or result.metrics[0])]:
                gallery = neighbor_gallery(result, *pair, metric=args.metric)
                galleries.append(with_samples(gallery, result, args.dataset))
        except (ValueError, ImportError, OSError) as error:
            if args.pair or args.dataset or args.metric:
                raise
            print(f"No samples in the report: {error}", file=sys.stderr)
    shown["sections"] = {Path(name).stem.replace("_", " "): Path(name) for name in args.section or []}
    print(report(result, args.output, title=args.title, galleries=galleries, overwrite=args.force_remake, **shown))
    return 0


def families_told(name: str | None) -> Any:
    """The value of `--family`: a name, or the family of each model in a file."""
    if name is None or not is_table(name):
        return name
    columns = read_columns(name)
    if len(columns) > 1 and "family" not in columns:
        raise ValueError(f"{name} has columns {', '.join(columns)}: call the one that has the families 'family'.")
    return columns.get("family", next(iter(columns.values())))


def covariates_told(names: list[str]) -> dict[str, Any]:
    """The values of `--covariate`: names, and the columns of files in which every value is a number."""
    told: dict[str, Any] = {}
    for name in names:
        if not is_table(name):
            told[name] = None
            continue
        found = {}
        for head, column in read_columns(name).items():
            with contextlib.suppress(ValueError):
                found[head] = {model: float(text) for model, text in column.items()}
        if not found:
            raise ValueError(f"{name} has no column of numbers: add one after that of the models' labels.")
        told |= found
    return told


def is_table(name: str) -> bool:
    """Return whether a name is that of a .csv file."""
    return name.lower().endswith(".csv")


def read_columns(path: str) -> dict[str, dict[str, str]]:
    """The values of each column of a .csv file by model, whose label is in the first column; without empty cells."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            heads, *rows = [row for row in csv.reader(file) if row] or [[]]
    except FileNotFoundError:
        raise ValueError(f"There is no file {path}: give a .csv file of the models, or a recorded name.") from None
    if len(heads) < 2:
        raise ValueError(
            f"{path} has no column after that of the models' labels. Name all columns in the first line, and separate "
            "them by commas."
        )
    labels = [row[0] for row in rows]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise ValueError(f"{path} has {labels.count(twice)} lines of {twice!r}: keep one.")
    uneven = next((row for row in rows if len(row) != len(heads)), None)
    if uneven:
        raise ValueError(f"{path} has {len(heads)} columns, but {len(uneven)} in the line of {uneven[0]!r}.")
    return {head: {row[0]: row[i] for row in rows if row[i].strip()} for i, head in enumerate(heads) if i}


def with_samples(gallery: Any, result: Any, dataset: str | None) -> Any:
    """A gallery with captions and pictures from the data set of its features."""
    from extractors.datasets import loading as data

    model = next(m for m in result.provenance.models_x if m.label == gallery.place["model_x"])
    recorded = model.spec.get("dataset")
    recorded = recorded if isinstance(recorded, dict) else {}
    name = dataset or recorded.get("name")
    if not name:
        raise ValueError("the features do not say of what data set they are: name it with --dataset.")
    loaded = data.load(name, recorded.get("revision"), split=recorded.get("split"))
    rows = {key: row for row, key in enumerate(loaded.ids)}
    ids = [str(key) for key in gallery.dataset["id"].values]
    lacking = [key for key in ids if key not in rows]
    if lacking:
        raise ValueError(f"{name} has no sample {lacking[0]!r} ({len(lacking)} of {len(ids)} are not in it).")
    chosen = [rows[key] for key in ids]
    texts = None if loaded.texts is None else [(loaded.texts[row] or [""])[0] for row in chosen]
    picture = None if loaded.pictures is None else lambda i: loaded.image(chosen[i])
    return dataclasses.replace(gallery, captions=texts, picture=picture)
