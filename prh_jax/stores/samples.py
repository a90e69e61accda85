"""The samples of a study chosen among those that its stores hold; the stores stay as they are."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MismatchError
from .checks import lines_of
from .paired import PairedStore
from .source import ModelSource

Samples = Iterable[Any] | slice | str | Path
"""Ids, a mask (n,) of booleans, a slice of rows, or a text file with an id on each line."""


def choose_rows(
    ids: Sequence[str],
    samples: Samples | None,
    exclude: Samples | None,
    known: Iterable[str] = (),
    *,
    normalize_ids: bool = False,
) -> np.ndarray:
    """The rows of the samples that are kept, in the order that they have.

    Parameters
    ----------
    ids
        Of all samples, in order.
    samples, exclude
        Those to keep, and those to leave out of them; all and none if None.
    known
        Further ids that may be named though they are not among `ids`: of samples that some store lacks.
    normalize_ids
        Compare ids in Unicode's composed form.

    Raises
    ------
    MismatchError
        If a sample is named that nobody knows.
    ValueError
        If a mask has another length, or no sample is left.
    """
    form = (lambda key: unicodedata.normalize("NFC", key)) if normalize_ids else str
    everyone = {*map(form, known), *ids}
    kept = np.ones(len(ids), bool)
    for word, given in (("samples", samples), ("exclude", exclude)):
        if given is not None:
            chosen = _mask(word, given, ids, everyone, form)
            kept &= chosen if word == "samples" else ~chosen
    if not kept.any():
        raise ValueError(f"samples= and exclude= leave none of the {len(ids)} samples.")
    return np.flatnonzero(kept)


def _mask(word: str, given: Samples, ids: Sequence[str], known: set[str], form: Any) -> np.ndarray:
    """Which samples are named."""
    mask = np.zeros(len(ids), bool)
    if isinstance(given, slice):
        mask[given] = True
        return mask
    if isinstance(given, str | Path):
        given = [line.strip() for line in lines_of(given, f"{word}=")]
        given = [line for line in given if line]
    if isinstance(given, Mapping) or not isinstance(given, Iterable):
        raise ValueError(f"{word}= is ids, a mask of booleans, a slice or a file of ids, got {given!r:.60}.")
    named = np.asarray(given if hasattr(given, "dtype") else list(given))
    if named.dtype == bool:
        if named.shape != mask.shape:
            raise ValueError(f"The mask {word}= has shape {named.shape}, and there are {len(ids)} samples.")
        return named
    texts = [form(str(key)) for key in named.tolist()]
    if len(set(texts)) < len(texts):
        twice = next(key for i, key in enumerate(texts) if key in texts[:i])
        raise ValueError(
            f"{word}= names sample {twice!r} more than once. Give each id once; a mask is an array of booleans."
        )
    unknown = [key for key in texts if key not in known]
    if unknown:
        raise MismatchError(
            f"{len(unknown)} of the {len(texts)} samples of {word}= are in no store, such as {unknown[0]!r}; the "
            f"stores hold samples such as {ids[0]!r}. Rows are named by a slice or a mask of booleans."
        )
    wanted = set(texts)
    return np.fromiter((key in wanted for key in ids), bool, len(ids))


def keep_rows(
    xs: list[ModelSource], ys: list[ModelSource], rows: np.ndarray
) -> tuple[list[ModelSource], list[ModelSource]]:
    """The stores of both sides cut down to some rows; they may be one list, and stay one."""
    chosen = rows.tolist()

    def cut(side: list[ModelSource]) -> list[ModelSource]:
        return [PairedStore(store, [store.ids[row] for row in chosen], chosen) for store in side]

    kept = cut(xs)
    return kept, kept if ys is xs else cut(ys)


def row_runs(rows: np.ndarray) -> list[list[int]]:
    """Rising rows as ranges [start, stop): what a result records of them."""
    breaks = np.flatnonzero(np.diff(rows) > 1) + 1
    return [[int(part[0]), int(part[-1]) + 1] for part in np.split(rows, breaks)]


def mask_of_runs(of: int, rows: Sequence[Sequence[int]]) -> np.ndarray:
    """The mask (of,) of ranges of rows that `row_runs` gives."""
    mask = np.zeros(of, bool)
    for start, stop in rows:
        mask[start:stop] = True
    return mask
