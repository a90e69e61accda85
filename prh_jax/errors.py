"""Checks at the door, and the error that says what is wrong and the way out."""

import errno
import shutil
from pathlib import Path
from typing import Any


class StoreError(ValueError):
    """A store or result cannot be read or written as asked; the message says what is wrong and the way out."""


class NotFoundError(StoreError):
    """There is no store or result at the place named."""


class IncompleteError(StoreError):
    """A store or result is there, and unfinished."""


class CorruptError(StoreError):
    """A store or result is damaged: it fails its checksums, or its records do not fit together."""


class MismatchError(StoreError):
    """A store or result holds something else than what is asked for: other samples, features, settings or layout."""


class ExistsError(StoreError):
    """Something is there already, and was not to be overwritten."""


def write_error(error: OSError, path: Path) -> StoreError:
    """What a failed write means for the user: a full disk and the way out, or the system's words."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(path.parent if path.parent.exists() else Path.cwd()).free
        return StoreError(
            f"The disk is full: {path} could not be written ({free / 2**20:.0f} MiB are free). Every block already "
            "marked done is safe; free some space and run the same command again to go on."
        )
    return StoreError(f"{path} could not be written: {error.strerror or error}. What was written before is kept.")


def not_real(x: Any) -> str | None:
    """What an array, or whatever has a dtype, holds other than real numbers, and the way out; None if it holds those.

    Nothing is computed, and no value is looked at: tracers pass as arrays do.
    """
    import numpy as np

    rows = x if isinstance(x, list | tuple) else ()
    if isinstance(x, np.ma.MaskedArray) or any(isinstance(row, np.ma.MaskedArray) for row in rows):
        return "masked values, which would count as others do: fill them (x.filled(0.0)), or leave those samples out"
    dtype = getattr(x, "dtype", None)
    kind = getattr(dtype, "kind", None)
    if kind == "c" or getattr(dtype, "is_complex", False):
        return f"{dtype} numbers: take np.abs(x), or both parts, np.concatenate([x.real, x.imag], axis=1)"
    if kind == "V" and getattr(dtype, "names", None):
        return f"records of {dtype}: stack their fields, np.stack([x[name] for name in x.dtype.names], axis=1)"
    if kind in ("O", "S", "U", "T", "M", "m") or getattr(dtype, "type", None) is np.void:
        return f"values of type {dtype}: convert them, x.astype(np.float32)"
    return None
