"""A whole store read and reported on."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import StoreError
from ..runtime.progress import progress
from .layout import blocks_of
from .reader import FeatureStore, open_store
from .url import Url


@dataclass(frozen=True)
class StoreReport:
    """Findings of `inspect_store`: sizes, whether all blocks are done, and every problem found."""

    store: FeatureStore
    blocks_done: int
    blocks: int
    problems: tuple[str, ...]
    bytes_on_disk: int

    @property
    def intact(self) -> bool:
        """Everything marked done reads back with a good checksum and no NaN, from its place."""
        return not self.problems


def inspect_store(path: str | Path | Url) -> StoreReport:
    """Read a whole store and report what it holds, whether it is complete, and whether it is intact.

    Parameters
    ----------
    path
        Path or URL of the store.

    Returns
    -------
    StoreReport
        The sizes, and every problem that was found.
    """
    store = open_store(path)
    done, problems = store.done(), store.problems()
    try:
        if store.complete:
            store.verify_contents()
    except StoreError as error:
        problems.append(str(error))
        store.read_unverified()
    for block in progress(np.flatnonzero(done), f"checking {store.model}", "blocks"):
        try:
            store.read_rows(blocks_of(store.n)[int(block)])
        except StoreError as error:
            problems.append(str(error))
    return StoreReport(store, int(done.sum()), len(done), tuple(problems), _size(store))


def _size(store: FeatureStore) -> int:
    """Bytes on disk; of a remote store those of its features, as its files are not listed."""
    if isinstance(store.path, Url):
        return store.nbytes
    if store.path.is_file():
        return store.path.stat().st_size
    return sum(os.path.getsize(os.path.join(d, f)) for d, _, files in os.walk(store.path) for f in files)
