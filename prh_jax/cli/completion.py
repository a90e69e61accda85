"""`prh completion`: a script with which a shell completes commands, options, their choices, metrics and files."""

import argparse

import shtab

from .._names import METRIC_NAMES

EPILOG = """\
examples:
  prh completion bash > ~/.local/share/bash-completion/completions/prh
  prh completion zsh > ~/.zfunc/_prh          a folder of zsh's fpath
"""
_WORDS = " ".join([*METRIC_NAMES, "prh", "all"])
_METRICS = {"bash": "_prh_metrics", "zsh": f"({_WORDS})", "tcsh": f"({_WORDS})"}
_PREAMBLE = {"bash": f'_prh_metrics() {{ compgen -W "{_WORDS}" -- "$1"; }}'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prh completion`."""
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="which shell the script is for")


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    print(script(args.parser, args.shell))
    return 0


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for a shell: it is independent and starts no Python."""
    for action in _actions(parser):
        if action.dest == "metric":
            action.complete = _METRICS  # type: ignore[attr-defined]
        elif action.nargs != 0 and not action.choices and action.type is None:
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # as shells do for any word
    return shtab.complete(parser, shell, preamble=_PREAMBLE.get(shell, ""))


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    found = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found += [inner for sub in action.choices.values() for inner in _actions(sub)]
        else:
            found.append(action)
    return found
