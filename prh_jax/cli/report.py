"""`prh report`: a result as one HTML file, with the samples behind its best model pair where they are at hand."""

import argparse
import dataclasses
import sys
from typing import Any

EPILOG = """\
examples:
  prh report alignment.zarr -o report.html
  prh report alignment.zarr --pair sentence-transformers/all-MiniLM-L6-v2 hog --pair bert-base-uncased hog
  prh report alignment.zarr --dataset my_pictures.parquet

The file opens in any browser, from disk, without network. Samples and their neighbours are shown where the features
and the data set (built in, local, or cached) are found; scores need neither.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prh report`."""
    parser.add_argument("result", help="path or URL of a result of `prh align`")
    parser.add_argument("-o", "--output", default="report.html", metavar="FILE", help="(%(default)s)")
    parser.add_argument("--title", default="Alignment of representations", help="headline (%(default)s)")
    parser.add_argument(
        "--pair",
        nargs=2,
        action="append",
        metavar=("MODEL_X", "MODEL_Y"),
        help="show samples and neighbours in the best layer pair of these models; may be given again (the best pair)",
    )
    parser.add_argument("--metric", metavar="NAME", help="whose best layer pair and neighbours are shown (the first)")
    parser.add_argument("--dataset", metavar="NAME", help="the samples (the data set that extraction recorded)")
    parser.add_argument("--no-gallery", action="store_true", help="scores alone: no samples and neighbours")
    parser.add_argument("--force-remake", action="store_true", help="overwrite a file that is there")


def run(args: argparse.Namespace) -> int:
    """Write the report; what was asked for by name and cannot be shown is an error, the rest is left out and said."""
    from ..analysis.neighbor_gallery import neighbor_gallery
    from ..plot.html_report import report
    from ..results.alignment import load_alignment
    from ..results.gallery import best_pair
    from ..stores.target import file_target

    file_target(args.output, overwrite=args.force_remake)
    result = load_alignment(args.result)
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
    print(report(result, args.output, title=args.title, galleries=galleries, overwrite=args.force_remake))
    return 0


def with_samples(gallery: Any, result: Any, dataset: str | None) -> Any:
    """A gallery with the captions and pictures of the data set that its features were extracted from."""
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
