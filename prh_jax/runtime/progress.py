"""Progress on standard error: what a loop has done, and how long it will still take."""

import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm.auto import tqdm

Item = TypeVar("Item")


def progress(items: Iterable[Item], what: str, unit: str) -> Iterable[Item]:
    """The items, with a bar where standard error is a terminal: it comes after a second, and leaves at the end."""
    return tqdm(items, desc=what, unit=f" {unit}", disable=None, leave=False, delay=1)


def report_progress(text: str, quiet: bool | None) -> None:
    """A line on standard error, unless progress was switched off."""
    if not quiet:
        print(text, file=sys.stderr)
