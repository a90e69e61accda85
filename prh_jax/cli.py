"""The command `prh`: its commands, what they have in common, and those too small for a file of their own."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ._version import __version__

EPILOG = """\
a first look:
  prh demo --quick                      scores from shipped features, half a minute, needs no torch
  prh metrics                           what can be measured

the study of the paper:
  prh extract --dataset minhuh/prh --subset wit_1024 --modelset val --modality language --pool avg
  prh extract --dataset minhuh/prh --subset wit_1024 --modelset val --modality vision --pool none
  prh align --dataset minhuh/prh --subset wit_1024 --modelset val \\
            --modality-x language --pool-x avg --modality-y vision --pool-y none

your own features, and what a result says:
  prh align --x stores/*.zarr --metric mutual_knn cka --null 200 -o result.zarr
  prh show result.zarr

exit status:
  0    all went well
  1    something failed, and the rest was done: a model of several, a damaged store, a metric that fails its self-test
  2    nothing was done: a command that cannot be read, or input that cannot be used
  130  interrupted; what was finished is kept, and the same command goes on

Every command has examples: prh COMMAND --help. Progress is shown on a terminal only; PRH_DEBUG=1 shows where an error
came from.
"""

INSPECT = """\
examples:
  prh inspect results/features/emoji_1024
  prh inspect result.zarr --json

Everything is read, and held against its checksums. Exit status: 0 when all is complete and intact, else 1.
"""

METRICS = """\
examples:
  prh metrics
  prh metrics --json
"""

BENCH = """\
examples:
  prh bench --size toy
  prh bench --size full --reference platonic-rep --each      the paper's study, against the reference's own functions
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; exit status 0: success, 1: a part failed, 2: unusable input, 130: interrupted."""
    arguments = [_dashed(word) for word in (sys.argv[1:] if argv is None else argv)]
    parser = _parser()
    args = parser.parse_args(arguments)
    try:
        status = args.run(args)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # who read the output has left, as `head` does; nobody is there to be told
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, ImportError, OSError) as error:
        if os.environ.get("PRH_DEBUG"):
            raise
        print(f"prh {args.command}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nprh {args.command}: interrupted; what was finished is kept, run it again to go on.", file=sys.stderr)
        if argv is not None:
            return 130
        # At once: threads of the numerics are still at work, and an orderly end would pull memory from under them.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(130)


def _dashed(word: str) -> str:
    """The reference spells its options with underscores; both spellings work."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="prh",
        description="How alike are the representations of neural networks? All layer pairs of all model pairs.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"prh-jax {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    def add(name: str, summary: str, run, epilog: str = "") -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(run=run)
        return sub

    from extractors import cli as extract_cli
    from extractors import cli_exchange

    from . import cli_align, cli_calibrate, cli_completion, cli_plan, cli_report, cli_results

    extract = add("extract", "write every layer of every model to feature stores", extract_cli.run, extract_cli.EPILOG)
    extract_cli.add_arguments(extract)
    align = add("align", "score all layer pairs of all model pairs", cli_align.run, cli_align.EPILOG)
    cli_align.add_arguments(align)
    finish = add(
        "finish",
        "finish stores or results that several workers wrote",
        cli_results.run_finish,
        cli_exchange.FINISH_EPILOG,
    )
    cli_exchange.add_finish_arguments(finish)
    bring = add(
        "import", "bring features made elsewhere into a store", cli_exchange.run_import, cli_exchange.IMPORT_EPILOG
    )
    cli_exchange.add_import_arguments(bring)
    for name, summary, example in (
        ("pack", "pack a feature store into one file, checked first", "prh pack features.zarr"),
        ("unpack", "unpack such a file into a store, checked on the way", "prh unpack features.zarr.zip"),
    ):
        exchange = add(name, summary, _exchange, f"example:\n  {example}")
        exchange.add_argument("path", help="a feature store" if name == "pack" else "an archive")
        exchange.add_argument("-o", "--output", help="where it goes (beside it)")
        exchange.add_argument("--force-remake", action="store_true", help="overwrite what is there")
    plan = add("plan", "say what a study will take: bytes, time on this machine", cli_plan.run, cli_plan.EPILOG)
    cli_plan.add_arguments(plan)
    calibrate = add(
        "calibrate",
        "find what chance gives for a result: p, q, calibrated scores",
        cli_calibrate.run,
        cli_calibrate.EPILOG,
    )
    cli_calibrate.add_arguments(calibrate)
    show = add("show", "print what a result is made of, and its tables", cli_results.run_show, cli_results.SHOW)
    cli_results.add_show_arguments(show)
    export = add("export", "write a result for other programs", cli_results.run_export, cli_results.EXPORT)
    cli_results.add_export_arguments(export)
    report = add("report", "write a result as one HTML file to look at", cli_report.run, cli_report.EPILOG)
    cli_report.add_arguments(report)
    merge = add("merge", "join results of several runs", cli_results.run_merge, cli_results.MERGE)
    cli_results.add_merge_arguments(merge)
    inspect = add(
        "inspect",
        "say what a store or result holds, whether it is complete and intact",
        _inspect,
        INSPECT,
    )
    inspect.add_argument("path", nargs="+", help="a feature store, a result (or the URL of one), or a folder of them")
    inspect.add_argument("--json", action="store_true", help="print JSON")
    metrics = add("metrics", "list the metrics with settings, range, symmetry and source", _metrics, METRICS)
    metrics.add_argument("--format", default="text", choices=("text", "json", "markdown"), help="(%(default)s)")
    metrics.add_argument("--json", dest="format", action="store_const", const="json", help="the same as --format json")
    metrics.add_argument(
        "--table",
        action="store_true",
        help="a table for choosing one, with what chance gives and what a pair costs, measured here (a minute)",
    )
    demo = add(
        "demo",
        "from real pictures and texts to a table and a heat map, in a few minutes",
        _demo,
        "examples:\n  prh demo --quick\n  prh demo --output-dir demo",
    )
    demo.add_argument("--quick", action="store_true", help="use the shipped features: no torch, half a minute")
    demo.add_argument("--output-dir", default="demo", help="where stores, result and picture go (default: demo)")
    doctor = add(
        "doctor",
        "check this installation: versions, devices, metrics",
        cli_results.run_doctor,
        cli_results.DOCTOR,
    )
    cli_results.add_doctor_arguments(doctor)
    completion = add(
        "completion",
        "print a script that lets a shell complete commands, options and metrics",
        lambda args: _completion(args, parser),
        cli_completion.EPILOG,
    )
    cli_completion.add_arguments(completion)
    bench = add("bench", "measure throughput beside accuracy (in a checkout)", _bench, BENCH)
    try:
        from benchmarks.run import add_arguments

        add_arguments(bench)
    except ImportError:
        pass
    return parser


def _bench(args: argparse.Namespace) -> int:
    try:
        from benchmarks.run import run
    except ImportError as error:
        raise ImportError(
            "The benchmarks are part of the repository, not of the installed package: clone it, and run `make bench`."
        ) from error
    return run(args)


def _completion(args: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from .cli_completion import script

    print(script(parser, args.shell))
    return 0


def _demo(args: argparse.Namespace) -> int:
    from .demo import run
    from .runtime.compilation_cache import keep_compiled

    keep_compiled()
    return run(args.output_dir, quick=args.quick)


def _metrics(args: argparse.Namespace) -> int:
    from .analysis.choosing import choosing_table
    from .metrics.describe import as_json, as_markdown, as_text
    from .runtime.compilation_cache import keep_compiled

    if args.table:
        keep_compiled()
        print(choosing_table())
        return 0
    print({"text": as_text, "json": as_json, "markdown": as_markdown}[args.format]())
    return 0


def _exchange(args: argparse.Namespace) -> int:
    from .stores import archive

    print(getattr(archive, args.command)(args.path, args.output, overwrite=args.force_remake))
    return 0


def _inspect(args: argparse.Namespace) -> int:
    paths = [found for path in args.path for found in _stores_below(path)]
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


def _stores_below(given: str) -> list[str | Path]:
    from .stores.location import is_url

    path = Path(given)
    if is_url(given):
        return [given]
    if (path / "zarr.json").exists() or not path.is_dir():
        return [path]
    found = sorted(f for f in path.rglob("*.zarr") if f.is_dir())
    if not found:
        raise ValueError(f"There is no feature store or result (a folder ending in .zarr) at or below {path}.")
    return [f for f in found if not f.name.startswith(".")]


def _inspect_one(path: str | Path) -> dict:
    from .stores.inspect import inspect_store
    from .stores.layout import SCHEMA
    from .stores.location import place, schema_of

    if (schema_of(place(path)) or SCHEMA) != SCHEMA:
        from .results.alignment import load_alignment

        return {"path": str(path), "kind": repr(load_alignment(path)), "complete": True, "problems": []}
    report = inspect_store(path)
    store = report.store
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
        "blocks_done": report.blocks_done,
        "blocks": report.blocks,
        "bytes": report.bytes_on_disk,
        "complete": store.complete,
        "problems": list(report.problems),
        "spec_sha256": store.spec_sha256,
        "result": store.result,
    }


def _print_report(report: dict) -> None:
    print(report["path"])
    if report["kind"] != "features":
        print(f"  {report['kind']}\n")
        return
    widths = "-".join(str(w) for w in {report["widths"][0], report["widths"][-1]})
    print(f"  model      {report['model']}, pooling {report['pool']}")
    print(f"  features   {report['layers']} layers x {report['samples']} samples x {widths}, {report['dtype']}", end="")
    print(f", {report['bytes'] / 2**20:.1f} MiB")
    dataset = report["dataset"] or {}
    if dataset:
        print(f"  data       {dataset.get('name')} {dataset.get('revision') or ''}")
    print(f"  complete   {'yes' if report['complete'] else 'NO'}: {report['blocks_done']} of {report['blocks']} blocks")
    if not report["complete"]:
        print("             run the same `prh extract` again; it goes on where it stopped")
    print(f"  intact     {'yes: every checksum holds' if not report['problems'] else 'NO'}")
    for problem in report["problems"]:
        print(f"             {problem}")
    print()


if __name__ == "__main__":
    sys.exit(main())
