"""Where something may be written: every file, store and result asks here before any work is done for it."""

import os
import stat
from pathlib import Path

from ..errors import ExistsError, MismatchError, StoreError, write_error
from .location import Place, local_file, schema_of
from .url import Url

_SPECIAL = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_OURS = "prh-jax/"
"""Prefix of the schema of every store, result and calibration."""


def check_target(where: Place) -> None:
    """Refuse a place that nothing may be written to, whatever it is to hold.

    Parameters
    ----------
    where
        Path of a file or folder to come, or of one to replace. A URL passes: its file system says what it refuses.

    Raises
    ------
    StoreError
        If the path has no name, a pipe, a device or a socket is there, it is a name of the system's, a folder above it
        is no folder, or it lies inside a feature store or result.
    """
    if isinstance(where, Url):
        return
    if "\0" in str(where):
        raise StoreError(f"{str(where)!r} holds a NUL character, which no name of a file has. Choose another path.")
    if where.name in ("", ".."):
        raise StoreError(f"{str(where)!r} is the path of a folder, without a name for what is written. Add the name.")
    found = _mode(where)
    kind = next((kind for test, kind in _SPECIAL if found is not None and test(found)), None)
    if kind is not None:
        raise StoreError(f"{where} is {kind}, and only files and folders are replaced. Choose another path.")
    try:
        parent = where.parent.resolve()
    except (OSError, RuntimeError) as error:  # links that lead in a circle
        raise StoreError(f"{where} could not be written: {error}. Choose another path.") from error
    if _is_the_systems(parent):
        raise StoreError(f"{where} is a name of the operating system's, where nothing is written. Choose another path.")
    for folder in (parent, *parent.parents):
        mode = _mode(folder)
        if mode is not None and not stat.S_ISDIR(mode):
            raise StoreError(f"{where} could not be written, as {folder} is not a folder. Choose another path.")
        if str(schema_of(folder)).startswith(_OURS):
            raise StoreError(
                f"{where} lies inside the feature store or result {folder}, which holds nothing else. Choose a path "
                "outside of it."
            )


def file_target(path: str | Path | Url, *, overwrite: bool) -> Path:
    """The path of a file to write.

    Parameters
    ----------
    path
        Where the file goes, on a local disk.
    overwrite
        Whether a file that is there may be replaced.

    Raises
    ------
    StoreError
        If `check_target` refuses it, it is a URL, or a folder is there. ExistsError if a file is.
    """
    where = local_file(path)
    check_target(where)
    if where.is_dir():
        what = "a feature store or result" if str(schema_of(where)).startswith(_OURS) else "a folder"
        raise StoreError(f"{where} is {what}, and a file is written. Choose a path where no folder is.")
    if where.exists() and not overwrite:
        raise ExistsError(
            f"{where} already exists. Choose another path, or overwrite it with --force-remake (overwrite=True)."
        )
    return where


def check_replaceable(where: Place, schema: str) -> None:
    """StoreError unless what is at a place is of this schema (or nothing): all else is the user's own."""
    check_target(where)
    if where.exists() and schema_of(where) != schema:
        raise MismatchError(
            f"{where} is there, but it is not {schema!r} (it says {schema_of(where)!r}), so it is not overwritten. "
            "Choose another path, or remove it yourself."
        )


def _mode(path: Path) -> int | None:
    """Kind of the file at a path, links followed; None where there is nothing."""
    try:
        return os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise write_error(error, path) from error


def _is_the_systems(folder: Path) -> bool:
    """Whether files of a folder are doors to devices and processes; /dev/shm is a disk in memory."""
    if folder.is_relative_to("/dev"):
        return not folder.is_relative_to("/dev/shm")
    return folder.is_relative_to("/proc") or folder.is_relative_to("/sys")
