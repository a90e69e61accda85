"""Summary of a store's data as they were read: kinds of samples, the first and the last, for a person's eye."""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

THUMBNAIL = 16
"""Pixels of a side of a thumbnail."""
_WIDEST, _MOST = 72, 20
"""Characters of a value, and kinds of files, that are shown."""


def pack_thumbnail(pixels: np.ndarray) -> str:
    """Pixels (16, 16, 3) of bytes as text."""
    return base64.b64encode(np.ascontiguousarray(pixels, np.uint8).tobytes()).decode()


def preview_lines(preview: Mapping[str, Any], *, color: bool = False) -> list[str]:
    """The record as lines to print.

    Parameters
    ----------
    preview
        The record of a data set by `extractors.datasets.preview`.
    color
        Draw thumbnails, for terminals that show colours.
    """
    skipped = preview.get("skipped")
    left_out = f", {plain(skipped)} broken ones left out" if skipped else ""
    lines = [f"samples    {plain(preview.get('samples'))}{left_out}"]
    for noun in ("pictures", "sounds", "clips"):
        kinds = preview.get(noun)
        for i, (kind, count) in enumerate(_most(kinds) if isinstance(kinds, Mapping) else ()):
            lines.append(f"{'' if i else noun:<10} {plain(count)} {plain(kind)}")
    if preview.get("texts"):
        lines.append(f"texts      {plain(preview['texts'])}")
    for which in ("first", "last"):
        sample = preview.get(which)
        if isinstance(sample, Mapping):
            size = f", {plain(sample['size'])}" if sample.get("size") else ""
            lines.append(f"{which:<10} '{plain(sample.get('id'))}'{size}")
            if sample.get("text"):
                lines.append(f"           '{plain(sample['text'])}'")
            if color and isinstance(sample.get("thumbnail"), str):
                lines += [" " * 11 + line for line in _drawn(sample["thumbnail"])]
    return lines


def plain(value: Any) -> str:
    """A value on one line of bounded length, without what a terminal takes as commands.

    A store's record is data of others: it may be of any type and size.
    """
    text = str(value)[: 2 * _WIDEST]
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return text if len(text) <= _WIDEST else text[: _WIDEST - 3] + "..."


def _most(kinds: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    """The most frequent kinds, some at most; what is no count comes last."""

    def count(item: tuple[Any, Any]) -> float:
        return item[1] if isinstance(item[1], int | float) else 0

    return sorted(kinds.items(), key=lambda item: (-count(item), str(item[0])))[:_MOST]


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
