"""The command `prh`: its commands, and how any of them ends."""

import argparse
import atexit
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from .._version import __version__
from .colors import Parser, error_line, help_formatter

FIRST = ("demo", "extract", "align", "calibrate", "report", "doctor")
"""The commands that `prh` alone shows."""


EPILOG = """\
first steps:
  prh demo --quick                      half a minute, from features in the package, without torch
  prh metrics                           the metrics, with their settings

the study of the paper:
  prh extract --dataset minhuh/prh --subset wit_1024 --modelset val --modality language --pool avg
  prh extract --dataset minhuh/prh --subset wit_1024 --modelset val --modality vision --pool none
  prh align --dataset minhuh/prh --subset wit_1024 --modelset val \\
            --modality-x language --pool-x avg --modality-y vision --pool-y none

your own features:
  prh align --x stores/*.zarr --metric mutual_knn cka --null 200 -o result.zarr
  prh show result.zarr

exit status:
  0    success
  1    a part failed and the rest was done: one model of several, a damaged store, a metric that fails its self-test
  2    nothing was done: the command cannot be read, or its input cannot be used
  130  interrupted; finished work is kept, and the same command continues it

Every command has examples: prh COMMAND --help. A terminal shows progress bars; in a log, extract and align print a line
every ten seconds. PRH_DEBUG=1 shows where an error came from.
"""


_INTERRUPTED = "\nprh {}: interrupted; what was finished is kept, run it again to go on."


_OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "can't start new thread", "Out of memory", "out of memory")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; exit status 0: success, 1: a part failed, 2: unusable input, 130: interrupted."""
    arguments = [_dashed(word) for word in (sys.argv[1:] if argv is None else argv)]
    command = next(iter(arguments), "")
    listens = argv is None and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if listens:
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # the last: all is done, and the status is known
        signal.signal(signal.SIGINT, lambda _, frame: _interrupted(command, frame))
    try:
        if not arguments:
            print(overview())
            return 2
        if command == "bench":
            from . import bench

            if not bench.is_here():
                bench.refuse()
        parser = make_parser()
        args = parser.parse_args(arguments, argparse.Namespace(parser=parser))
        status = args.run(args)
        sys.stdout.flush()
        if listens:  # what libraries do at the exit is of no use to who wants out
            signal.signal(signal.SIGINT, lambda *_: os._exit(130))
        return status
    except BrokenPipeError:  # who read the output has left, as `head` does; nobody is there to be told
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, ImportError, OSError, MemoryError) as error:
        if os.environ.get("PRH_DEBUG"):
            raise
        print(error_line(command, error, sys.stderr), file=sys.stderr)
        return 2
    except RuntimeError as error:
        if os.environ.get("PRH_DEBUG") or not any(words in str(error) for words in _OUT_OF_MEMORY):
            raise
        reason = (
            f"the system gave no more memory or threads ({error}). Raise the limit (ulimit -v, ulimit -u, or that of "
            "the batch system) or lower --memory, and run the same again. What was written is kept."
        )
        print(error_line(command, reason, sys.stderr), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if argv is None:
            _leave(command)
        print(_INTERRUPTED.format(command), file=sys.stderr)
        return 130


def _interrupted(command: str, frame: Any) -> None:
    """Ctrl-C: KeyboardInterrupt, so that what is half-written is removed; while modules are imported, the end at once.

    An import in a library's compiled code would make another error of it, or print it and go on.
    """
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            _leave(command)
        frame = frame.f_back
    raise KeyboardInterrupt


def _leave(command: str) -> NoReturn:
    """Say that the command was interrupted, and end at once.

    Threads of the numerics are still at work, and an orderly end would pull memory from under them.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(Exception):  # the signal may have come in the midst of a line
        sys.stdout.flush()
    os.write(2, (_INTERRUPTED.format(command) + "\n").encode())
    os._exit(130)


def _dashed(word: str) -> str:
    """The reference spells its options with underscores; both spellings work."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    formatter = help_formatter(sys.stdout)
    parser = Parser(
        prog="prh",
        description="Measure how similar the representations of neural networks are: every layer of every model pair.",
        epilog=EPILOG,
        formatter_class=formatter,
    )
    parser.add_argument("--version", action="version", version=f"prh-jax {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, (summary, body) in command_table().items():
        command = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog=body.EPILOG,
            usage=getattr(body, "USAGE", None),
            formatter_class=formatter,
        )
        body.add_arguments(command)
        command.set_defaults(run=body.run)
    return parser


def overview() -> str:
    """Help that `prh` alone prints: the commands of a first day."""
    table = command_table()
    lines = [f"  {name:11s} {table[name][0]}" for name in FIRST]
    return "\n".join(
        [
            f"prh-jax {__version__}: how similar are the representations of neural networks?",
            "",
            *lines,
            "",
            "Start with prh demo --quick. All commands: prh --help. Options and examples of one: prh COMMAND --help.",
        ]
    )


def command_table() -> dict[str, tuple[str, Any]]:
    """Every command, in the order of `prh --help`: what it does in a line, and its file.

    A file has EPILOG, `add_arguments(parser)` and `run(args)`, and imports nothing heavy until it runs: help and
    completion come at once.
    """
    from . import (
        align,
        bench,
        calibrate,
        completion,
        demo,
        describe,
        doctor,
        export,
        finish,
        inspect,
        merge,
        metrics,
        pack,
        plan,
        report,
        show,
        unpack,
    )
    from .siblings import sibling

    sibling("extractors")
    from extractors.cli import extract, importing

    return {
        "extract": ("write every layer of every model to feature stores", extract),
        "align": ("score all layer pairs of all model pairs", align),
        "finish": ("complete stores or results that several workers wrote", finish),
        "import": ("convert files of features into stores", importing),
        "pack": ("check a feature store and pack it into one file", pack),
        "unpack": ("unpack a packed store and check it", unpack),
        "plan": ("estimate the bytes, memory and time of a study", plan),
        "calibrate": ("test a result against chance: p, q, calibrated scores", calibrate),
        "describe": ("estimate the dimension of every layer of feature stores", describe),
        "show": ("print a result: its origin and its tables", show),
        "export": ("write a result as csv, parquet, netCDF, Markdown or LaTeX", export),
        "report": ("write a result as one HTML file", report),
        "merge": ("join results of several runs", merge),
        "inspect": ("check a store or result: contents, completeness, checksums", inspect),
        "metrics": ("list the metrics: settings, range, symmetry, source", metrics),
        "demo": ("compare vision networks with a language model, in a few minutes", demo),
        "doctor": ("check this installation: versions, devices, metrics", doctor),
        "completion": ("print a script for your shell's completion of commands, options and metrics", completion),
        "bench": ("measure speed and accuracy (in a checkout)", bench),
    }


if __name__ == "__main__":
    sys.exit(main())
