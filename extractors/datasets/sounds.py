"""Sounds decoded to one channel of float32, and resampled to what a model was trained on."""

import io
from typing import Any

import numpy as np

from ..errors import require
from .whole import check_whole

DECODED = "float32, mean over channels"
"""How sounds are decoded, for records: change it with the code."""

RESAMPLED = "scipy.signal.resample_poly, Kaiser window (beta 5)"
"""How sounds are resampled, for records: change it with the code."""


def decode(stored: bytes) -> tuple[np.ndarray, int]:
    """The samples (n,) of an encoded sound in float32, in [-1, 1], and how many there are in a second.

    soundfile reads WAV, FLAC, OGG, MP3, AIFF and their kin; PyAV the rest, such as AAC.
    """
    require("soundfile", "audio")
    import soundfile

    check_whole(stored)
    try:
        wave, rate = soundfile.read(io.BytesIO(stored), dtype="float32", always_2d=True)
        wave = wave.mean(axis=1)
    except soundfile.LibsndfileError as error:
        wave, rate = _by_av(stored, error)
    if not len(wave):
        raise ValueError("it has no samples")
    if not np.isfinite(wave).all():
        raise ValueError("it has samples that are NaN or infinite")
    return wave, int(rate)


def _by_av(stored: bytes, refused: Exception) -> tuple[np.ndarray, int]:
    try:
        import av
    except ImportError:
        raise ValueError(
            f"{str(refused).rstrip('.')}; codecs of films, such as AAC, need the package av: "
            'pip install "prh-jax[video]"'
        ) from refused
    with av.open(io.BytesIO(stored), "r") as container:
        if not container.streams.audio:
            raise ValueError("it has no sound")
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="fltp")
        parts = [part.to_ndarray() for frame in container.decode(stream) for part in resampler.resample(frame)]
        return np.concatenate(parts, axis=1).mean(axis=0, dtype=np.float32), stream.rate


def kind_of(stored: bytes | None) -> str:
    """Format, rate and channels of an encoded sound, from its header alone."""
    if stored is None:
        return "missing"
    try:
        import soundfile
    except ImportError:
        return "sounds, not looked at without the package soundfile"
    try:
        info = soundfile.info(io.BytesIO(stored))
    except soundfile.LibsndfileError:
        return "not known to soundfile"
    channels = "1 channel" if info.channels == 1 else f"mean of {info.channels} channels"
    return f"{info.format} {info.subtype}, {info.samplerate} Hz, {channels}"


def resample(wave: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """A sound at another rate, in float32, by a polyphase filter."""
    from math import gcd

    from scipy.signal import resample_poly

    if rate == wanted:
        return wave
    common = gcd(rate, wanted)
    return np.asarray(resample_poly(wave.astype(np.float64), wanted // common, rate // common), np.float32)


def seconds_of(wave: Any, rate: int) -> float:
    """Length of a sound."""
    return len(wave) / rate
