"""Colours of help and errors, where somebody reads them on a terminal."""

import argparse
import os
import sys
from typing import Any, ClassVar, NoReturn

RED, PLAIN = "\033[1;31m", "\033[0m"


def in_color(stream: Any) -> bool:
    """Return whether a stream is a terminal that shows colours; `NO_COLOR` and `TERM=dumb` say no."""
    shown = stream is not None and stream.isatty()
    return shown and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def error_line(command: str, error: Any, stream: Any) -> str:
    """Return the line that reports an error, red as far as the colon on a terminal."""
    start = f"prh {command}: error:" if command else "prh: error:"
    return f"{RED}{start}{PLAIN} {error}" if in_color(stream) else f"{start} {error}"


def help_formatter(stream: Any) -> Any:
    """Return the class that formats help: by rich on a terminal, else that of argparse.

    Paragraphs and examples keep their lines. Square brackets are text, as in `pip install "prh-jax[extract]"`.
    """
    if not in_color(stream):
        return argparse.RawDescriptionHelpFormatter
    from rich_argparse import RawDescriptionRichHelpFormatter

    class Formatter(RawDescriptionRichHelpFormatter):
        text_markup = help_markup = False
        styles: ClassVar[dict[str, Any]] = RawDescriptionRichHelpFormatter.styles | {"argparse.groups": "bold"}

    return Formatter


class Parser(argparse.ArgumentParser):
    """A parser whose errors are coloured as all others of `prh`."""

    def error(self, message: str) -> NoReturn:
        """Print usage and the error, and exit with status 2."""
        self.print_usage(sys.stderr)
        command = self.prog.partition(" ")[2]
        self.exit(2, error_line(command, message, sys.stderr) + "\n")
