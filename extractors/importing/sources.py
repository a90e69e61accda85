"""Where a file of features comes from: a path, a URL, a data set of the hub; and what it surely is not."""

import hashlib
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from prh_jax.stores.location import place
from prh_jax.stores.url import Url

from ..errors import ExtractionError
from ..files import what_it_is

FILES = (".pt", ".pth", ".safetensors", ".npy", ".npz", ".h5", ".hdf5", ".h5ad", ".mat", ".parquet")
"""Endings of the files that are read."""
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")


def is_hub_name(source: str | Path) -> bool:
    """Whether a source can be a data set of the hub: `owner/name`, where there is no such file, nor its folder."""
    path = Path(source)
    here = path.suffix.lower() in FILES or path.exists() or path.parent.is_dir()
    return _HUB_NAME.fullmatch(str(source)) is not None and not here


@contextmanager
def local_copy(source: str | Path) -> Iterator[Path]:
    """The file or folder at a path, or a copy of the file at a URL while it is read; ExtractionError for others."""
    where = place(source)
    if isinstance(where, Path):
        check_file(where)
        yield where
        return
    name = Path(unquote(urlsplit(str(where)).path)).name
    if not name:
        raise ExtractionError(f"{where} names no file: give the URL of one file of features.")
    with tempfile.TemporaryDirectory(prefix="prh-import-") as folder:
        copy = Path(folder, name)
        _fetch(where, copy)
        try:
            check_file(copy)
            yield copy
        except ExtractionError as error:
            raise type(error)(str(error).replace(str(copy), str(where))) from error


def _fetch(where: Url, copy: Path) -> None:
    try:
        where.copy_to(copy)
    except FileNotFoundError as error:
        raise ExtractionError(f"There is no file at {where} to import.") from error


def check_file(path: Path) -> None:
    """ExtractionError for a path where nothing is, or what holds no features for sure."""
    if path.is_dir():
        if (path / "zarr.json").is_file():
            raise ExtractionError(f"{path} is a Zarr group: align it as it is if it is a feature store.")
        return
    if not path.is_file():
        raise ExtractionError(f"There is no file at {path} to import.")
    found = what_it_is(path)
    if found is not None:
        raise ExtractionError(f"{path} is {found}")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, or of the names and bytes of the files in a folder."""
    if path.is_dir():
        from ..models.environment import file_sha256

        return file_sha256(path).removeprefix("sha256:")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
