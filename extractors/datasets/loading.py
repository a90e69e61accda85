"""Data sets of paired pictures, texts, sounds and clips by name: built-in, a table, a folder of files, the hub."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prh_jax.stores.checks import check_ids

from ..errors import ExtractionError
from . import tables
from .folder import METADATA, files_in, of_split, visible
from .media import MEDIA
from .pictures import as_rgb
from .remote import fetch, undecoded
from .samples import Dataset, Rows
from .values import captions_of, id_of, named_field

__all__ = ["BUILT_IN", "Columns", "Dataset", "as_rgb", "load"]


BUILT_IN = {"emoji_1024": Path(__file__).parent.parent / "data" / "emoji_1024.parquet"}


class Column:
    """A column, or a field of a struct that it holds: `caption.text` where there is no column of that name."""

    def __init__(self, named: str, there: Sequence[str]):
        whole = named in there or "." not in named
        self.named = named
        self.name, *self.fields = [named] if whole else named.split(".")

    def values(self, source: str, values: Iterable[Any]) -> list[Any]:
        """The values, or this field of each."""
        if not self.fields:
            return list(values)
        try:
            return [named_field(value, self.fields) for value in values]
        except (KeyError, TypeError) as error:
            raise ExtractionError(
                f"Column {self.name!r} of {source} has no field {self.named!r} ({error!r})."
            ) from error


@dataclass(frozen=True)
class Columns:
    """Which columns hold the pictures, texts, ids, sounds and clips.

    None takes `image`, `text`, `id`, `audio` and `video` where they are.

    `caption.text` is the field `text` of a column `caption`.
    """

    image: str | None = None
    text: str | None = None
    id: str | None = None
    audio: str | None = None
    video: str | None = None

    def choose(self, source: str, there: Sequence[str]) -> dict[str, Column]:
        """The column of each kind that is there; ExtractionError where one was named that is not."""
        chosen = {}
        for kind in ("id", "text", *MEDIA):
            named = getattr(self, kind)
            column = Column(named or kind, there)
            if column.name in there:
                chosen[kind] = column
            elif named is not None:
                raise ExtractionError(f"{source} has no column {named!r} (--{kind}-column); it has {', '.join(there)}.")
        return chosen


def load(
    name: str,
    subset: str | None = None,
    *,
    config: str | None = None,
    split: str | None = None,
    num_samples: int | None = None,
    columns: Columns | None = None,
    streaming: bool = False,
    force_download: bool = False,
    medium: str | None = None,
) -> Dataset:
    """A data set by name: built-in ("emoji_1024"), a local table or folder, or a hub name with a revision.

    `columns` says which hold pictures, texts (a caption or a list of them) and ids (unique; else the path of the
    picture in its folder, or the row number). `config` is a configuration of a hub set that has several. `split` is
    "train" of hub sets where it is None; local data are read whole then, else the files below a folder of that name, or
    whose name begins with it. `streaming` fetches no more of a hub set than `num_samples` need.
    `medium` ("image", "audio", "video") says which files are the samples of a folder that has several kinds.
    ExtractionError where it cannot be found or read.
    """
    if num_samples is not None and num_samples < 1:
        raise ExtractionError(f"--num-samples must be at least 1, got {num_samples}.")
    if streaming and num_samples is None:
        raise ExtractionError("--streaming reads the first samples of a large set; say how many with --num-samples.")
    columns, revision = columns or Columns(), subset
    if config is not None and (name in BUILT_IN or Path(name).exists()):
        raise ExtractionError(f"{name} has no configurations; leave --config away, which is for data sets of the hub.")
    if name in BUILT_IN:
        if split not in (None, "train"):
            raise ExtractionError(f"{name} has no split {split!r}; leave --split away.")
        split, table = "train", _parquet([BUILT_IN[name]], columns)
    elif Path(name).exists():
        table = _local(Path(name), columns, split, medium)
    else:
        split = split or "train"
        first = num_samples if streaming else None
        loaded, revision = fetch(name, subset, config, split, first=first, force_download=force_download)
        table = _encoded(name, loaded, columns)
    return _dataset(name, revision, split, table, columns, num_samples, config)


def _dataset(
    name: str,
    revision: str | None,
    split: str | None,
    table: dict[str, Any],
    columns: Columns,
    limit: int | None,
    config: str | None,
) -> Dataset:
    if not {"text", *MEDIA} & set(table):
        raise ExtractionError(
            f"{name} has neither a column `image` nor `text`, nor `audio` or `video`. Name yours with --image-column, "
            "--text-column, --audio-column or --video-column."
        )
    n = min(len(next(iter(table.values()))), limit or 2**62)
    ids, texts = [str(i) for i in range(n)], None
    if "id" in table:
        ids = [id_of(value, name, columns.id or "id", row) for row, value in enumerate(table["id"][:n])]
    if "text" in table:
        texts = [captions_of(value, name, columns.text or "text", row) for row, value in enumerate(table["text"][:n])]
    ids = check_ids(ids)
    media = {
        kind: Rows(table[kind], range(n)) if len(table[kind]) > n else table[kind] for kind in MEDIA if kind in table
    }
    return Dataset.of(name, revision, split, ids, texts, media, config=config)


class ParquetColumn(Sequence):
    """A column of parquet files, one row group in memory at a time: pictures are larger than memory."""

    def __init__(self, files: list[Path], column: str):
        import pyarrow.parquet as pq

        self.column = column
        self.groups: list[tuple[int, Path, int]] = []
        start = 0
        for file in files:
            metadata = pq.read_metadata(file)
            for group in range(metadata.num_row_groups):
                self.groups.append((start, file, group))
                start += metadata.row_group(group).num_rows
        self.rows = start
        self._held: tuple[int, list[Any]] = (-1, [])

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, index: Any) -> Any:
        from bisect import bisect

        import pyarrow.parquet as pq

        if not 0 <= index < self.rows:
            raise IndexError(index)
        which = bisect(self.groups, index, key=lambda group: group[0]) - 1
        start, file, group = self.groups[which]
        held = self._held  # by one name: another thread may replace it meanwhile
        if held[0] != which:
            held = (which, pq.ParquetFile(file).read_row_group(group, [self.column])[self.column].to_pylist())
            self._held = held
        return beside(file, held[1][index - start])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_held": (-1, [])}


def _parquet(files: list[Path], columns: Columns) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        chosen = columns.choose(str(files[0]), pq.read_schema(files[0]).names)
        for file in files[1:]:
            there = pq.read_schema(file).names
            lacking = next((column.name for column in chosen.values() if column.name not in there), None)
            if lacking is not None:
                raise ExtractionError(
                    f"{file} has no column {lacking!r}, which {files[0].name} has; it has {', '.join(there)}. All "
                    "files of a data set have the same columns: name the folder or file of one data set."
                )
        table: dict[str, Any] = {}
        for kind, column in chosen.items():
            if kind in MEDIA:
                table[kind] = ParquetColumn(files, column.name)
            else:
                parts = [pq.read_table(file, columns=[column.name])[column.name] for file in files]
                table[kind] = column.values(str(files[0]), (value for part in parts for value in part.to_pylist()))
    except (OSError, KeyError, pa.ArrowException) as error:
        raise ExtractionError(f"{files[0]} cannot be read as parquet: {error}") from error
    return table


def _local(path: Path, columns: Columns, split: str | None, medium: str | None) -> dict[str, Any]:
    if path.is_file():
        if split is not None:
            raise ExtractionError(f"{path} is one file, without splits; leave --split away.")
        if path.suffix.lower() in tables.KINDS:
            return _table(path, columns)
        if path.suffix.lower() != ".parquet" and not _is_parquet(path):
            raise ExtractionError(
                f"{path} is no data set: one file is read if it ends in .parquet, {', '.join(tables.KINDS)}. Of "
                "pictures, name the folder that they are in."
            )
        return _parquet([path], columns)
    files = [file for file in visible(path) if file.suffix.lower() == ".parquet" and file.name not in METADATA]
    if files:
        return _parquet(of_split(path, files, split, ".parquet"), columns)
    named = [column for column in (columns.image, columns.audio, columns.video) if column not in (None, medium)]
    table = files_in(path, split, None if named else medium)
    chosen = columns.choose(str(path), list(table))
    return {kind: column.values(str(path), table[column.name]) for kind, column in chosen.items()}


def _is_parquet(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(4) == b"PAR1"


def _table(path: Path, columns: Columns) -> dict[str, Any]:
    """Columns of a table of texts and of paths or URLs of files."""
    table = tables.columns_of(path)
    chosen = columns.choose(str(path), list(table))
    found = {kind: column.values(str(path), table[column.name]) for kind, column in chosen.items()}
    for kind in MEDIA:
        if kind in found:
            found[kind] = [beside(path, file) for file in found[kind]]
    return found


def beside(file: Path, picture: Any) -> Any:
    """A path as its file names it, below the folder of that file; a URL or an encoded picture as it is."""
    return str(file.parent / picture) if isinstance(picture, str) and picture and "://" not in picture else picture


def _encoded(source: str, loaded: Any, columns: Columns) -> dict[str, Any]:
    """Columns of a `datasets` table by kind, with files left encoded."""
    chosen = columns.choose(source, loaded.column_names)
    loaded = undecoded(loaded)
    return {
        kind: loaded[column.name] if kind in MEDIA else column.values(source, loaded[column.name])
        for kind, column in chosen.items()
    }
