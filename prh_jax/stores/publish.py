"""How a Zarr group comes to where others may look for it: renamed there on a disk, put object by object at a URL."""

import contextlib
import functools
import hashlib
import os
import platform
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from ..errors import ExistsError, StoreError, write_error
from .location import Place
from .target import check_target
from .url import Url

Build = Callable[[Any], None]
"""Writes a group into the Zarr store, or folder, that it is given; equal calls write equal bytes."""

ROOT = "zarr.json"


def publish(build: Build, where: Place, *, overwrite: bool) -> None:
    """A new group at a place: there as a whole or not at all.

    On a disk it is built next to its place and renamed. At a URL its root comes last, and there is no group before;
    what is overwritten is removed first, so that for some moments there is neither.
    """
    if isinstance(where, Url):
        objects = _objects(build)
        root = objects.pop(ROOT)
        if overwrite:
            where.remove()
        where.write_below(objects)
        _put_root(root, where)
        return
    with write_whole(where, replace=overwrite) as building:
        build(building)


@contextlib.contextmanager
def write_whole(path: Path, *, replace: bool, suffix: str = "") -> Iterator[Path]:
    """A temporary name for a file or folder, which takes its place at `path` when the block ends.

    Others see all of it or nothing. If the block fails, nothing is left, and what was at `path` is as it was. OSError
    becomes a StoreError that names `path`, and so does a place that `check_target` refuses.

    Parameters
    ----------
    path
        Where the file or folder belongs. Folders above it are made.
    replace
        Whether it replaces what is there. Without it, ExistsError where something came to be there meanwhile.
    suffix
        Ending of the temporary name, for programs that go by it.
    """
    check_target(path)
    with _written(path, replace=replace, suffix=suffix) as building:
        yield building


def write_inside(path: Path) -> AbstractContextManager[Path]:
    """`write_whole` for a part of a store or result, which the part replaces: `path` lies inside."""
    return _written(path, replace=True)


@contextlib.contextmanager
def _written(path: Path, *, replace: bool, suffix: str = "") -> Iterator[Path]:
    building = path.parent / f"{_start(path)}{os.getpid()}-{uuid.uuid4().hex}.partial{suffix}"
    try:
        _tidy(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        yield building
        if not replace and path.exists():
            raise _too_late(path)
        if path.is_dir() and building.is_dir():
            retired = building.with_name(building.name + ".retired")
            path.rename(retired)
            try:
                building.rename(path)
            except OSError:
                retired.rename(path)
                raise
            shutil.rmtree(retired, ignore_errors=True)
        else:
            os.replace(building, path)
    except OSError as error:
        if not replace and path.exists():
            raise _too_late(path) from error
        raise write_error(error, path) from error
    finally:
        with contextlib.suppress(OSError):  # where there is no folder, there is nothing to remove either
            shutil.rmtree(building) if building.is_dir() else building.unlink(missing_ok=True)


def _start(path: Path) -> str:
    """How the temporary names of a path begin; a long name is given by its hash, as names have at most 255 bytes."""
    name = path.name.encode()
    return f".{path.name if len(name) <= 150 else hashlib.sha256(name).hexdigest()[:32]}.{_maker()}-"


@functools.cache
def _maker() -> str:
    """A name for the processes that see each other's numbers: of one boot of one machine, outside of containers."""
    seen = [platform.node()]
    with contextlib.suppress(OSError):
        seen += [Path("/proc/sys/kernel/random/boot_id").read_text(), os.readlink("/proc/self/ns/pid")]
    return hashlib.sha256(repr(seen).encode()).hexdigest()[:12]


def _tidy(path: Path) -> None:
    """Remove what processes left that were killed while they wrote to `path`, as far as it can be known that they were.

    Another machine's may be at work; where the system does not list its processes, nothing is removed.
    """
    if not Path("/proc/self").exists() or not path.parent.is_dir():
        return
    start = _start(path)
    for name in os.listdir(path.parent):
        number, *rest = name.removeprefix(start).split("-")
        if name.startswith(start) and rest and number.isdecimal() and not Path(f"/proc/{number}").exists():
            leftover = path.parent / name
            shutil.rmtree(leftover, ignore_errors=True) if leftover.is_dir() else leftover.unlink(missing_ok=True)


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
    return ExistsError(f"{where} came to exist while it was being made.")
