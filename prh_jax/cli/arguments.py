"""Options that several commands share, and what is made of them."""

import argparse
from pathlib import Path
from typing import Any

AGGREGATES = ("max", "mean", "row_max_mean", "assignment", "dtw", "transport")
HOW = ("best", "mean", "same_depth", "assignment", "dtw", "transport")
"""The names that `null.settings` and `results.reduce` know: here too, as help must not wait for numpy."""


def add_choice(parser: argparse.ArgumentParser) -> None:
    """A result, one of its metrics, and how layer pairs become model pairs."""
    parser.add_argument("result", help="path or URL of a result of `prh align`")
    parser.add_argument("--metric", metavar="NAME", help="one of its metrics (all)")
    parser.add_argument(
        "--how",
        default="best",
        choices=HOW,
        help="from layer pairs to a model pair: the best, the mean, the mean at equal relative depth, or the mean over "
        "matched layers: one to one, in order, or by shares (%(default)s)",
    )


def add_null_options(parser: argparse.ArgumentParser, *, default: int | None) -> None:
    """How chance is found."""
    group = parser.add_argument_group("what chance gives: samples paired at random")
    group.add_argument(
        "--null", type=int, default=default, metavar="ORDERS", help=f"random orders ({default or 'none'})"
    )
    group.add_argument("--null-seed", type=int, default=0, help="of the orders (%(default)s)")
    group.add_argument("--alpha", type=float, default=0.05, help="level of the critical score (%(default)s)")
    group.add_argument(
        "--aggregate", default="max", choices=AGGREGATES, help="from layer pairs to a model pair (%(default)s)"
    )
    group.add_argument(
        "--stop-after", type=int, metavar="H", help="stop a pair at H orders that score at least as high"
    )
    group.add_argument(
        "--exchange",
        choices=("within", "whole"),
        help="with groups: exchange samples within groups, or whole groups of equal size (within; of --pair-x, whole)",
    )
    group.add_argument("--no-tail", action="store_true", help="leave out the skewness of each layer pair's null")
    group.add_argument("--force-null", action="store_true", help="replace a calibration with other settings")


def add_pairing(group: Any) -> None:
    """How the samples of stores are paired."""
    group.add_argument(
        "--pair",
        default="exact",
        choices=("exact", "inner"),
        help="stores of other samples are an error (exact), or cut down to the samples they all hold (inner)",
    )
    group.add_argument(
        "--normalize-ids",
        action="store_true",
        help="pair ids that look alike and are spelled with other Unicode characters (compare them in form NFC)",
    )


def add_own_metrics(parser: argparse.ArgumentParser) -> None:
    """Metrics of your own that a result holds, which this process has to know before it scores them again."""
    parser.add_argument(
        "--metric",
        nargs="+",
        action="extend",
        metavar="MODULE:NAME",
        help="metrics of your own that the result holds, from modules of the working folder or installed ones",
    )


def import_own_metrics(args: argparse.Namespace) -> None:
    """Import and register what `add_own_metrics` was given."""
    from ..metrics.registry import import_metric

    for text in args.metric or ():
        import_metric(text)


def null_of(args: argparse.Namespace) -> Any:
    """The settings asked for; None without --null."""
    from ..null.settings import Null

    if args.null is None:
        return None
    return Null(
        args.null, args.null_seed, args.alpha, args.aggregate, args.stop_after, not args.no_tail, exchange=args.exchange
    )


def labels_of(path: str | None, option: str) -> list[str] | None:
    """A label for each sample from a text file, a line each."""
    from ..stores.checks import lines_of

    return None if path is None else [line.strip() for line in lines_of(path, option)]


def pair_of(args: argparse.Namespace) -> Any:
    """How samples are paired: by --pair, or with the partners that --pair-x or --pair-y names."""
    given = {side: labels_of(getattr(args, f"pair_{side}"), f"--pair-{side}") for side in "xy"}
    partners = {side: labels for side, labels in given.items() if labels is not None}
    return partners or args.pair


def index_or_all(text: str) -> int | str:
    """A caption's index, or "all"."""
    return text if text == "all" else int(text)


def metrics_of(args: argparse.Namespace) -> list[Any]:
    """The metrics that were asked for by name or group, each once."""
    from ..metrics.registry import GROUPS, each_setting, parse_metric

    groups = GROUPS | ({"all": GROUPS["prh"]} if getattr(args, "prh", False) else {})
    names = [text for name in args.metric or ["mutual_knn"] for text in groups.get(name) or each_setting(name)]
    made = [parse_metric(name, prh=getattr(args, "prh", False), k=args.topk) for name in names]
    return list(dict.fromkeys(made))


def stores_below(path: Path) -> list[Path]:
    """The stores and results in a folder of them, however deep; none for a store, a result or a file."""
    if not path.is_dir() or (path / "zarr.json").exists():
        return []
    return sorted(found for found in path.rglob("*.zarr") if found.is_dir() and not found.name.startswith("."))


def paths_of(given: list[str]) -> list[str | Path]:
    """The stores named, those in folders of them included; results that lie next to them are left out."""
    from ..results.storage import SCHEMA as RESULTS
    from ..stores.location import is_url, schema_of

    paths: list[str | Path] = []
    for text in given:
        if is_url(text):
            paths.append(text)
            continue
        path = Path(text)
        inside = sorted(path.glob("*.zarr")) if path.is_dir() and not (path / "zarr.json").exists() else []
        inside = [found for found in inside if schema_of(found) != RESULTS]
        paths += inside or [path]
    return paths
