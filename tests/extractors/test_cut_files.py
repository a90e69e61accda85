"""Files that were cut short, clips that lie on their side, and texts that a model cannot read."""

import io
import struct

import numpy as np
import pytest

pytest.importorskip("soundfile")
pytest.importorskip("av")

from tiny_files import film, frames, sound, wav

from extractors.datasets import clips, sounds
from extractors.datasets.clips import FrameRule
from extractors.datasets.whole import check_whole


def encoded(values, form, codec, kind, *, path=None, **options):
    """Frames in a film of another format; at a path where its writer reads it again."""
    import av

    file = io.BytesIO()
    with av.open(str(path) if path else file, "w", format=form, options=options) as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = values.shape[2], values.shape[1], kind
        for frame in values:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path.read_bytes() if path else file.getvalue()


def test_files_that_were_cut_short_are_refused(tmp_path):
    """Decoders read those of these formats as shorter ones."""
    moving = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), np.uint8)
    files = {
        "wav": wav(sound(0, 1)),
        "24 bit": wav(sound(0, 1, channels=2), subtype="PCM_24"),
        "aiff": wav(sound(0, 1), format="AIFF", subtype="PCM_16"),
        "matroska": film(frames(0, 30)),
        "avi": encoded(moving, "avi", "mjpeg", "yuvj420p"),
        "mp4": encoded(moving, "mp4", "mpeg4", "yuv420p"),
        "tables first": encoded(moving, "mp4", "mpeg4", "yuv420p", path=tmp_path / "a.mp4", movflags="faststart"),
        "in fragments": encoded(moving, "mp4", "mpeg4", "yuv420p", movflags="frag_keyframe+empty_moov"),
    }
    for name, stored in files.items():
        check_whole(stored)
        check_whole(stored + bytes(7))  # some writers leave such behind
        for part in (0.4, 0.7):
            with pytest.raises(ValueError, match=r"it is cut short: \d+ of \d+ bytes"):
                check_whole(stored[: int(part * len(stored))])
        read = clips.count_frames if name not in ("wav", "24 bit", "aiff") else sounds.decode
        with pytest.raises(ValueError, match="cut short"):
            read(stored[: len(stored) // 2])
    piped = bytearray(files["wav"])
    at = piped.index(b"data") + 4
    for length in (0xFFFFFFFF, 0x7FFFFFFF):  # of a writer that did not know
        piped[at : at + 4] = struct.pack("<I", length)
        assert len(sounds.decode(bytes(piped))[0]) == 16000
    live = encoded(moving, "matroska", "mpeg4", "yuv420p", live="1")
    assert clips.count_frames(live) == 12
    for other in (b"", b"RIFF", b"\x1aE\xdf\xa3", b"\x1aE\xdf\xa3\x00", b"0000ftyp", bytes(40)):
        check_whole(other)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_clips_are_upright(degrees):
    """A point at (x, y) is shown at (a x + c y, b x + d y) of the film's matrix (a, b; c, d), moved into view."""
    made = np.zeros((3, 32, 64, 3), np.uint8)
    made[:, :16, :32], made[:, 16:, 32:] = (255, 0, 0), (0, 0, 255)  # red above on the left, blue below on the right
    stored = bytearray(encoded(made, "mp4", "mpeg4", "yuv420p"))
    cos, sin = ((1, 0), (0, 1), (-1, 0), (0, -1))[degrees // 90]
    at = stored.index(b"tkhd") + 44
    stored[at : at + 36] = struct.pack(">9i", cos << 16, sin << 16, 0, -sin << 16, cos << 16, 0, 0, 0, 1 << 30)
    (found,) = (np.asarray(frame).astype(int) for frame in clips.frames(bytes(stored), FrameRule(1)))
    corners = {}
    for x, y in ((8, 8), (56, 24)):
        shown = np.array([cos * (x - 32) - sin * (y - 16), sin * (x - 32) + cos * (y - 16)])  # about the middle
        column, row = shown + np.array(found.shape[1::-1]) // 2
        corners[x] = found[row, column]
    assert found.shape[:2] == ((64, 32) if degrees % 180 else (32, 64))
    assert np.abs(corners[8] - [255, 0, 0]).max() < 40 and np.abs(corners[56] - [0, 0, 255]).max() < 40
