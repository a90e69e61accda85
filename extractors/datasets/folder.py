"""Files of a local data set: which belong to it, to which split, and what metadata says of pictures."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ExtractionError
from .tables import rows_of

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
FILE_NAME = ("file_name", "image_file_name")
_NO_PICTURES = ("BUFR", "GRIB", "HDF5", "MPEG")
"""Kinds of pictures that Pillow knows by name, and reads with another program at most."""


def visible(root: Path) -> list[Path]:
    """All files at or below a folder in order of their paths, but hidden ones and those in hidden folders.

    Links are followed, to folders too: classes are often links to a common store of pictures.
    """
    found: list[Path] = []
    above: dict[str, tuple[str, ...]] = {str(root): (os.path.realpath(root),)}
    for folder, folders, files in os.walk(root, followlinks=True):
        path, seen = Path(folder), above.pop(folder)
        kept = []
        for name in folders:
            real = os.path.realpath(path / name)
            if not _hidden(name) and real not in seen:  # a link to a folder above is a circle
                kept.append(name)
                above[os.path.join(folder, name)] = (*seen, real)
        folders[:] = kept
        found += [path / name for name in files if not _hidden(name) and (path / name).is_file()]
    return sorted(found, key=lambda file: file.relative_to(root).as_posix())


def _hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX"))


def of_split(root: Path, files: Sequence[Path], split: str | None, suffix: str) -> list[Path]:
    """The files of a split, all of them for None.

    Local data are read whole unless a split is named. It has the files below a folder of its name, and those whose name
    begins with it, as in `test-00000-of-00001.parquet` or `test.parquet`.

    Raises
    ------
    ExtractionError
        Where there are none.
    """
    if split is None:
        return list(files)
    names = {split, split + suffix}
    chosen = [
        file
        for file in files
        if not names.isdisjoint(file.relative_to(root).parts) or file.name.startswith(f"{split}-")
    ]
    if not chosen:
        raise ExtractionError(
            f"{root} has no split {split!r}: no folder of that name, and no file {split}{suffix} or {split}-*. Leave "
            "--split away to read all of it, or name the folder or file itself as the data set."
        )
    return chosen


def pictures_in(root: Path, split: str | None) -> dict[str, list[Any]]:
    """Columns of a folder of pictures: `image` (paths), `id` (paths below the folder), and those of its metadata.

    A file `metadata.csv`, `metadata.jsonl` or `metadata.parquet` describes the pictures of its folder and those below
    by their `file_name`; a picture that none describes has None.
    """
    from PIL import Image

    Image.init()
    files = visible(root)
    formats = Image.registered_extensions()
    pictures = [
        file for file in files if (kind := formats.get(file.suffix.lower())) in Image.OPEN and kind not in _NO_PICTURES
    ]
    if not pictures:
        raise ExtractionError(
            f"{root} holds neither a parquet file nor a picture. Name the folder that has them; of a "
            "table in another form (csv, jsonl, txt), name the file."
        )
    read = set(pictures)
    _tell_left_out(root, [file for file in files if file not in read and file.name not in METADATA])
    pictures = of_split(root, pictures, split, "")
    described: dict[Path, dict[str, Any]] = {}
    for file in files:
        if file.name in METADATA:
            for row in rows_of(file):
                picture = _described(file, row)
                if picture in described:
                    raise ExtractionError(
                        f"{file} describes {picture.name}, which was described before. Captions of one picture are a "
                        "list in one row (metadata.jsonl, metadata.parquet)."
                    )
                described[picture] = row
    columns = dict.fromkeys(name for row in described.values() for name in row if name not in FILE_NAME)
    rows = [described.get(picture.resolve(), {}) for picture in pictures]
    table: dict[str, list[Any]] = {name: [row.get(name) for row in rows] for name in columns}
    table.setdefault("id", [picture.relative_to(root).as_posix() for picture in pictures])
    return table | {"image": [str(picture) for picture in pictures]}


def _tell_left_out(root: Path, others: Sequence[Path]) -> None:
    if others:
        names = ", ".join(file.relative_to(root).as_posix() for file in others[:3]) + ", ..." * (len(others) > 3)
        print(f"{root}: {len(others)} files are no pictures that Pillow reads, and left out: {names}", file=sys.stderr)


def _described(metadata: Path, row: dict[str, Any]) -> Path:
    """The picture that a row of metadata is about."""
    name = next((row[key] for key in FILE_NAME if row.get(key)), None)
    if name is None:
        raise ExtractionError(f"{metadata} has a row without file_name: {row}. Name the picture of each row.")
    picture = metadata.parent / str(name)
    if not picture.is_file():
        raise ExtractionError(f"{metadata} describes {name!r}, and there is no such picture below {metadata.parent}.")
    return picture.resolve()
