"""numpy's own files; nothing is unpickled."""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import ExtractionError
from .found import IDS, Found, choose, ids_of, unreadable

_ERRORS = (ValueError, OSError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error, NotImplementedError)


def read_npy(source: Path, keys: Sequence[str] | None) -> Found:
    """The one array of a .npy file."""
    if keys is not None:
        raise ExtractionError(f"{source} holds one array, without a name: leave --key (keys=) out.")
    try:
        return Found({"": np.load(source, allow_pickle=False)})
    except _ERRORS as error:
        raise unreadable(source, "an array", error) from error


def read_npz(source: Path, keys: Sequence[str] | None) -> Found:
    """The arrays of an .npz file in its order, `ids` aside."""
    try:
        with np.load(source, allow_pickle=False) as content:
            names = choose(source, [name for name in content.files if name != IDS], keys)
            arrays = {name: content[name] for name in names}
            ids = content[IDS] if IDS in content.files else None
    except _ERRORS as error:
        if isinstance(error, ExtractionError):
            raise
        raise unreadable(source, "arrays", error) from error
    return Found(arrays, None if ids is None else ids_of(source, ids))
