"""Tables in text files: CSV, JSON and plain lines."""

import csv
import json
from collections.abc import Sequence
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
    try:
        if file.suffix == ".parquet":
            import pyarrow.parquet as pq

            return pq.read_table(file).to_pylist()
        with open(file, encoding="utf-8-sig", newline="") as lines:
            if file.suffix in (".csv", ".tsv"):
                table = csv.DictReader(lines, delimiter="," if file.suffix == ".csv" else "\t", strict=True)
                return _complete(file, list(table))
            text = lines.read()
    except (OSError, ValueError, csv.Error) as error:
        raise ExtractionError(f"{file} cannot be read: {error}") from error
    if file.suffix == ".txt":
        return [{"text": line} for line in _lines(text)]
    return _objects(file, text)


def columns_of(file: Path) -> dict[str, list[Any]]:
    """The columns of a table: those that any row has, with None where a row lacks one."""
    rows = rows_of(file)
    if not rows:
        raise ExtractionError(f"{file} has no rows.")
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _complete(file: Path, rows: Sequence[dict[Any, Any]]) -> list[dict[str, Any]]:
    for number, row in enumerate(rows):
        if None in row or None in row.values():
            raise ExtractionError(
                f"Row {number} of {file} has other columns than its header: texts with commas, quotes or line ends "
                "stand in quotes."
            )
    return list(rows)


def _lines(text: str) -> list[str]:
    """The lines of a text, which end by a line feed alone: `splitlines` ends them at rarer characters too."""
    return text.replace("\r\n", "\n").removesuffix("\n").split("\n")


def _objects(file: Path, text: str) -> list[dict[str, Any]]:
    try:
        whole = text.lstrip().startswith("[")
        rows = json.loads(text) if whole else [json.loads(line) for line in _lines(text) if line.strip()]
    except ValueError as error:
        raise ExtractionError(f"{file} cannot be read: {error}") from error
    odd = next((number for number, row in enumerate(rows) if not isinstance(row, dict)), None)
    if odd is not None:
        raise ExtractionError(f"Row {odd} of {file} is no object with columns, {rows[odd]!r:.60}.")
    return rows
