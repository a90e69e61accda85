"""Analyses as sections of a report: figures, tables and sentences."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..results.description import Description
from ..results.retrieval import RetrievalResult
from ..stores.shown import plain_name

MOST_ROWS = 500
"""Rows of a table that a report shows."""

Sections = Mapping[str, Any]
"""Titles, each with a figure, a table, a text, an analysis, a file, or a list of these."""


def told_sections(sections: Sections) -> list[dict[str, Any]]:
    """Sections as plain values, ValueError for a part that a report cannot show."""
    return [{"title": plain_name(str(title)), "parts": _parts(title, shown)} for title, shown in sections.items()]


def _parts(title: str, shown: Any) -> list[dict[str, Any]]:
    if isinstance(shown, list) or type(shown) is tuple:
        return [part for one in shown for part in _parts(title, one)]
    if isinstance(shown, str):
        return [{"text": shown}]
    if isinstance(shown, Path):
        return [_file(shown)]
    figure = getattr(shown, "figure", shown)  # of Axes
    if hasattr(figure, "savefig"):
        return [{"image": _picture(figure)}]
    if isinstance(shown, Description):
        from .dimension import dimension_curve

        return [{"image": _picture(dimension_curve(shown).figure)}, _table(shown.to_dataframe())]
    if isinstance(shown, RetrievalResult):
        from .retrieval import recall_curve

        return [{"image": _picture(recall_curve(shown).figure)}, _table(shown.to_dataframe())]
    if hasattr(shown, "_asdict"):  # bounds, reliabilities, tests: a name and a value each
        rows = {name: value for name, value in shown._asdict().items() if np.ndim(value) == 0}
        return [_rows(["quantity", "value"], [[name, value] for name, value in rows.items()])]
    if hasattr(shown, "to_dataframe"):
        return [_table(shown.to_dataframe())]
    if hasattr(shown, "columns") and hasattr(shown, "reset_index"):
        return [_table(shown)]
    raise ValueError(
        f"Section {title!r} of a report shows figures, tables (pandas, xarray), texts and analyses of prh_jax, got "
        f"{type(shown).__name__}."
    )


def _file(path: Path) -> dict[str, Any]:
    """A picture or a table in a file."""
    import pandas as pd

    try:
        if path.suffix.lower() == ".png":
            return {"image": _address(path.read_bytes())}
        if path.suffix.lower() == ".csv":
            return _table(pd.read_csv(path))
    except (FileNotFoundError, pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be shown in a report: {error}") from None
    raise ValueError(f"A report shows files .png and .csv, got {path}.")


def _picture(figure: Any) -> str:
    """A figure as the address of a PNG on white ground."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=144, bbox_inches="tight", facecolor="white")
    return _address(buffer.getvalue())


def _address(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


def _table(frame: Any) -> dict[str, Any]:
    """A table, with a column for each level of its index if these have names."""
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    return _rows(
        [plain_name(str(head)).replace("_", " ") for head in frame.columns],
        list(frame.head(MOST_ROWS).itertuples(index=False, name=None)),
        len(frame),
    )


def _rows(heads: Sequence[str], rows: Sequence[Sequence[Any]], count: int | None = None) -> dict[str, Any]:
    left_out = f"The first {MOST_ROWS} of {count} rows." if count and count > MOST_ROWS else None
    return {"heads": list(heads), "rows": [[_cell(value) for value in row] for row in rows], "note": left_out}


def _cell(value: Any) -> Any:
    """A number as such, None if it is not finite; anything else in words."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return plain_name(str(value))
