"""Emoji in four modalities: picture, caption, the name spoken by espeak-ng, and a short clip of the picture.

    python -m extractors.data.build_modalities modalities.parquet --num-samples 512

The voice comes from the package espeakng-loader, or from a library espeak-ng of the system.
"""

import argparse
import ctypes
import ctypes.util
import io
from pathlib import Path
from typing import Any

import numpy as np

from prh_jax.stores.publish import write_whole

from ..datasets.loading import load
from ..errors import ExtractionError

VOICE = "en"
SPOKEN = 1
"""The caption that is spoken: the name, without keywords."""
FRAMES, SIDE = 8, 64
"""Frames of a clip, and pixels of a side."""


class Speaker:
    """The voice of espeak-ng; `say` gives samples (n,) of 16 bits, and `rate` how many there are in a second."""

    def __init__(self, voice: str = VOICE):
        path, data = _library()
        self._library = ctypes.CDLL(path)
        self.rate = self._library.espeak_Initialize(2, 0, data, 1 << 15)  # 2: samples are handed back as they come
        if self.rate <= 0 or self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ExtractionError(f"espeak-ng has no voice {voice!r}, or its data are not installed.")
        self._parts: list[np.ndarray] = []
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
        self._callback = kind(self._take)  # kept, or the library would call a function that is gone
        self._library.espeak_SetSynthCallback(self._callback)

    def _take(self, samples: Any, count: int, events: Any) -> int:
        if count > 0:
            self._parts.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def say(self, text: str) -> np.ndarray:
        """A text spoken."""
        self._parts.clear()
        encoded = text.encode()
        unicode, nothing = ctypes.c_uint(1), None
        size, zero = ctypes.c_size_t(len(encoded) + 1), ctypes.c_uint(0)
        self._library.espeak_Synth(encoded, size, zero, 0, zero, unicode, nothing, nothing)
        self._library.espeak_Synchronize()
        if not self._parts:
            raise ExtractionError(f"espeak-ng says nothing for the text {text!r}.")
        return np.concatenate(self._parts)


def _library() -> tuple[str, bytes | None]:
    try:
        import espeakng_loader

        return espeakng_loader.get_library_path(), espeakng_loader.get_data_path().encode()
    except ImportError:
        found = ctypes.util.find_library("espeak-ng")
        if found is None:
            raise ExtractionError(
                "Spoken captions need espeak-ng: pip install espeakng-loader, or install the library of your system."
            ) from None
        return found, None


def wav(samples: np.ndarray, rate: int) -> bytes:
    """Samples of 16 bits as a WAV file."""
    import wave

    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


def clip(picture: Any) -> bytes:
    """A short animated WebP without loss: the camera moves from the upper left of a picture to its whole."""
    from PIL import Image

    frames, side = [], min(picture.size)
    for step in np.linspace(0.6, 1.0, FRAMES):
        box = (0, 0, round(side * step), round(side * step))
        frames.append(picture.crop(box).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    file = io.BytesIO()
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], duration=100, lossless=True)
    return file.getvalue()


def build(path: str | Path, num_samples: int = 512) -> Path:
    """Write the table, with columns id, image, text, audio and video; one that is there is kept."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if Path(path).exists():
        return Path(path)
    data, speaker = load("emoji_1024", num_samples=num_samples), Speaker()
    assert data.pictures is not None
    columns = {
        "id": data.ids,
        "image": [dict(data.pictures[row]) for row in range(len(data))],
        "text": [data.captions_of(row)[0] for row in range(len(data))],
        "audio": [
            {"bytes": wav(speaker.say(data.captions_of(row, SPOKEN)[0]), speaker.rate)} for row in range(len(data))
        ],
        "video": [{"bytes": clip(data.image(row))} for row in range(len(data))],
    }
    with write_whole(Path(path), replace=False) as building:
        pq.write_table(pa.table(columns), building)
    return Path(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output")
    parser.add_argument("--num-samples", type=int, default=512)
    given = parser.parse_args()
    print(build(given.output, given.num_samples))
