"""Names, facts and tables as people read them, on one line or in the HTML of notebooks, whatever the names hold."""

import html
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from .source import ModelSource

EMPTY = "(empty name)"
MOST = 12
"""Layers or models that a notebook shows."""
_CELL = "padding:.15em .6em;text-align:{};border-bottom:1px solid rgba(128,128,128,.3)"


def plain_name(name: Any) -> str:
    """A name on one line: control characters, and those that turn the direction of writing, are spelled out."""
    spelled = "".join(
        f"<U+{ord(c):04X}>" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c for c in str(name)
    )
    return spelled if spelled.strip() else EMPTY


def shorten(name: str, limit: int) -> str:
    """A name cut in the middle where it is longer than the limit."""
    return name if len(name) <= limit else name[: limit // 2 - 1] + "…" + name[-(limit // 2) :]


def some_names(names: Sequence[Any], most: int = 4, limit: int = 36) -> str:
    """Names on one line: the first of many, and how many more there are."""
    shown = [shorten(plain_name(name), limit) for name in names[:most]]
    return ", ".join(shown) + (f" and {len(names) - most} more" if len(names) > most else "")


def facts_text(title: str, facts: Iterable[tuple[str, str]]) -> str:
    """A title and a line for each fact."""
    return "\n".join([title, *(f"  {word:<9} {text}" for word, text in facts)])


def html_text(text: Any, limit: int = 200) -> str:
    """Text that HTML shows as it is."""
    return html.escape(shorten(plain_name(text), limit))


def facts_html(title: str, facts: Iterable[tuple[str, str]], *parts: str) -> str:
    """A title, a line for each fact, and what is HTML already. Colours are those around it, be they light or dark."""
    lines = [
        f'<div><span style="opacity:.65">{html_text(word)}</span> {html_text(text, 400)}</div>' for word, text in facts
    ]
    return (
        f'<div dir="ltr" style="line-height:1.5"><div><b>{html_text(title)}</b></div>{"".join([*lines, *parts])}</div>'
    )


def table_html(corner: str, columns: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]], note: str = "") -> str:
    """A table of cells that are HTML already, under and next to names that are not."""
    left, right = (_CELL.format(side) for side in ("left", "right"))
    head = "".join(f'<th dir="auto" style="{right}">{html_text(name, 28)}</th>' for name in columns)
    body = "".join(
        f'<tr><th dir="auto" style="{left}">{html_text(name, 40)}</th>'
        + "".join(f'<td style="{right}">{cell}</td>' for cell in cells)
        + "</tr>"
        for name, cells in rows
    )
    below = f'<div style="opacity:.65">{html_text(note, 400)}</div>' if note else ""
    top = f'<tr><th style="{left}">{html_text(corner)}</th>{head}</tr>'
    table = f'<table style="border-collapse:collapse;margin:.5em 0"><thead>{top}</thead><tbody>{body}</tbody></table>'
    return table + below


def store_text(store: ModelSource) -> str:
    """A feature store on a few lines."""
    return facts_text(*_facts(store))


def store_html(store: ModelSource) -> str:
    """A feature store as a notebook shows it, with its layers."""
    rows = [(layer.name, [str(layer.dim)]) for layer in store.layers[:MOST]]
    more = len(store.layers) - MOST
    return facts_html(
        *_facts(store), table_html("layer", ["width"], rows, f"and {more} more layers" if more > 0 else "")
    )


def _facts(store: ModelSource) -> tuple[str, list[tuple[str, str]]]:
    widths = [layer.dim for layer in store.layers]
    width = f"{min(widths)}" if min(widths) == max(widths) else f"{min(widths)} to {max(widths)}"
    unfinished = ", unfinished" * (not getattr(store, "complete", True))
    facts = [
        ("layers", f"{len(widths)} of width {width}: {some_names([layer.name for layer in store.layers], 3, 28)}"),
        ("samples", f"{store.n}: {some_names(store.ids, 3, 28)}"),
        ("features", f"{store.dtype}, {_size(store.nbytes)}{unfinished}"),
        ("where", plain_name(store.path)),
    ]
    return f"{type(store).__name__} of {plain_name(store.model)}", facts


def _size(count: int) -> str:
    """Bytes in the largest unit of which there is at least one."""
    power = min(max(count, 1).bit_length() - 1, 49) // 10
    return f"{count / 2 ** (10 * power):.{bool(power):d}f} {('bytes', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"
