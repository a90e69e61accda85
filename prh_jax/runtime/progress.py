"""Progress on standard error: what a loop has done, and how long it will still take.

On a terminal it is a bar. In a log it is a line every ten seconds, and none for what takes less.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from tqdm.auto import tqdm

Item = TypeVar("Item")

SECONDS = 10.0
"""Between two lines in a log, of one step or of several that follow each other."""
PAUSE = 2.0
"""Between two steps that follow each other, at most."""


def progress(
    items: Iterable[Item], what: str, unit: str, *, total: int | None = None, quiet: bool | None = None
) -> Iterator[Item]:
    """The items, with progress from the first second on; on a terminal it leaves at the end."""
    total = len(items) if total is None and hasattr(items, "__len__") else total  # type: ignore[arg-type]
    bar = progress_bar(what, unit, total, quiet=quiet, leave=False, delay=1)
    if isinstance(bar, _Lines):
        bar.by_thread = False  # which would go on where an error leaves the loop and somebody keeps its traceback
    with bar:
        for item in items:
            yield item
            bar.update()


def progress_bar(
    what: str,
    unit: str,
    total: int | None,
    *,
    initial: int = 0,
    quiet: bool | None = None,
    leave: bool = True,
    delay: float = 0,
) -> Any:
    """A context manager whose `update(count=1)` reports progress.

    Parameters
    ----------
    what, unit, total, initial
        Name of the work, its unit, how many there are (None if it is not known), and how many were done before.
    quiet
        True for none.
    leave, delay
        Of the bar on a terminal: whether it stays at the end, and after how many seconds it comes.
    """
    if quiet or not _is_log():
        return tqdm(
            total=total, initial=initial, desc=what, unit=f" {unit}", disable=bool(quiet), leave=leave, delay=delay
        )
    return _Lines(what, unit, total, initial)


def waiting(what: str) -> contextlib.AbstractContextManager[Any]:
    """While it lasts, a line every ten seconds where standard error is a log: for steps that tell of no progress."""
    return _Lines(what, "", None, 0) if _is_log() else contextlib.nullcontext()


def _is_log() -> bool:
    """Whether what standard error is given is kept, and nobody watches a bar."""
    return sys.stderr is not None and not sys.stderr.isatty()


class _Lines:
    """Progress as lines. A thread prints them, so that a step that takes long is seen to go on, or else `update`."""

    by_thread = True
    since = ended = float("-inf")
    """Of all steps: when the log was written to last, or the first of the steps began; when the last of them ended."""

    def __init__(self, what: str, unit: str, total: int | None, initial: int):
        self.what, self.unit, self.total, self.initial = what, unit, total, initial
        self.done, self.printed = initial, False
        self._over = threading.Event()

    def __enter__(self) -> "_Lines":
        self.start = time.monotonic()
        if self.start - _Lines.ended > PAUSE:
            _Lines.since = self.start
        if self.by_thread:
            self._thread = threading.Thread(target=self._print_on, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        if self.by_thread:
            self._over.set()
            self._thread.join()
        if self.printed:
            self._print()
        _Lines.ended = time.monotonic()

    def update(self, count: int = 1) -> None:
        self.done += count
        if not self.by_thread and self._due() <= 0:
            self._print()

    def _print_on(self) -> None:
        while not self._over.wait(max(self._due(), 0)):
            if self._due() <= 0:
                self._print()

    def _due(self) -> float:
        """Seconds until the next line."""
        return _Lines.since + SECONDS - time.monotonic()

    def _print(self) -> None:
        self.printed, _Lines.since = True, time.monotonic()
        print(f"{self.what}: {self._state()}", file=sys.stderr, flush=True)

    def _state(self) -> str:
        passed = time.monotonic() - self.start
        if not self.unit:
            return f"{_time(passed)} so far"
        if self.total is None:
            return f"{self.done:,} {self.unit} in {_time(passed)}"
        state = f"{self.done:,} of {self.total:,} {self.unit} in {_time(passed)}"
        new, left = self.done - self.initial, self.total - self.done
        return f"{state}, about {_time(passed * left / new)} left" if new > 0 and left > 0 else state


def _time(seconds: float) -> str:
    """12 s, 3 min or 2.5 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def report_progress(text: str, quiet: bool | None) -> None:
    """A line on standard error, unless progress was switched off."""
    if not quiet:
        print(text, file=sys.stderr)
