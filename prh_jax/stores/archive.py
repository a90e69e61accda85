"""A feature store as one file, to send or to keep, and back."""

import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from ..errors import CorruptError, ExistsError, NotFoundError, StoreError
from ..runtime.progress import progress
from .inspect import inspect_store
from .layout import SCHEMA
from .location import of_finder, outer_folder
from .members import LARGEST_RECORD, ROOT, Members
from .publish import write_whole
from .reader import open_store
from .target import check_replaceable, check_target, file_target

_AT_ONCE = 1 << 20


def pack(store: str | Path, output: str | Path | None = None, *, overwrite: bool = False) -> Path:
    """Pack a complete store into one file, `<store>.zip` by default; equal stores give equal files.

    Features are not compressed, so that layers are read from the archive as fast as from the folder. Other files in the
    folder are left out. StoreError where the store is unfinished or damaged, the file is there, or would come to lie
    inside a store or result.
    """
    store = Path(store)
    target = Path(output) if output is not None else store.with_name(store.name + ".zip")
    target = file_target(target, overwrite=overwrite)
    open_store(store).require_complete()
    problems = inspect_store(store).problems
    if problems:
        raise CorruptError(f"{store} is not packed, as it is corrupt: {problems[0]}")
    members = Members(lambda name: (store / name).read_bytes())
    names = sorted(path.relative_to(store).as_posix() for path in store.rglob("*") if path.is_file())
    names = [name for name in names if members.limit(name) is not None]
    with write_whole(target, replace=True) as building, zipfile.ZipFile(building, "w", zipfile.ZIP_STORED) as archive:
        for name in progress(names, "packing", "files"):
            # no time stamps: the same features are the same file
            archive.writestr(zipfile.ZipInfo(name), (store / name).read_bytes())
    return target


def unpack(archive: str | Path, output: str | Path | None = None, *, overwrite: bool = False) -> Path:
    """Unpack an archive into a store, by default next to it without `.zip`; it appears only when it is whole.

    The store may lie in a folder of the archive. Only what a store is made of is unpacked: files of other names, larger
    ones than the store's own records say, and links are refused before anything is written. StoreError where the
    archive holds such, is cut off, damaged, or no feature store.
    """
    archive = Path(archive)
    target = Path(output) if output is not None else archive.with_suffix("")
    if not archive.is_file():
        raise NotFoundError(f"There is no archive at {archive}. `prh pack` makes one.")
    if target == archive:
        raise StoreError(f"{archive} has no ending .zip to drop; name the store: -o features.zarr")
    check_target(target)
    if target.exists() and not overwrite:
        raise ExistsError(
            f"{target} is there; name another store, or overwrite it with --force-remake (overwrite=True)."
        )
    check_replaceable(target, SCHEMA)
    with write_whole(target, replace=True) as building:
        try:
            with zipfile.ZipFile(archive) as packed:
                _extract(packed, building)
        except (zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError, RuntimeError, StoreError) as error:
            raise CorruptError(
                f"{archive} cannot be unpacked: {str(error).replace(str(building), target.name)} Nothing was written. "
                "Fetch the archive again, or pack it again."
            ) from error
    return target


def _extract(packed: zipfile.ZipFile, folder: Path) -> None:
    """Unpack into a folder, and check what came of it."""
    names = packed.namelist()
    outside = [name for name in names if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts]
    if outside:
        raise CorruptError(f"its member {outside[0]!r} is no part of a feature store, but outside of the store.")
    outer = outer_folder(names)
    entries = [(i.filename.removeprefix(outer), i) for i in packed.infolist() if not of_finder(i.filename)]
    entries = [(name, info) for name, info in entries if name]
    found = dict(entries)
    if ROOT not in found:
        raise CorruptError(f"it is not a feature store: it has no {ROOT}.")
    members = Members(lambda name: b"".join(_blocks(packed, found[name], LARGEST_RECORD)))
    limits: dict[str, int] = {}
    for name, info in entries:
        if not info.is_dir():
            compressed = info.compress_type != zipfile.ZIP_STORED
            limits[name] = _checked(name, info, members.limit(name, compressed=compressed), limits)
    _check_folders([name for name, info in entries if info.is_dir()], limits)
    size, free = sum(found[name].file_size for name in limits), shutil.disk_usage(folder.parent).free
    if size > free:
        raise StoreError(f"it has {size / 2**20:.0f} MiB unpacked, and the disk has {free / 2**20:.0f} MiB free.")
    for name, limit in progress(limits.items(), "unpacking", "files"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            for data in _blocks(packed, found[name], limit):
                file.write(data)
    open_store(folder).require_complete()
    problems = inspect_store(folder).problems
    if problems:
        raise CorruptError(f"it is corrupt: {problems[0]}")


def _checked(name: str, info: zipfile.ZipInfo, limit: int | None, known: dict[str, int]) -> int:
    """The most bytes that a member may have; CorruptError for one that is no part of a store."""
    if limit is None:
        raise CorruptError(f"its member {name!r} is no part of a feature store.")
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        raise CorruptError(f"its member {name!r} is no regular file.")
    if info.flag_bits & 1:
        raise CorruptError(f"its member {name!r} is encrypted.")
    if name in known:
        raise CorruptError(f"its member {name!r} is there twice.")
    if info.file_size > limit:
        raise CorruptError(f"its member {name!r} has {info.file_size} bytes, where a store has at most {limit}.")
    return limit


def _check_folders(folders: list[str], files: Iterable[str]) -> None:
    """CorruptError for a folder in which no file of the store lies: other programs list folders too."""
    known = {"/".join(parts[:i]) for parts in (name.split("/") for name in files) for i in range(1, len(parts))}
    for name in folders:
        if name.removesuffix("/") not in known:
            raise CorruptError(f"its member {name!r} is no part of a feature store.")


def _blocks(packed: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int) -> Iterator[bytes]:
    """The bytes of a member, some at a time; CorruptError once they are more than the limit."""
    with packed.open(info) as source:
        while data := source.read(min(_AT_ONCE, limit + 1)):
            limit -= len(data)
            if limit < 0:
                raise CorruptError(f"its member {info.filename!r} is larger than a store has it.")
            yield data
