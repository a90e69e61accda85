"""Columns of embeddings: parquet in one file or many, and data sets of the library `datasets`, saved or on the hub."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.folder import visible
from ..datasets.remote import fetch
from ..datasets.values import id_of
from ..errors import ExtractionError
from .found import Found, choose, library, natural, unreadable


def read_parquet(source: Path, keys: Sequence[str] | None, id_column: str | None) -> Found:
    """The columns of lists of one file, or of all files below a folder, in natural order of their paths."""
    pa, pq = library("pyarrow", source), library("pyarrow.parquet", source)
    files = [source]
    if source.is_dir():
        below = {p.relative_to(source).as_posix(): p for p in visible(source) if p.suffix.lower() == ".parquet"}
        files = [below[name] for name in natural(below)]
        if not files:
            raise ExtractionError(f"{source} is a folder without parquet files. Name one file of features, or several.")
    try:
        schema = pq.read_schema(files[0])
        names = _columns(pa, source, schema, keys, id_column)
        wanted = [*names, *([] if id_column is None else [id_column])]
        parts = []
        for file in files:
            there = pq.read_schema(file).names
            lacking = next((name for name in wanted if name not in there), None)
            if lacking is not None:
                raise ExtractionError(
                    f"{file} has no column {lacking!r}, which {files[0].name} has; it has {', '.join(there)}. All "
                    "files of a folder have the same columns: name the folder or file of one data set."
                )
            parts.append(pq.ParquetFile(file).read(columns=wanted))
        return _found(pa, source, pa.concat_tables(parts), names, id_column)
    except (OSError, pa.ArrowException) as error:
        raise unreadable(source, "parquet", error) from error


def read_saved(source: Path, keys: Sequence[str] | None, id_column: str | None) -> Found:
    """A data set that `save_to_disk` wrote, of one split."""
    datasets = library("datasets", source, "extract")
    try:
        loaded = datasets.load_from_disk(str(source))
    except Exception as error:  # the library raises many kinds for files that are damaged or absent
        raise unreadable(source, "a data set", error) from error
    return read_loaded(source, loaded, keys, id_column)


def read_hub(name: str, split: str, keys: Sequence[str] | None, id_column: str | None) -> Found:
    """A data set of the hub, `owner/name` or `owner/name@revision`."""
    library("datasets", Path(name), "extract")
    source, _, revision = name.partition("@")
    try:
        loaded, _ = fetch(source, revision or None, None, split)
    except ExtractionError as error:
        raise ExtractionError(f"{name} is neither a file here nor a data set of the hub. {error}") from error
    return read_loaded(Path(name), loaded, keys, id_column)


def read_loaded(source: Path, loaded: Any, keys: Sequence[str] | None, id_column: str | None) -> Found:
    """The columns of lists of a `datasets` table."""
    pa = library("pyarrow", source)
    if not hasattr(loaded, "flatten_indices"):
        raise ExtractionError(f"{source} has several splits: {', '.join(loaded)}. Name the folder of one of them.")
    table = loaded.flatten_indices().data.table
    names = _columns(pa, source, table.schema, keys, id_column)
    return _found(pa, source, table, names, id_column)


def _columns(pa: Any, source: Path, schema: Any, keys: Sequence[str] | None, id_column: str | None) -> list[str]:
    """The columns that are layers; ExtractionError where there are none, or no column of ids."""
    if id_column is not None and id_column not in schema.names:
        raise ExtractionError(
            f"{source} has no column {id_column!r} of ids; {', '.join(schema.names)} are there. Name it with "
            "--id-column, or give ids with --ids."
        )
    there = [name for name in schema.names if _holds_numbers(pa, schema.field(name).type)]
    if not there:
        raise ExtractionError(
            f"{source} has no column of lists of numbers; a layer's features are a list of numbers a row."
        )
    return choose(source, there, keys)


def _holds_numbers(pa: Any, kind: Any) -> bool:
    depth = 0
    while True:
        kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
        if not _is_list(pa, kind):
            break
        kind, depth = kind.value_type, depth + 1
    return depth > 0 and (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def _is_list(pa: Any, kind: Any) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _found(pa: Any, source: Path, table: Any, names: Sequence[str], id_column: str | None) -> Found:
    arrays = {name: _dense(pa, source, name, table[name]) for name in names}
    if id_column is None:
        return Found(arrays)
    ids = table[id_column].to_pylist()
    return Found(arrays, [id_of(value, str(source), id_column, row) for row, value in enumerate(ids)])


def _dense(pa: Any, source: Path, name: str, column: Any) -> np.ndarray:
    """The lists of a column as an array; lists of lists have an axis more."""
    parts = [part for part in column.chunks if len(part)]
    column = pa.concat_arrays(list(_storage(pa, parts))) if parts else column.combine_chunks()
    shape = [len(column)]
    while _is_list(pa, column.type):
        flat = column.flatten()
        lengths = {column.type.list_size} if pa.types.is_fixed_size_list(column.type) else set()
        lengths = lengths or set(column.value_lengths().unique().to_pylist())
        if column.null_count or not len(column) or len(lengths) > 1:
            raise ExtractionError(f"{source}: the lists in column {name!r} differ in length, or some are missing.")
        shape.append(int(next(iter(lengths))))
        column = next(_storage(pa, [flat]))
    if column.null_count:
        raise ExtractionError(f"{source}: numbers are missing from the lists in column {name!r}.")
    return column.to_numpy(zero_copy_only=False).reshape(shape)


def _storage(pa: Any, arrays: Sequence[Any]) -> Iterator[Any]:
    """Arrays of extension types, such as the matrices of `datasets`, as what they are stored as."""
    return (array.storage if isinstance(array.type, pa.BaseExtensionType) else array for array in arrays)
