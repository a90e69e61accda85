"""What a store's data looked like when they were read: kinds of samples, the first and the last, for a person's eye."""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

THUMBNAIL = 16
"""Pixels of a side of a thumbnail."""
_WIDEST = 72


def pack_thumbnail(pixels: np.ndarray) -> str:
    """Pixels (16, 16, 3) of bytes as text."""
    return base64.b64encode(np.ascontiguousarray(pixels, np.uint8).tobytes()).decode()


def preview_lines(preview: Mapping[str, Any], *, color: bool = False) -> list[str]:
    """The record as lines to print.

    Parameters
    ----------
    preview
        What `extractors.datasets.preview` records of a data set.
    color
        Draw thumbnails, for terminals that show colours.
    """
    n, skipped = preview.get("samples"), preview.get("skipped")
    lines = [f"samples    {n}" + (f", {skipped} broken ones left out" if skipped else "")]
    lines += [f"{'' if i else 'pictures':<10} {count} {_plain(kind)}" for i, (kind, count) in _counts(preview)]
    if preview.get("texts"):
        lines.append(f"texts      {_plain(preview['texts'])}")
    for which in ("first", "last"):
        sample = preview.get(which)
        if isinstance(sample, Mapping):
            facts = [repr(sample.get("id")), *([_plain(sample["size"])] if sample.get("size") else [])]
            lines.append(f"{which:<10} " + ", ".join(facts))
            if sample.get("text"):
                lines.append(f"           {_shortened(sample['text'])!r}")
            if color and sample.get("thumbnail"):
                lines += [" " * 11 + line for line in _drawn(sample["thumbnail"])]
    return lines


def _counts(preview: Mapping[str, Any]) -> Any:
    kinds: Mapping[str, int] = preview.get("pictures") or {}
    return enumerate(sorted(kinds.items(), key=lambda item: (-item[1], item[0])))


def _plain(text: Any) -> str:
    """A text on one line, without what a terminal would take as commands: a record of a store is data of others."""
    return repr(str(text))[1:-1]


def _shortened(text: str) -> str:
    return text if len(text) <= _WIDEST else text[: _WIDEST - 3] + "..."


def _drawn(thumbnail: str) -> list[str]:
    """Half blocks in 24-bit colour: two rows of pixels a line."""
    try:
        pixels = np.frombuffer(base64.b64decode(thumbnail, validate=True), np.uint8)
        rows = pixels.reshape(THUMBNAIL // 2, 2, THUMBNAIL, 3)
    except ValueError:
        return []
    upper, lower = rows[:, 0].tolist(), rows[:, 1].tolist()
    return [
        "".join(f"\x1b[38;2;{a};{b};{c}m\x1b[48;2;{d};{e};{f}m▀" for (a, b, c), (d, e, f) in zip(*pair, strict=True))
        + "\x1b[0m"
        for pair in zip(upper, lower, strict=True)
    ]
