"""Files of a local data set: which belong to it, to which split, and what metadata says of pictures."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ExtractionError
from .tables import rows_of

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
FILE_NAME = ("file_name", "image_file_name", "audio_file_name", "video_file_name")
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


SOUNDS = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".m4a", ".aac")
ANIMATED = (".gif", ".webp", ".png", ".apng")
CLIPS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg")


def files_in(root: Path, split: str | None, medium: str | None = None) -> dict[str, list[Any]]:
    """Columns of a folder of files: `image`, `audio`, `video` (paths), `id`, and those of its metadata.

    A folder of one kind of files has their paths below it as ids. Files of several kinds that have one name but for
    their endings (`cats/3.png`, `cats/3.wav`) are one sample, whose id is that name. A file `metadata.csv`,
    `metadata.jsonl` or `metadata.parquet` describes the files of its folder and those below by their `file_name`; a
    sample that none describes has None. Of files of several kinds without a common name, those of one kind are the
    samples: `medium`, if there are any, else pictures before sounds before clips. Animated pictures count as clips if
    clips are asked for.
    """
    files = visible(root)
    kinds = {file: kind for file in files if (kind := _kind_of(file)) is not None}
    if not kinds:
        raise ExtractionError(
            f"{root} holds neither a parquet file nor a picture, sound or clip. Name the folder that has them; of a "
            "table in another form (csv, jsonl, txt), name the file."
        )
    samples = _paired(root, kinds, medium)
    read = {file for sample in samples for file in sample.values()}
    _tell_left_out(root, [file for file in files if file not in read and file.name not in METADATA])
    firsts = set(of_split(root, [next(iter(sample.values())) for sample in samples], split, ""))
    samples = [sample for sample in samples if next(iter(sample.values())) in firsts]
    described = _descriptions([file for file in files if file.name in METADATA])
    columns = dict.fromkeys(name for row in described.values() for name in row if name not in FILE_NAME)
    rows = [
        next((described[f.resolve()] for f in sample.values() if f.resolve() in described), {}) for sample in samples
    ]
    table: dict[str, list[Any]] = {name: [row.get(name) for row in rows] for name in columns}
    there = [kind for kind in ("image", "audio", "video") if any(kind in sample for sample in samples)]
    ids = [next(iter(sample.values())).relative_to(root) for sample in samples]
    table.setdefault("id", [(path if len(there) == 1 else path.with_suffix("")).as_posix() for path in ids])
    return table | {kind: [str(sample[kind]) if kind in sample else None for sample in samples] for kind in there}


def _kind_of(file: Path) -> str | None:
    """Which of the media a file is, by its ending."""
    from PIL import Image

    Image.init()
    ending = file.suffix.lower()
    kind = Image.registered_extensions().get(ending)
    if kind in Image.OPEN and kind not in _NO_PICTURES:
        return "image"
    return "audio" if ending in SOUNDS else "video" if ending in CLIPS else None


def _paired(root: Path, kinds: Mapping[Path, str], medium: str | None) -> list[dict[str, Path]]:
    """The samples of a folder, the files of each by kind.

    Files of different kinds and one name are a sample. Where no two are, the files of one kind are the samples.
    """
    named: dict[Path, dict[str, Path]] = {}
    for file, kind in kinds.items():
        sample = named.setdefault(file.with_suffix(""), {})
        if kind in sample and len(set(kinds.values())) > 1:
            raise ExtractionError(
                f"{sample[kind]} and {file.name} have one name, and which belongs to the other files of that name is "
                "not known. Give every file a name of its own, or name the files of each sample in a table."
            )
        sample[kind] = file
    paired = [sample for sample in named.values() if len(sample) > 1]
    if paired:
        order = {file: row for row, file in enumerate(kinds)}
        by_kind = ({k: sample[k] for k in ("image", "audio", "video") if k in sample} for sample in named.values())
        return sorted(by_kind, key=lambda sample: min(order[file] for file in sample.values()))
    if medium == "video":
        kinds = {file: "video" if kind == "image" and _is_animated(file) else kind for file, kind in kinds.items()}
    order = ([] if medium is None else [medium]) + ["image", "audio", "video"]
    one = next(kind for kind in order if kind in kinds.values())
    return [{one: file} for file, kind in kinds.items() if kind == one]


def _is_animated(file: Path) -> bool:
    """Whether a picture has several frames, from its header."""
    from PIL import Image

    if file.suffix.lower() not in ANIMATED:
        return False
    try:
        with Image.open(file) as image:
            return getattr(image, "n_frames", 1) > 1
    except (OSError, ValueError, SyntaxError):  # a broken file, which is told where it is read
        return False


def _descriptions(metadata: Sequence[Path]) -> dict[Path, dict[str, Any]]:
    """The rows of all metadata, by the file that each describes."""
    described: dict[Path, dict[str, Any]] = {}
    for file in metadata:
        for row in rows_of(file):
            sample = _described(file, row)
            if sample in described:
                raise ExtractionError(
                    f"{file} describes {sample.name}, which was described before. Captions of one file are a "
                    "list in one row (metadata.jsonl, metadata.parquet)."
                )
            described[sample] = row
    return described


def _tell_left_out(root: Path, others: Sequence[Path]) -> None:
    if others:
        names = ", ".join(file.relative_to(root).as_posix() for file in others[:3]) + ", ..." * (len(others) > 3)
        print(f"{root}: {len(others)} files are not read, and left out: {names}", file=sys.stderr)


def _described(metadata: Path, row: dict[str, Any]) -> Path:
    """The file that a row of metadata is about."""
    name = next((row[key] for key in FILE_NAME if row.get(key)), None)
    if name is None:
        raise ExtractionError(f"{metadata} has a row without file_name: {row}. Name the file of each row.")
    picture = metadata.parent / str(name)
    if not picture.is_file():
        raise ExtractionError(f"{metadata} describes {name!r}, and there is no such file below {metadata.parent}.")
    return picture.resolve()
