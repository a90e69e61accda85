"""Where a store or result is: a local folder, an archive of one file, or a URL that fsspec reads and writes."""

import asyncio
import json
import os
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

import zarr
from zarr.abc.store import SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import FsspecStore, ZipStore

from ..errors import StoreError, write_error
from .url import FRESH, Url, url_error

Place = Path | Url

UNREADABLE = (ValueError, TypeError, OSError, RuntimeError, LookupError, ArithmeticError, MemoryError, EOFError)
UNREADABLE += (zipfile.BadZipFile, zlib.error)
"""Errors of Zarr, numpy and archives where a record says other than what is there, or what cannot be."""


def place(path: str | Path | Url) -> Place:
    """Where a path or URL of a user points; file:// is a path."""
    if isinstance(path, Url) or not is_url(path):
        return Path(path) if isinstance(path, str) else path
    local = local_path(str(path))
    return Url(str(path)) if local is None else Path(local)


def local_path(url: str) -> str | None:
    """The path that a file:// URL names, with %20 and the like decoded where no file is called so; None for others."""
    found = re.match(r"(file|local)://", url)
    if found is None:
        return None
    path = url[found.end() :]
    return path if os.path.lexists(path) else unquote(path)


def local_file(path: str | Path | Url) -> Path:
    """The path of a file to write; StoreError for a URL."""
    where = place(path)
    if isinstance(where, Url):
        raise StoreError(
            f"{where} is a URL, and this file is written to disk only: name a local path, and copy it there."
        )
    return where


@contextmanager
def writing(where: Place) -> Iterator[None]:
    """StoreError with the remedy for what goes wrong while something is written to a place."""
    try:
        yield
    except OSError as error:
        raise (url_error(error, where, "written") if isinstance(where, Url) else write_error(error, where)) from error
    except Exception as error:  # each file system has errors of its own
        if isinstance(where, Path):
            raise
        raise url_error(error, where, "written") from error


def remove(where: Place) -> None:
    """Remove what is at a place, with all below it, as far as that can be done: another process may be at it too."""
    if isinstance(where, Path):
        shutil.rmtree(where, ignore_errors=True)
        return
    with suppress(StoreError, OSError):
        where.remove()


def schema_of(where: Place) -> str | None:
    """The schema that a Zarr group declares; None where there is none to read."""
    record = where / "zarr.json"
    if isinstance(record, Path) and not record.is_file():  # a pipe of that name would be waited for
        return None
    try:
        return json.loads(record.read_text())["attributes"]["schema"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_url(path: Any) -> bool:
    """Whether a path names a file system by a scheme, such as s3://bucket/m.zarr."""
    return isinstance(path, Url) or (re.match(r"[a-z][a-z0-9+.-]+:", str(path)) is not None and "://" in str(path))


def is_archive(path: Path) -> bool:
    """Whether a path is a store packed into one file."""
    return path.suffix == ".zip" and path.is_file()


def store_at(where: Place, storage_options: Mapping[str, Any] | None = None, *, writable: bool = False) -> Any:
    """Object that Zarr and xarray open at a place: a folder's path, an archive, or the objects at a URL."""
    if isinstance(where, Path):
        return ZipStore(where, mode="r") if where.is_file() else where
    try:
        options = FRESH | dict(storage_options or {})
        return FsspecStore.from_url(str(where), storage_options=options, read_only=not writable)
    except ImportError as error:
        raise url_error(error, where, "reached") from error


def open_group(
    where: Place, storage_options: Mapping[str, Any] | None = None, *, mode: Literal["r", "r+", "w"] = "r"
) -> zarr.Group:
    """The Zarr group at a place; in an archive it may lie in a folder, as programs pack it that pack a folder."""
    inner = ""
    if isinstance(where, Path) and is_archive(where):
        with zipfile.ZipFile(where) as packed:
            inner = outer_folder(packed.namelist())
    store = store_at(where, storage_options, writable=mode != "r")
    return zarr.open_group(store, path=inner or None, mode=mode, zarr_format=3)


def outer_folder(names: Sequence[str]) -> str:
    """The folder `name/` that the members of an archive lie in; empty where its store lies in no folder."""
    tops = {name.partition("/")[0] for name in names if not of_finder(name)}
    only = next(iter(tops)) + "/" if len(tops) == 1 else ""
    return only if only + "zarr.json" in names else ""


def of_finder(name: str) -> bool:
    """Whether a member of an archive is one that macOS adds, next to what it packs."""
    return name.startswith("__MACOSX/") or name.rpartition("/")[2] == ".DS_Store"


def tails(where: Place, group: zarr.Group, names: Sequence[str], size: int) -> list[bytes | None]:
    """The last bytes of some files of a store; None for one that cannot be read."""
    if isinstance(where, Path) and where.is_dir():
        return [_tail(where / name, size) for name in names]

    inner = f"{group.path}/" if group.path else ""

    async def fetch(part: Sequence[str]) -> list[Any]:
        prototype, request = default_buffer_prototype(), SuffixByteRequest(size)
        return await asyncio.gather(*(group.store.get(inner + name, prototype, byte_range=request) for name in part))

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
