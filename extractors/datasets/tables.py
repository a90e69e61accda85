"""Tables in text files: CSV, JSON and plain lines."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from ..errors import ExtractionError

KINDS = (".csv", ".tsv", ".jsonl", ".json", ".txt")


def rows_of(file: Path) -> list[dict[str, Any]]:
    """The rows of a table; ExtractionError where it cannot be read.

    .csv, .tsv     with a header
    .jsonl, .json  an object a line, or a list of objects
    .txt           a text a line, in the column `text`
    .parquet       as it is
    """
    kind = file.suffix.lower()
    try:
        if kind == ".parquet":
            import pyarrow.parquet as pq

            return pq.read_table(file).to_pylist()
        content = file.read_bytes()
        wide = content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content[:1000]
        text = "" if wide else content.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise ExtractionError(f"{file} cannot be read: {error}") from error
    if wide:
        raise ExtractionError(
            f'{file} is text in UTF-16, as Excel\'s "Unicode text" is, or no text at all. Save it as CSV in UTF-8.'
        )
    if kind in (".csv", ".tsv"):
        return _table(file, text)
    if "\n" not in text:
        text = text.replace("\r", "\n")  # of old Macs
    if kind == ".txt":
        return [{"text": line} for line in _lines(text)]
    return _objects(file, text)


def columns_of(file: Path) -> dict[str, list[Any]]:
    """The columns of a table: those that any row has, with None where a row lacks one."""
    rows = rows_of(file)
    if not rows:
        raise ExtractionError(f"{file} has no rows.")
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _table(file: Path, text: str) -> list[dict[str, Any]]:
    """The rows of a table with a header; ExtractionError where one is not as the header says."""
    comma = file.suffix.lower() == ".csv"
    cells = csv.reader(io.StringIO(text, newline=""), delimiter="," if comma else "\t", strict=True)
    try:
        header, *rows = list(cells) or [[]]
    except csv.Error as error:
        raise ExtractionError(f"{file} cannot be read: line {cells.line_num}: {error}") from error
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise ExtractionError(f"{file} has two columns {twice!r}; give each its own name.")
    while rows and not rows[-1]:
        rows.pop()
    lines = len(_lines(text.rstrip()))
    if not comma and len(rows) + 1 != lines:
        raise ExtractionError(
            f"{file} has quoted cells that span lines, or quotes that are text: its {lines} lines read as "
            f"{len(rows) + 1} rows. Save it as CSV or JSON lines."
        )
    rows = [row or [""] if len(header) == 1 else row for row in rows]  # an empty line is an empty text
    wrong = next((number for number, row in enumerate(rows) if len(row) != len(header)), None)
    if wrong is not None:
        raise ExtractionError(
            f"Row {wrong} of {file} has other columns than its header ({', '.join(header)}): texts with commas, quotes "
            "or line ends are in quotes, and no row is empty."
        )
    return [dict(zip(header, row, strict=True)) for row in rows]


def _lines(text: str) -> list[str]:
    """The lines of a text, which end by a line feed alone: `splitlines` ends them at rarer characters too."""
    return text.replace("\r\n", "\n").removesuffix("\n").split("\n")


def _objects(file: Path, text: str) -> list[dict[str, Any]]:
    try:
        whole = text.lstrip().startswith("[")
        rows = json.loads(text) if whole else [json.loads(line) for line in _lines(text) if line.strip()]
    except (ValueError, RecursionError) as error:
        raise ExtractionError(f"{file} cannot be read: {error}") from error
    one = not whole and len(rows) == 1
    if file.suffix.lower() == ".json" and one and any(isinstance(v, list) for v in rows[0].values()):
        raise ExtractionError(
            f"{file} is one object, and its lists may be columns or the captions of one sample: give a list of "
            "objects, [{...}, {...}], or an object a line."
        )
    odd = next((number for number, row in enumerate(rows) if not isinstance(row, dict)), None)
    if odd is not None:
        raise ExtractionError(f"Row {odd} of {file} is no object with columns, {rows[odd]!r:.60}.")
    return rows
