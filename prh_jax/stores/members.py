"""The files that a feature store is made of: their names, and how large each can be, as its own records say."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import CorruptError
from .layout import DTYPES

ROOT = "zarr.json"
LARGEST_RECORD = 1 << 26
"""Bytes of a zarr.json: that of a store with a hundred thousand layers has less."""
TEXT, TEXT_COMPRESSED = 1 << 16, 1 << 10
"""Bytes of an id of a sample or name of a layer, in the mean of an array; less where an archive compresses it."""
_CHECKSUM = 4


@dataclass(frozen=True)
class _Array:
    """Record of an array: its shape, its chunks, and bytes of a value (None of a text)."""

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    item: int | None

    @property
    def grid(self) -> tuple[int, ...]:
        """Chunks along each axis."""
        return tuple(-(-size // chunk) for size, chunk in zip(self.shape, self.chunks, strict=True))

    def chunk_bytes(self, text: int) -> int:
        """The most bytes of a chunk, which ends with a checksum; a text begins with its length, and so do all of it."""
        return math.prod(self.chunks) * (4 + text if self.item is None else self.item) + 4 + _CHECKSUM


class Members:
    """Decides which files are part of a store.

    Parameters
    ----------
    read
        From the name of a file of the store, such as `sample/zarr.json`, to its bytes. KeyError or FileNotFoundError
        where there is none.
    """

    def __init__(self, read: Callable[[str], bytes]):
        self._read = read
        try:
            layers = json.loads(read(ROOT))["attributes"]["layers"]
            self._features = {layer["array"]: int(layer["dim"]) for layer in layers}
        except (KeyError, FileNotFoundError, ValueError, TypeError) as error:
            raise CorruptError(f"it is not a feature store: its {ROOT} lists no layers ({error!r}).") from error
        self._known: dict[str, _Array | None] = {}

    def limit(self, name: str, *, compressed: bool = False) -> int | None:
        """The most bytes that the file of this name can have; None where it is no part of a store."""
        if name == ROOT:
            return LARGEST_RECORD
        first, *rest = name.split("/")
        array = self._array(first) if rest else None
        if array is None:
            return None
        if rest == [ROOT]:
            return LARGEST_RECORD
        if rest[0] != "c" or len(rest) != 1 + len(array.grid):
            return None
        if not all(_is_index(text, count) for text, count in zip(rest[1:], array.grid, strict=True)):
            return None
        return array.chunk_bytes(TEXT_COMPRESSED if compressed else TEXT)

    def _array(self, name: str) -> _Array | None:
        if name not in self._known:
            self._known[name] = self._found(name)
        return self._known[name]

    def _found(self, name: str) -> _Array | None:
        """The array of this name, if it is one of a store: features, or of one dimension with a value a sample."""
        if name in ("", ".", "..") or "\\" in name:
            return None
        try:
            array = _parsed(self._read(f"{name}/{ROOT}"))
        except (KeyError, FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, TypeError) as error:
            raise CorruptError(f"its record {name}/{ROOT} cannot be used ({error}).") from error
        if name in ("sample", "layer", "done"):
            return array if len(array.shape) == 1 else None
        samples = self._array("sample")
        if samples is None:
            return None
        if name in self._features:
            return array if array.shape[1:] == (*samples.shape, self._features[name]) else None
        return array if array.shape == samples.shape and array.item is not None else None


def _is_index(text: str, count: int) -> bool:
    """Whether a part of a name is the number of one of a number of chunks, as Zarr writes it."""
    return text.isascii() and text.isdecimal() and len(text) < 20 and text == str(int(text)) and int(text) < count


def _parsed(record: bytes) -> _Array:
    """Contents of an array's record; ValueError for one as no store has."""
    try:
        said = json.loads(record)
        grid, keys, kind = said["chunk_grid"], said["chunk_key_encoding"], said["data_type"]
        shape, chunks = tuple(said["shape"]), tuple(grid["configuration"]["chunk_shape"])
        usual = said["node_type"] == "array" and grid["name"] == "regular" and keys["name"] == "default"
        separator = keys.get("configuration", {}).get("separator", "/")
    except (KeyError, AttributeError) as error:
        raise ValueError(f"it has no usable {error}") from error
    whole = all(type(size) is int and size > 0 for size in (*shape, *chunks))
    if not (usual and separator == "/" and whole and len(shape) == len(chunks) > 0):
        raise ValueError("it is not that of an array of a feature store")
    if kind == "string":
        return _Array(shape, chunks, None)
    return _Array(shape, chunks, (DTYPES[kind] if kind in DTYPES else np.dtype(kind)).itemsize)
