"""Texts and ids as data sets hold them: decoded where they are text, refused by column and type where they are not."""

import math
from collections.abc import Sequence
from typing import Any

from ..errors import ExtractionError


def named_field(value: Any, fields: Sequence[str]) -> Any:
    """A field of a struct, by the names on the way to it; None where one on the way is missing."""
    for name in fields:
        if value is None:
            return None
        value = value[name]
    return value


def captions_of(value: Any, source: str, column: str, row: int) -> list[str]:
    """The captions of a sample, from a text or a list of texts; a missing one is empty.

    Parameters
    ----------
    value
        Contents of the column: a string, its UTF-8 bytes, None, or a list of those.
    source, column, row
        Where it comes from, for messages.

    Raises
    ------
    ExtractionError
        If it is no text.
    """
    values = value if isinstance(value, list | tuple) else [value]
    return [_text(one, source, column, row) for one in values]


def _text(value: Any, source: str, column: str, row: int) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return _encodable(value, source, column, row)
    if isinstance(value, bytes | bytearray):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise ExtractionError(
                f"Row {row} of column {column!r} of {source} holds bytes that are not UTF-8 text ({error}). Store "
                "texts as strings, or name another column with --text-column."
            ) from error
    way_out = "Name a column of texts with --text-column."
    if isinstance(value, dict):
        fields = ", ".join(f"{column}.{name}" for name in value)
        way_out = f"Name the field that holds the text with --text-column: {fields}."
    raise ExtractionError(
        f"Column {column!r} of {source} holds no texts: row {row} is {_kind(value)}, where a text or a list of texts "
        f"is read. {way_out}"
    )


def id_of(value: Any, source: str, column: str, row: int) -> str:
    """The id of a sample: a text, its UTF-8 bytes, or a whole number. ExtractionError for anything else, None too."""
    if isinstance(value, bytes | bytearray):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            value = bytes(value).hex()
    if isinstance(value, str):
        return _encodable(value, source, column, row)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return str(int(value))  # whole numbers with one missing come as floats
    raise ExtractionError(
        f"Row {row} of column {column!r} of {source} has no id: it is {_kind(value)}, where a text or a whole number "
        "is read. Give every sample an id, or name another column with --id-column."
    )


def _encodable(text: str, source: str, column: str, row: int) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ExtractionError(
            f"Row {row} of column {column!r} of {source} holds half of a surrogate pair, which is no character "
            f"({error}). Repair the text."
        ) from error
    return text


def _kind(value: Any) -> str:
    if value is None:
        return "missing"
    if isinstance(value, dict):
        return f"a struct with {', '.join(map(str, value))}"
    if isinstance(value, list | tuple):
        return "a list"
    return f"{value!r} ({type(value).__name__})"
