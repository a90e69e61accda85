"""The errors that say what is wrong and the remedy."""

import errno
import shutil
from pathlib import Path


class StoreError(ValueError):
    """A store or result cannot be read or written as asked. The message has the reason and the remedy."""


class NotFoundError(StoreError):
    """There is no store or result at the path."""


class IncompleteError(StoreError):
    """A store or result is unfinished."""


class CorruptError(StoreError):
    """A store or result is damaged: a checksum fails, or its records contradict each other."""


class MismatchError(StoreError):
    """A store or result holds something else than asked for: other samples, features, settings or layout."""


class ExistsError(StoreError):
    """A file or store exists and must not be overwritten."""


def write_error(error: OSError, path: Path) -> StoreError:
    """Error of a failed write for the user: a full disk and the remedy, or the system's words."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(path.parent if path.parent.exists() else Path.cwd()).free
        return StoreError(
            f"The disk is full: {path} could not be written ({free / 2**20:.0f} MiB are free). Every block already "
            "marked done is safe; free some space and run the same command again to go on."
        )
    return StoreError(f"{path} could not be written: {error.strerror or error}. What was written before is kept.")
