"""Stores of partly the same samples, cut down to those that all of them hold."""

import hashlib
from collections.abc import Sequence

import numpy as np

from ..errors import MismatchError
from .layout import sha256_json
from .source import ModelSource


class PairedStore:
    """Some rows of a store, in a given order, as a ModelSource of their own."""

    def __init__(self, store: ModelSource, ids: Sequence[str]):
        place = {key: row for row, key in enumerate(store.ids)}
        self._whole, self._rows = store, np.array([place[key] for key in ids], np.int64)
        self.ids, self.ids_sha256 = list(ids), sha256_json(list(ids))
        self.path, self.spec, self.spec_sha256, self.result = store.path, store.spec, store.spec_sha256, store.result
        self.layers, self.dtype = store.layers, store.dtype

    @property
    def n(self) -> int:
        """Number of paired samples."""
        return len(self.ids)

    @property
    def model(self) -> str:
        """The model's name."""
        return self._whole.model

    @property
    def nbytes(self) -> int:
        """Bytes of the paired samples' features, as stored."""
        return self.n * self.dtype.itemsize * sum(layer.dim for layer in self.layers)

    def read_layer(self, layer: int, rows: slice = slice(None)) -> np.ndarray:
        """Features (n, d) of one layer, or some rows of them, as paired."""
        span, chosen = self._span(rows)
        return self._whole.read_layer(layer, span)[chosen]

    def read_rows(self, rows: slice) -> list[np.ndarray]:
        """Features of some paired samples, an array (rows, d) per layer."""
        span, chosen = self._span(rows)
        return [part[chosen] for part in self._whole.read_rows(span)]

    def _span(self, rows: slice) -> tuple[slice, np.ndarray]:
        """The range of the whole store that holds some paired rows, and their places in it."""
        chosen = self._rows[rows]
        low, high = (int(chosen.min()), int(chosen.max()) + 1) if len(chosen) else (0, 0)
        return slice(low, high), chosen - low

    def checksum(self) -> str:
        """That of the whole store, with the samples that were chosen."""
        return hashlib.sha256(f"{self._whole.checksum()} {self.ids_sha256}".encode()).hexdigest()


def pair_inner(xs: list[ModelSource], ys: list[ModelSource]) -> tuple[list[ModelSource], list[ModelSource]]:
    """All stores cut down to the samples that every one of them holds, in the order of the first; StoreError if none.

    xs and ys may be one list, and stay one.
    """
    stores = [*xs, *ys]
    common = set(stores[0].ids).intersection(*(store.ids for store in stores[1:]))
    ids = [key for key in stores[0].ids if key in common]
    if not ids:
        other = next(store for store in stores if not set(store.ids) & set(stores[0].ids)) if len(stores) > 1 else xs[0]
        raise MismatchError(
            f"{xs[0].path} (samples such as {xs[0].ids[0]!r}) and {other.path} (such as {other.ids[0]!r}) share no "
            "sample, or no sample is in all stores: nothing can be paired by id."
        )

    def cut(side: list[ModelSource]) -> list[ModelSource]:
        return [store if store.ids == ids else PairedStore(store, ids) for store in side]

    paired = cut(xs)
    return paired, paired if ys is xs else cut(ys)
