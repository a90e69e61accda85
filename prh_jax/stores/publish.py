"""How a Zarr group comes to where others may look for it: renamed there on a disk, put object by object at a URL."""

import os
import shutil
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from ..errors import StoreError, write_error
from .location import Place
from .url import Url

Build = Callable[[Any], None]
"""Writes a group into the Zarr store, or folder, that it is given; equal calls write equal bytes."""

ROOT = "zarr.json"


def publish(build: Build, where: Place, *, overwrite: bool) -> None:
    """A new group at a place: there as a whole or not at all.

    On a disk it is built beside its place and renamed. At a URL its root comes last, and there is no group before; what
    is overwritten is removed first, so that for some moments there is neither.
    """
    if isinstance(where, Url):
        objects = _objects(build)
        root = objects.pop(ROOT)
        if overwrite:
            where.remove()
        where.write_below(objects)
        _put_root(root, where)
        return
    building = where.parent / f".{where.name}.{uuid.uuid4().hex}.partial"
    try:
        where.parent.mkdir(parents=True, exist_ok=True)
        build(building)
        if overwrite and where.exists():
            shutil.rmtree(where)
        os.rename(building, where)
    except OSError as error:
        shutil.rmtree(building, ignore_errors=True)
        if not overwrite and where.exists():
            raise _too_late(where) from error
        raise write_error(error, where) from error


def claim(build: Build, where: Place, *, overwrite: bool) -> None:
    """Begin a group that several processes fill; StoreError for all but the one that makes it.

    On a disk the same as `publish`. At a URL the root alone is put, if there is none: it decides for all what the group
    is. Each process then calls `put_lacking`, so that nothing is lost with one that dies here.
    """
    if isinstance(where, Path):
        publish(build, where, overwrite=overwrite)
        return
    if overwrite:
        where.remove()
    _put_root(_objects(build)[ROOT], where)


def put_lacking(build: Build, where: Place, *, but: Sequence[str]) -> None:
    """Put what a claimed group lacks, but for what names that begin with `but` are for: others may be at that.

    Nothing that is there is written again, and nothing lacks on a disk.
    """
    if isinstance(where, Url):
        others = *where.below(), *but
        where.write_below({name: data for name, data in _objects(build).items() if not name.startswith(others)})


def _objects(build: Build) -> dict[str, bytes]:
    held: dict[str, Buffer] = {}
    build(MemoryStore(held))
    return {name: buffer.to_bytes() for name, buffer in held.items()}


def _put_root(root: bytes, where: Url) -> None:
    try:
        (where / ROOT).write_bytes(root, new=True)
    except (FileExistsError, StoreError) as error:
        if isinstance(error, FileExistsError) or (where / ROOT).exists():
            raise _too_late(where) from error
        raise


def _too_late(where: Place) -> StoreError:
    return StoreError(f"{where} came to exist while it was being made.")
