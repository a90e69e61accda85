"""Where a store is: a local folder, an archive of one file, or a URL that fsspec reads."""

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import zarr
from zarr.abc.store import SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import FsspecStore, ZipStore


@dataclass(frozen=True)
class Url:
    """The address of a store that is not on a local disk, with the few words of a path that stores are asked for."""

    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def name(self) -> str:
        return PurePosixPath(self.text).name

    @property
    def stem(self) -> str:
        return PurePosixPath(self.text).stem

    def resolve(self) -> "Url":
        """Itself: it is absolute."""
        return self


def is_url(path: Any) -> bool:
    """Whether a path names a file system by a scheme, such as s3://bucket/m.zarr."""
    return isinstance(path, Url) or (re.match(r"[a-z][a-z0-9+.-]+:", str(path)) is not None and "://" in str(path))


def is_archive(path: Path) -> bool:
    """Whether a path is a store packed into one file."""
    return path.suffix == ".zip" and path.is_file()


def open_group(where: Path | Url, storage_options: Mapping[str, Any] | None = None) -> zarr.Group:
    """The Zarr group at a place, for reading."""
    if isinstance(where, Url):
        store: Any = FsspecStore.from_url(str(where), storage_options=dict(storage_options or {}), read_only=True)
    else:
        store = ZipStore(where, mode="r") if where.is_file() else where
    return zarr.open_group(store, mode="r", zarr_format=3)


def tails(where: Path | Url, group: zarr.Group, names: Sequence[str], size: int) -> list[bytes | None]:
    """The last bytes of some files of a store; None for one that cannot be read."""
    if isinstance(where, Path) and where.is_dir():
        return [_tail(where / name, size) for name in names]

    async def fetch(part: Sequence[str]) -> list[Any]:
        prototype, request = default_buffer_prototype(), SuffixByteRequest(size)
        return await asyncio.gather(*(group.store.get(name, prototype, byte_range=request) for name in part))

    found: list[bytes | None] = []
    for start in range(0, len(names), 256):
        # a server that knows no ranges sends all of it
        found += [b and b.to_bytes()[-size:] for b in sync(fetch(names[start : start + 256]))]
    return found


def _tail(path: Path, size: int) -> bytes | None:
    try:
        with open(path, "rb") as file:
            file.seek(-size, os.SEEK_END)
            return file.read()
    except OSError:
        return None
