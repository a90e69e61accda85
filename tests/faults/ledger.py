"""Counts what came of each fault: refused in plain words, without consequence, or wrong."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from prh_jax import StoreError

OUTCOMES = ("refused", "unchanged", "wrong")


class Kind:
    """One kind of fault as it is tried.

    Attributes
    ----------
    counts
        How often each outcome came.
    wrong
        What was wrong, in words.
    """

    def __init__(self):
        self.counts, self.wrong = Counter(), []

    def judge(self, what: str, use: Callable[[], Any], expected: Any) -> str:
        """Use what was damaged: a StoreError of one paragraph, or the undamaged value, or it is wrong."""
        try:
            found = use()
        except StoreError as error:
            words = str(error)
            clear = len(words) > 20 and "\n\n" not in words.strip() and "Traceback" not in words
            return self.note("refused" if clear else "wrong", f"{what}: unclear words {words!r}")
        except Exception as error:  # whatever else comes out is a crash
            return self.note("wrong", f"{what}: {type(error).__name__}: {error}")
        return self.note("unchanged" if found == expected else "wrong", f"{what}: other contents were accepted")

    def note(self, outcome: str, what: str) -> str:
        """Count an outcome that the caller judged."""
        assert outcome in OUTCOMES
        self.counts[outcome] += 1
        if outcome == "wrong":
            self.wrong.append(what)
        return outcome


class Ledger:
    """All kinds, in the order in which they were tried."""

    def __init__(self):
        self.kinds: dict[str, Kind] = {}

    @contextlib.contextmanager
    def kind(self, name: str) -> Iterator[Kind]:
        """Try faults of a kind: AssertionError in the end where one was wrong, or where none was tried."""
        kind = self.kinds.setdefault(name, Kind())
        before = len(kind.wrong)
        yield kind
        assert kind.counts.total(), f"{name}: nothing was tried"
        new = kind.wrong[before:]
        assert not new, f"{name}: {len(new)} wrong, such as\n" + "\n".join(new[:8])

    def table(self) -> list[str]:
        """A line for each kind, and one of the sums."""
        rows = [(name, kind.counts) for name, kind in self.kinds.items()]
        rows.append(("all", sum((counts for _, counts in rows), Counter())))
        width = max(len(name) for name, _ in rows)
        lines = [f"{'kind of fault':<{width}} {'tried':>7} " + " ".join(f"{name:>10}" for name in OUTCOMES)]
        for name, counts in rows:
            numbers = " ".join(f"{counts[outcome]:>10}" for outcome in OUTCOMES)
            lines.append(f"{name:<{width}} {counts.total():>7} {numbers}")
        return lines


LEDGER = Ledger()
