"""`prh inspect`: what a store or result holds, and whether it is complete and intact."""

import argparse
import json
import sys
from pathlib import Path

from .arguments import stores_below

EPILOG = """\
examples:
  prh inspect results/features/emoji_1024
  prh inspect result.zarr --json

Everything is read, and held against its checksums. Exit status: 0 when all is complete and intact, else 1.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prh inspect`."""
    parser.add_argument("path", nargs="+", help="a feature store, a result (or the URL of one), or a folder of them")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Read all that is at the paths; exit status 1 where something is incomplete or damaged."""
    paths = [found for path in args.path for found in _chosen(path)]
    sound = True
    for path in paths:
        try:
            report = _inspect_one(path)
        except ValueError as error:
            if len(paths) == 1:
                raise
            report = {"path": str(path), "kind": f"unreadable: {error}", "complete": False, "problems": [str(error)]}
        sound = sound and report["complete"] and not report["problems"]
        if args.json:
            print(json.dumps(report))
        else:
            _print_report(report)
    return 0 if sound else 1


def _chosen(given: str) -> list[str | Path]:
    from ..stores.location import is_url

    path = Path(given)
    if is_url(given) or (path / "zarr.json").exists() or not path.is_dir():
        return [given]
    found = stores_below(path)
    if not found:
        raise ValueError(f"There is no feature store or result (a folder ending in .zarr) at or below {path}.")
    return [*found]


def _inspect_one(path: str | Path) -> dict:
    from ..stores.inspect import inspect_store
    from ..stores.layout import SCHEMA
    from ..stores.location import place, schema_of

    if (schema_of(place(path)) or SCHEMA) != SCHEMA:
        from ..results.alignment import load_alignment
        from ..results.notebook import headline

        return {"path": str(path), "kind": headline(load_alignment(path)), "complete": True, "problems": []}
    report = inspect_store(path)
    store = report.store
    data = store.env.get("data") if isinstance(store.env, dict) else None
    return {
        "path": str(path),
        "kind": "features",
        "model": store.model,
        "pool": store.spec.get("pool"),
        "samples": store.n,
        "layers": len(store.layers),
        "widths": sorted({layer.dim for layer in store.layers}),
        "dtype": str(store.dtype),
        "dataset": store.spec.get("dataset"),
        "data": {"samples": store.n, "first": {"id": store.ids[0]}, "last": {"id": store.ids[-1]}}
        | (data if isinstance(data, dict) else {}),
        "blocks_done": report.blocks_done,
        "blocks": report.blocks,
        "bytes": report.bytes_on_disk,
        "complete": store.complete,
        "problems": list(report.problems),
        "spec_sha256": store.spec_sha256,
        "contents_sha256": store.contents_sha256,
        "result": store.result,
    }


def _print_report(report: dict) -> None:
    from ..stores.preview import plain, preview_lines

    print(report["path"])
    if report["kind"] != "features":
        print(f"  {report['kind']}\n")
        return
    widths = "-".join(str(w) for w in {report["widths"][0], report["widths"][-1]})
    print(f"  model      {plain(report['model'])}, pooling {plain(report['pool'])}")
    print(f"  features   {report['layers']} layers x {report['samples']} samples x {widths}, {report['dtype']}", end="")
    print(f", {report['bytes'] / 2**20:.1f} MiB")
    dataset = report["dataset"]
    if isinstance(dataset, dict) and dataset:
        split = f", split {plain(dataset['split'])}" if dataset.get("split") else ""
        print(f"  data       {plain(dataset.get('name'))} {plain(dataset.get('revision') or '')}".rstrip() + split)
    for line in preview_lines(report["data"], color=sys.stdout.isatty()):
        print(f"  {line}")
    print(f"  complete   {'yes' if report['complete'] else 'NO'}: {report['blocks_done']} of {report['blocks']} blocks")
    if not report["complete"]:
        print("             run the same `prh extract` again; it goes on where it stopped")
    print(f"  intact     {'yes: every checksum holds' if not report['problems'] else 'NO'}")
    if report["complete"] and report["contents_sha256"] is None:
        print("             an earlier version wrote it, without a hash of all contents: chunks that changed places")
        print("             are not told. `prh extract` or `write_features` again records one")
    for problem in report["problems"]:
        print(f"             {problem}")
    print()
