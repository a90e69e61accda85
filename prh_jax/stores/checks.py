"""Sample ids: unique within a store, equal in all stores that are compared."""

import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import NotRealError, real_numbers
from ..errors import MismatchError, StoreError


def lines_of(path: str | Path, option: str) -> list[str]:
    """The lines of a text file that has one for each sample; StoreError where it cannot be read."""
    try:
        text = Path(path).read_text("utf-8-sig").removesuffix("\n")  # which reads other line ends as line feeds
        return text.split("\n") if text else []
    except (OSError, UnicodeDecodeError) as error:
        why = "it is no text in UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror or error
        raise StoreError(
            f"{option} {path} cannot be read: {why}. It is the path of a text file with a line for each sample."
        ) from error


def check_ids(ids: Iterable[Any] | None) -> list[str]:
    """The ids as a list of strings; StoreError where two are equal, one is missing, or there are none."""
    if isinstance(ids, str | bytes | set | frozenset):
        what = "one text" if isinstance(ids, str | bytes) else "a set, which has no order"
        raise StoreError(f"The ids are {what}; give a list with the id of each sample, in the order of the rows.")
    if ids is not None and (hasattr(ids, "columns") or hasattr(ids, "read") or not _iterates(ids)):
        raise StoreError(
            f"The ids are a {type(ids).__name__}; give a list with the id of each sample, such as a column of a table "
            "or the lines of a file."
        )
    given = list(ids) if ids is not None else []
    missing = [row for row, value in enumerate(given) if _is_missing(value)]
    if missing:
        raise StoreError(
            f"{len(missing)} of {len(given)} samples have no id, such as row {missing[0]} ({given[missing[0]]}). Ids "
            "pair the samples of two models: give every sample one, or leave those samples out."
        )
    ids = [as_text(row, value) for row, value in enumerate(given)]
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


def _iterates(ids: Any) -> bool:
    try:
        iter(ids)
    except TypeError:
        return False
    return True


def _is_missing(value: Any) -> bool:
    """Whether an id is None, empty, NaN, a masked value, or pandas' NA, which is neither equal to itself nor not."""
    if isinstance(value, str) or value is None or value is np.ma.masked:
        return not value or value is np.ma.masked
    try:
        return bool(np.ndim(value) == 0 and value != value)
    except TypeError:
        return True


def as_text(row: int, value: Any) -> str:
    """An id as text that can be stored; StoreError where there is no such text."""
    if hasattr(value, "item") and np.ndim(value) == 0 and not isinstance(value, np.datetime64):
        value = value.item()  # of an array: str() shows its type
    if not isinstance(value, str | bytes) and (isinstance(value, list | tuple | dict | set) or np.ndim(value) > 0):
        raise StoreError(f"The id of row {row} is a {type(value).__name__}: {value!r:.60}. Ids are texts or numbers.")
    if type(value).__str__ is object.__str__ and type(value).__repr__ is object.__repr__:
        raise StoreError(f"The id of row {row} is {value!r:.60}, which names no sample. Ids are texts or numbers.")
    try:
        text = value.decode() if isinstance(value, bytes) else str(value)
        text.encode()
    except UnicodeError as error:
        raise StoreError(
            f"The id of row {row} is no text in UTF-8: {value!r:.60}. Names of files written in another encoding are "
            "such: rename them, or give ids of your own."
        ) from error
    return text


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
        name, other = repr(a[row]), repr(b[row])
        if unicodedata.normalize("NFC", a[row]) == unicodedata.normalize("NFC", b[row]):
            kind = (
                "ids that look alike and are spelled with other Unicode characters (composed in the one, not the other)"
            )
            name, other = ascii(a[row]), ascii(b[row])
            way_out = (
                "Spell them alike, or score them by `align` with normalize_ids=True (`prh align --normalize-ids`)."
            )
        raise MismatchError(
            f"{name_a} and {name_b} hold {kind}: row {row} is sample {name} in the one and {other} in the other, and "
            f"scores would pair unrelated samples. {way_out}"
        )
