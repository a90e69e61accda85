"""Objects at a URL: read, put, listed and removed through fsspec, with errors that name the remedy."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import StoreError

FRESH = {"use_listings_cache": False}
"""Options for file systems: other processes write there too, so that a list of objects is soon out of date."""


@dataclass(frozen=True)
class Url:
    """The address of what is not on a local disk, with the words of a path that stores and results are asked for.

    Objects are read and written whole. FileNotFoundError where there is none to read; StoreError where the file system
    is not installed, not reached, or refuses.
    """

    text: str

    def __str__(self) -> str:
        return self.text

    def __truediv__(self, name: str) -> "Url":
        return Url(f"{self.text.rstrip('/')}/{name}")

    def with_name(self, name: str) -> "Url":
        """The object `name` next to it."""
        return Url(f"{self.text.rstrip('/').rpartition('/')[0]}/{name}")

    @property
    def name(self) -> str:
        """Last part of the path."""
        return PurePosixPath(self.text).name

    @property
    def stem(self) -> str:
        """Last part of the path without its ending."""
        return PurePosixPath(self.text).stem

    def resolve(self) -> "Url":
        """Itself: it is absolute."""
        return self

    def exists(self) -> bool:
        """Whether an object is there, or any below."""
        with self._reaching("reached", FileNotFoundError) as (files, path):
            try:
                files.info(path)
            except FileNotFoundError:
                return False
            return True

    def read_bytes(self) -> bytes:
        """The object."""
        with self._reaching("read", FileNotFoundError) as (files, path):
            return files.cat_file(path)

    def copy_to(self, path: Path) -> None:
        """Fetch the object into a file, some of it at a time."""
        with self._reaching("read", FileNotFoundError) as (files, there):
            files.get_file(there, str(path))

    def read_text(self) -> str:
        """The object, as text."""
        return self.read_bytes().decode()

    def write_bytes(self, data: bytes, *, new: bool = False) -> None:
        """Put an object; `new` raises FileExistsError where one is there already."""
        with self._reaching("written", FileExistsError) as (files, path):
            files.pipe_file(path, data, **({"mode": "create"} if new else {}))

    def write_below(self, objects: Mapping[str, bytes]) -> None:
        """Put objects by their names below it, some at a time."""
        with self._reaching("written") as (files, path):
            files.pipe({f"{path}/{name}": data for name, data in objects.items()})

    def below(self) -> list[str]:
        """The names of all objects below it."""
        with self._reaching("listed") as (files, path):
            return [name.removeprefix(path).lstrip("/") for name in files.find(path)]

    def remove(self) -> None:
        """Remove it and all objects below, a group's root first: what is left of it then is no group."""
        with self._reaching("removed") as (files, path):
            found = files.find(path)
            for part in (
                [n for n in found if n == f"{path}/zarr.json"],
                [n for n in found if n != f"{path}/zarr.json"],
            ):
                if part:
                    files.rm(part)

    @contextmanager
    def _reaching(self, what: str, *expected: type[OSError]) -> Iterator[tuple[Any, str]]:
        """Its file system and its path there; StoreError for all that goes wrong but for what is expected."""
        try:
            from fsspec.core import url_to_fs

            yield url_to_fs(self.text, **FRESH)
        except expected:
            raise
        except Exception as error:  # each file system has errors of its own
            raise url_error(error, self, what) from error


def url_error(error: Exception, where: Url, what: str) -> StoreError:
    """Error of a file system for the user, with the remedy if it is known."""
    if isinstance(error, StoreError):
        return error
    reason = str(error) or type(error).__name__
    if isinstance(error, ImportError):
        return StoreError(
            f"{where} could not be {what}, as its file system is not installed ({reason}). Install the extra: "
            'pip install "prh-jax[remote]"'
        )
    return StoreError(
        f"{where} could not be {what}: {reason.rstrip('.')}. What was written before is kept. The account that fsspec "
        "finds (in the environment, the provider's own files, or ~/.config/fsspec) must be allowed to read, write, "
        "list and remove there."
    )
