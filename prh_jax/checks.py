"""Checks at the door, and the error that says what is wrong and the way out."""

import errno
import shutil
from collections.abc import Sequence
from pathlib import Path


class StoreError(ValueError):
    """A store cannot be read or written as asked; the message says what is wrong and the way out."""


def check_ids(ids: Sequence[str]) -> list[str]:
    """The ids as a list of strings; StoreError where two are equal or there are none."""
    ids = [str(i) for i in ids] if ids is not None else []
    if not ids:
        raise StoreError("A feature store needs at least one sample; the list of ids is empty.")
    if len(set(ids)) != len(ids):
        seen: set[str] = set()
        twice = next(i for i in ids if i in seen or seen.add(i))
        raise StoreError(
            f"Sample id {twice!r} occurs twice among {len(ids)} ids; ids pair the samples of two models, so each must "
            "be unique. Rename or drop the duplicates."
        )
    return ids


def check_same_samples(
    name_a: str,
    a: Sequence[str],
    name_b: str,
    b: Sequence[str],
    way_out: str = "Extract both from the same data set, in the same order.",
) -> None:
    """StoreError unless both hold the same samples in the same order; it names the first row that differs."""
    if len(a) != len(b):
        raise StoreError(f"{name_a} has {len(a)} samples but {name_b} has {len(b)}. {way_out}")
    if list(a) != list(b):
        row = next(i for i, (p, q) in enumerate(zip(a, b, strict=True)) if p != q)
        kind = "the same ids in another order" if set(a) == set(b) else "other ids"
        raise StoreError(
            f"{name_a} and {name_b} hold {kind}: row {row} is sample {a[row]!r} in the one and {b[row]!r} in the "
            f"other, and scores would pair unrelated samples. {way_out}"
        )


def write_error(error: OSError, path: Path) -> StoreError:
    """What a failed write means for the user: a full disk and the way out, or the system's words."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(path.parent if path.parent.exists() else Path.cwd()).free
        return StoreError(
            f"The disk is full: {path} could not be written ({free / 2**20:.0f} MiB are free). Every block already "
            "marked done is safe; free some space and run the same command again to go on."
        )
    return StoreError(f"{path} could not be written: {error.strerror or error}. What was written before is kept.")
