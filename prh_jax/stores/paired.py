"""Stores of partly the same samples, cut down to those that all of them hold."""

import hashlib
from collections.abc import Sequence

import numpy as np

from ..errors import StoreError
from .layout import sha256_json
from .reader import FeatureStore


class PairedStore(FeatureStore):
    """Some rows of a store, in a given order, as a store of their own."""

    def __init__(self, store: FeatureStore, ids: Sequence[str]):
        self.__dict__.update(store.__dict__)
        place = {key: row for row, key in enumerate(store.ids)}
        self._whole, self._rows = store, np.array([place[key] for key in ids], np.int64)
        self.ids, self.ids_sha256 = list(ids), sha256_json(list(ids))

    def problems(self) -> list[str]:
        """Those of the whole store."""
        return self._whole.problems()

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

    def sample_array(self, name: str) -> np.ndarray:
        """One number per paired sample."""
        return self._whole.sample_array(name)[self._rows]

    def checksum(self) -> str:
        """That of the whole store, with the samples that were chosen."""
        return hashlib.sha256(f"{self._whole.checksum()} {self.ids_sha256}".encode()).hexdigest()


def pair_inner(xs: list[FeatureStore], ys: list[FeatureStore]) -> tuple[list[FeatureStore], list[FeatureStore]]:
    """All stores cut down to the samples that every one of them holds, in the order of the first; StoreError if none.

    xs and ys may be one list, and stay one.
    """
    stores = [*xs, *ys]
    common = set(stores[0].ids).intersection(*(store.ids for store in stores[1:]))
    ids = [key for key in stores[0].ids if key in common]
    if not ids:
        other = next(store for store in stores if not set(store.ids) & set(stores[0].ids)) if len(stores) > 1 else xs[0]
        raise StoreError(
            f"{xs[0].path} (samples such as {xs[0].ids[0]!r}) and {other.path} (such as {other.ids[0]!r}) share no "
            "sample, or no sample is in all stores: nothing can be paired by id."
        )

    def cut(side: list[FeatureStore]) -> list[FeatureStore]:
        return [store if store.ids == ids else PairedStore(store, ids) for store in side]

    paired = cut(xs)
    return paired, paired if ys is xs else cut(ys)
