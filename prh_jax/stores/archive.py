"""A feature store as one file, to send or to keep, and back."""

import os
import shutil
import uuid
import zipfile
from pathlib import Path, PurePosixPath

from ..errors import StoreError, write_error
from ..runtime.progress import progress
from .inspect import inspect_store
from .layout import SCHEMA
from .location import check_replaceable
from .reader import open_store


def pack(store: str | Path, output: str | Path | None = None, *, overwrite: bool = False) -> Path:
    """Pack a complete store into one file, `<store>.zip` by default; equal stores give equal files.

    Features are not compressed, so that layers are read from the archive as fast as from the folder. StoreError where
    the store is unfinished or damaged, or the file is there.
    """
    store = Path(store)
    target = Path(output) if output is not None else store.with_name(store.name + ".zip")
    open_store(store).require_complete()
    problems = inspect_store(store).problems
    if problems:
        raise StoreError(f"{store} is not packed, as it is corrupt: {problems[0]}")
    if target.exists() and not overwrite:
        raise StoreError(f"{target} is there; name another file, or overwrite it with --force-remake (overwrite=True).")
    building = target.parent / f".{target.name}.{uuid.uuid4().hex}.partial"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(building, "w", zipfile.ZIP_STORED) as archive:
            files = sorted(p for p in store.rglob("*") if p.is_file())
            for path in progress(files, "packing", "files"):
                # no time stamps: the same features are the same file
                entry = zipfile.ZipInfo(path.relative_to(store).as_posix())
                archive.writestr(entry, path.read_bytes())
        os.replace(building, target)
    except OSError as error:
        building.unlink(missing_ok=True)
        raise write_error(error, target) from error
    return target


def unpack(archive: str | Path, output: str | Path | None = None, *, overwrite: bool = False) -> Path:
    """Unpack an archive into a store, by default beside it without `.zip`; it appears only when it is whole.

    StoreError where the archive is cut off, damaged, or no feature store.
    """
    archive = Path(archive)
    target = Path(output) if output is not None else archive.with_suffix("")
    if not archive.is_file():
        raise StoreError(f"There is no archive at {archive}. `prh pack` makes one.")
    if target == archive:
        raise StoreError(f"{archive} has no ending .zip to drop; name the store: -o features.zarr")
    if target.exists() and not overwrite:
        raise StoreError(
            f"{target} is there; name another store, or overwrite it with --force-remake (overwrite=True)."
        )
    check_replaceable(target, SCHEMA)
    building = target.parent / f".{target.name}.{uuid.uuid4().hex}.partial"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(archive) as packed:
            unsafe = [
                name for name in packed.namelist() if PurePosixPath(name).is_absolute() or ".." in Path(name).parts
            ]
            if unsafe:
                raise StoreError(f"{archive} has a member {unsafe[0]!r}, outside of the store; it is not unpacked.")
            for name in progress(packed.namelist(), "unpacking", "files"):
                packed.extract(name, building)
        open_store(building).require_complete()
        problems = inspect_store(building).problems
        if problems:
            raise StoreError(f"it is corrupt: {problems[0]}")
        if target.exists():
            shutil.rmtree(target)
        building.rename(target)
    except (zipfile.BadZipFile, EOFError, StoreError) as error:
        shutil.rmtree(building, ignore_errors=True)
        raise StoreError(
            f"{archive} cannot be unpacked: {str(error).replace(str(building), target.name)} Nothing was written. "
            "Fetch the archive again, or pack it anew."
        ) from error
    except OSError as error:
        shutil.rmtree(building, ignore_errors=True)
        raise write_error(error, target) from error
    return target
