"""Clips decoded to the frames that a rule chooses."""

import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ExtractionError, require
from .whole import check_whole

DECODED = "frames in RGB in the order of presentation, upright by the display matrix"
"""How clips are decoded, for records: change it with the code."""

_PICTURES = (b"GIF8", b"RIFF", b"\x89PNG")
"""How animated pictures begin that Pillow reads: GIF, WebP and PNG."""


@dataclass(frozen=True)
class FrameRule:
    """Which frames of a clip are read: one from each of `count` parts of equal length.

    The frame in the middle of each part or, with a seed, one that the seed and the sample's id draw.
    """

    count: int
    seed: int | None = None

    @classmethod
    def parse(cls, text: str) -> "FrameRule":
        """The rule of `--frames 8` (in the middle) or `--frames 8@0` (drawn, seed 0)."""
        found = re.fullmatch(r"(\d+)(?:@(\d+))?", text)
        if found is None or int(found[1]) < 1:
            raise ExtractionError(
                f"--frames {text} is no rule: 8 reads the middle frame of each of 8 parts of a clip, 8@0 one of each "
                "part that seed 0 draws."
            )
        return cls(int(found[1]), None if found[2] is None else int(found[2]))

    def __str__(self) -> str:
        return str(self.count) if self.seed is None else f"{self.count}@{self.seed}"

    def rows(self, total: int, key: str = "") -> list[int]:
        """Numbers of the frames, of a clip that has `total`; frames repeat where a clip has fewer than `count`."""
        edges = np.arange(self.count + 1) * total / self.count
        if self.seed is None:
            at = (edges[:-1] + edges[1:]) / 2
        else:
            digest = hashlib.sha256(f"{self.seed}/{key}".encode()).digest()
            at = edges[:-1] + np.random.default_rng(list(digest)).random(self.count) * np.diff(edges)
        return np.minimum(np.floor(at).astype(int), total - 1).tolist()


def frames(stored: bytes, rule: FrameRule, key: str = "") -> list[Any]:
    """The frames of a clip that a rule chooses, as PIL images in RGB; ValueError where it has none.

    PyAV reads films, Pillow animated GIF, WebP and PNG.
    """
    with _opened(stored) as clip:
        wanted = rule.rows(clip.count(), key)
        chosen = clip.take(wanted)
        return [chosen[row] for row in wanted]


def count_frames(stored: bytes) -> int:
    """How many frames a clip has, by decoding it."""
    with _opened(stored) as clip:
        return clip.count()


def kind_of(stored: bytes | None) -> str:
    """Codec, size and rate of an encoded clip, from its header alone."""
    if stored is None:
        return "missing"
    if stored.startswith(_PICTURES):
        from .pictures import kind_of as of_picture

        return of_picture(stored).replace("first frame", "all frames")
    try:
        import av
    except ImportError:
        return "clips, not looked at without the package av"
    try:
        with av.open(io.BytesIO(stored), "r") as container:
            stream = container.streams.video[0]
            rate = "" if stream.average_rate is None else f", {float(stream.average_rate):g} frames a second"
            return f"{stream.codec_context.name}, {stream.width} x {stream.height}{rate}"
    except (OSError, IndexError, ValueError):
        return "unreadable"


class _Film:
    """A clip of PyAV's, decoded from the start each time: seeking in films is not exact."""

    def __init__(self, stored: bytes):
        self.stored = stored

    def _decoded(self) -> Iterator[Any]:
        import av

        with av.open(io.BytesIO(self.stored), "r") as container:
            if not container.streams.video:
                raise ValueError("it has no picture")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            yield from container.decode(stream)

    def count(self) -> int:
        total = sum(1 for _ in self._decoded())
        if not total:
            raise ValueError("it has no frames")
        return total

    def take(self, rows: Sequence[int]) -> dict[int, Any]:
        wanted, last = set(rows), max(rows)
        found = {}
        for row, frame in enumerate(self._decoded()):
            if row in wanted:
                found[row] = _upright(frame)
            if row == last:
                break
        return found


def _upright(frame: Any) -> Any:
    """A frame as a PIL image, turned as the film says: telephones store what they film lying on its side."""
    from PIL import Image

    turns = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}
    turned = turns.get(frame.rotation % 360)
    return frame.to_image() if turned is None else frame.to_image().transpose(turned)


class _Animation:
    """A clip of Pillow's."""

    def __init__(self, image: Any):
        self.image = image

    def count(self) -> int:
        return getattr(self.image, "n_frames", 1)

    def take(self, rows: Sequence[int]) -> dict[int, Any]:
        from .pictures import as_rgb

        found = {}
        for row in sorted(set(rows)):
            self.image.seek(row)
            found[row] = as_rgb(self.image.copy())
        return found


@contextmanager
def _opened(stored: bytes) -> Iterator[Any]:
    if stored.startswith(_PICTURES) and not stored[8:12].startswith(b"AVI"):
        from PIL import Image

        with Image.open(io.BytesIO(stored)) as image:
            yield _Animation(image)
    else:
        require("av", "video")
        check_whole(stored)
        yield _Film(stored)
