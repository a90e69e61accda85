"""Samples of several stores paired by id: as they are, cut down to common ones, or spelled alike."""

import hashlib
import unicodedata
from collections.abc import Sequence

import numpy as np

from ..errors import MismatchError
from .checks import check_same_samples
from .layout import sha256_json
from .memory import MemoryStore
from .source import ModelSource


class PairedStore:
    """Some rows of a store, in a given order and under given ids, as a ModelSource of their own.

    A row may occur more than once. `own_ids` says whether the ids are those that the rows have in the store.
    """

    def __init__(self, store: ModelSource, ids: Sequence[str], rows: Sequence[int], *, own_ids: bool = True):
        self.whole, self._rows = store, np.array(rows, np.int64)
        self.ids, self.ids_sha256 = list(ids), sha256_json(list(ids))
        self.path, self.spec, self.spec_sha256, self.result = store.path, store.spec, store.spec_sha256, store.result
        self.layers, self.dtype = store.layers, store.dtype
        self._own_ids = own_ids
        self.by_position = getattr(store, "by_position", False)

    @property
    def n(self) -> int:
        """Number of paired samples."""
        return len(self.ids)

    @property
    def model(self) -> str:
        """The model's name."""
        return self.whole.model

    @property
    def nbytes(self) -> int:
        """Bytes of the paired samples' features, as stored."""
        return self.n * self.dtype.itemsize * sum(layer.dim for layer in self.layers)

    def read_layer(self, layer: int, rows: slice = slice(None)) -> np.ndarray:
        """Features (n, d) of one layer, or some rows of them, as paired."""
        span, chosen = self._span(rows)
        return self.whole.read_layer(layer, span)[chosen]

    def read_rows(self, rows: slice) -> list[np.ndarray]:
        """Features of some paired samples, an array (rows, d) per layer."""
        span, chosen = self._span(rows)
        return [part[chosen] for part in self.whole.read_rows(span)]

    def _span(self, rows: slice) -> tuple[slice, np.ndarray]:
        """The range of the whole store that holds some paired rows, and their places in it."""
        chosen = self._rows[rows]
        low, high = (int(chosen.min()), int(chosen.max()) + 1) if len(chosen) else (0, 0)
        return slice(low, high), chosen - low

    def checksum(self) -> str:
        """That of the whole store, with the samples that were chosen."""
        chosen = f"{self.whole.checksum()} {self.ids_sha256}"
        if not self._own_ids:  # else they tell which rows they are
            chosen += f" {hashlib.sha256(self._rows.tobytes()).hexdigest()}"
        return hashlib.sha256(chosen.encode()).hexdigest()


def is_in_memory(store: ModelSource) -> bool:
    """Whether the features of a store are in the memory of this process."""
    return is_in_memory(store.whole) if isinstance(store, PairedStore) else isinstance(store, MemoryStore)


def pair_stores(
    xs: list[ModelSource], ys: list[ModelSource], pair: str, normalize_ids: bool = False
) -> tuple[list[ModelSource], list[ModelSource]]:
    """Stores whose samples are the same in the same order; MismatchError where they cannot be paired so.

    Parameters
    ----------
    xs, ys
        The stores of both sides. They may be one list, and stay one.
    pair
        "exact": the stores hold the same samples in the same order. "inner": they are cut down to the samples that
        every one of them holds, in the order of the first.
    normalize_ids
        Compare ids in Unicode's composed form (NFC): what looks alike is one id.
    """
    if normalize_ids:
        xs, ys = normalize_sides(xs, ys)
    if pair == "inner":
        xs, ys = _pair_inner(xs, ys)
    for store in (*xs, *ys):
        check_same_samples(str(xs[0].path), xs[0].ids, str(store.path), store.ids)
    return xs, ys


def normalize_sides(xs: list[ModelSource], ys: list[ModelSource]) -> tuple[list[ModelSource], list[ModelSource]]:
    """The stores of both sides under ids in composed form; they may be one list, and stay one."""
    normalized = list(map(_normalized, xs))
    return normalized, normalized if ys is xs else list(map(_normalized, ys))


def _nfc(ids: Sequence[str]) -> list[str]:
    return [unicodedata.normalize("NFC", key) for key in ids]


def _normalized(store: ModelSource) -> ModelSource:
    """The store under ids in composed form; MismatchError where two of its ids become one."""
    ids = _nfc(store.ids)
    if ids == list(store.ids):
        return store
    if len(set(ids)) < len(ids):
        once: dict[str, int] = {}
        row = next(row for row, key in enumerate(ids) if once.setdefault(key, row) != row)
        first = once[ids[row]]
        raise MismatchError(
            f"{store.path} has samples {store.ids[first]!a} (row {first}) and {store.ids[row]!a} (row {row}), "
            "which are one id when ids are normalised: leave out normalize_ids (--normalize-ids), or rename them."
        )
    return PairedStore(store, ids, range(len(ids)))


def _pair_inner(xs: list[ModelSource], ys: list[ModelSource]) -> tuple[list[ModelSource], list[ModelSource]]:
    stores = [*xs, *ys]
    common = set(stores[0].ids).intersection(*(store.ids for store in stores[1:]))
    ids = [key for key in stores[0].ids if key in common]
    alike = set(_nfc(stores[0].ids)).intersection(*(_nfc(store.ids) for store in stores[1:])) - set(_nfc(ids))
    if alike:
        raise MismatchError(
            f"{len(alike)} samples, such as {next(iter(alike))!r}, are in all stores under ids that look alike and are "
            f"spelled with other Unicode characters (composed in some, not in others); {len(ids)} ids are equal. "
            "normalize_ids=True (--normalize-ids) pairs them by what they look like."
        )
    if not ids:
        other = next(store for store in stores if not set(store.ids) & set(stores[0].ids)) if len(stores) > 1 else xs[0]
        raise MismatchError(
            f"{xs[0].path} (samples such as {xs[0].ids[0]!r}) and {other.path} (such as {other.ids[0]!r}) share no "
            "sample, or no sample is in all stores: nothing can be paired by id."
        )

    def cut(side: list[ModelSource]) -> list[ModelSource]:
        return [store if store.ids == ids else PairedStore(store, ids, _rows(store, ids)) for store in side]

    paired = cut(xs)
    return paired, paired if ys is xs else cut(ys)


def _rows(store: ModelSource, ids: Sequence[str]) -> list[int]:
    place = {key: row for row, key in enumerate(store.ids)}
    return [place[key] for key in ids]
