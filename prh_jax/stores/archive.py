"""A feature store as one file, to send or to keep, and back."""

import zipfile
from pathlib import Path, PurePosixPath

from ..errors import CorruptError, ExistsError, NotFoundError, StoreError
from ..runtime.progress import progress
from .inspect import inspect_store
from .layout import SCHEMA
from .location import check_replaceable
from .publish import write_whole
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
        raise CorruptError(f"{store} is not packed, as it is corrupt: {problems[0]}")
    if target.exists() and not overwrite:
        raise ExistsError(
            f"{target} is there; name another file, or overwrite it with --force-remake (overwrite=True)."
        )
    with write_whole(target, replace=True) as building, zipfile.ZipFile(building, "w", zipfile.ZIP_STORED) as archive:
        files = sorted(p for p in store.rglob("*") if p.is_file())
        for path in progress(files, "packing", "files"):
            # no time stamps: the same features are the same file
            entry = zipfile.ZipInfo(path.relative_to(store).as_posix())
            archive.writestr(entry, path.read_bytes())
    return target


def unpack(archive: str | Path, output: str | Path | None = None, *, overwrite: bool = False) -> Path:
    """Unpack an archive into a store, by default beside it without `.zip`; it appears only when it is whole.

    StoreError where the archive is cut off, damaged, or no feature store.
    """
    archive = Path(archive)
    target = Path(output) if output is not None else archive.with_suffix("")
    if not archive.is_file():
        raise NotFoundError(f"There is no archive at {archive}. `prh pack` makes one.")
    if target == archive:
        raise StoreError(f"{archive} has no ending .zip to drop; name the store: -o features.zarr")
    if target.exists() and not overwrite:
        raise ExistsError(
            f"{target} is there; name another store, or overwrite it with --force-remake (overwrite=True)."
        )
    check_replaceable(target, SCHEMA)
    with write_whole(target, replace=True) as building:
        try:
            _extract(archive, building)
        except (zipfile.BadZipFile, EOFError, StoreError) as error:
            raise CorruptError(
                f"{archive} cannot be unpacked: {str(error).replace(str(building), target.name)} Nothing was written. "
                "Fetch the archive again, or pack it anew."
            ) from error
    return target


def _extract(archive: Path, folder: Path) -> None:
    """Unpack into a folder, and check what came of it."""
    with zipfile.ZipFile(archive) as packed:
        names = packed.namelist()
        unsafe = [name for name in names if PurePosixPath(name).is_absolute() or ".." in Path(name).parts]
        if unsafe:
            raise CorruptError(f"{archive} has a member {unsafe[0]!r}, outside of the store; it is not unpacked.")
        for name in progress(names, "unpacking", "files"):
            packed.extract(name, folder)
    open_store(folder).require_complete()
    problems = inspect_store(folder).problems
    if problems:
        raise CorruptError(f"it is corrupt: {problems[0]}")
