"""Sample ids: unique within a store, equal in all stores that are compared."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import NotRealError, real_numbers
from ..errors import MismatchError, StoreError


def lines_of(path: str | Path, option: str) -> list[str]:
    """The lines of a text file that has one for each sample; StoreError where it cannot be read."""
    try:
        return Path(path).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = "it is no text in UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror or error
        raise StoreError(
            f"{option} {path} cannot be read: {why}. It is the path of a text file with a line for each sample."
        ) from error


def check_ids(ids: Sequence[Any]) -> list[str]:
    """The ids as a list of strings; StoreError where two are equal, one is missing, or there are none."""
    given = list(ids) if ids is not None else []
    missing = [row for row, value in enumerate(given) if value is None or value != value]
    if missing:
        raise StoreError(
            f"{len(missing)} of {len(given)} samples have no id, such as row {missing[0]} ({given[missing[0]]}). Ids "
            "pair the samples of two models: give every sample one, or leave those samples out."
        )
    ids = [value.decode() if isinstance(value, bytes) else str(value) for value in given]
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


def check_real(layer: str, features: Any) -> np.ndarray:
    """The features of a layer as an array; StoreError where they are no real numbers."""
    try:
        return np.asarray(real_numbers(features))
    except NotRealError as error:
        raise StoreError(f"Layer {layer!r} holds {error}. Features are real numbers.") from error


def check_same_samples(
    name_a: str,
    a: Sequence[str],
    name_b: str,
    b: Sequence[str],
    way_out: str = "Extract both from the same data set, in the same order.",
) -> None:
    """StoreError unless both hold the same samples in the same order; it names the first row that differs."""
    if len(a) != len(b):
        raise MismatchError(f"{name_a} has {len(a)} samples but {name_b} has {len(b)}. {way_out}")
    if list(a) != list(b):
        row = next(i for i, (p, q) in enumerate(zip(a, b, strict=True)) if p != q)
        kind = "the same ids in another order" if set(a) == set(b) else "other ids"
        if unicodedata.normalize("NFC", a[row]) == unicodedata.normalize("NFC", b[row]):
            kind = (
                "ids that look alike and are spelled with other Unicode characters (composed in the one, not the other)"
            )
        raise MismatchError(
            f"{name_a} and {name_b} hold {kind}: row {row} is sample {a[row]!r} in the one and {b[row]!r} in the "
            f"other, and scores would pair unrelated samples. {way_out}"
        )
