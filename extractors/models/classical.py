"""Simple features of pictures and sounds, no network: what alignment is worth that comes for free."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from prh_jax.stores.layout import Layer

from ..datasets.samples import Dataset
from ..datasets.sounds import resample


def pixels_32(image: Any) -> np.ndarray:
    """The picture at 32 x 32, RGB in [0, 1]: (3072,)."""
    return np.asarray(image.resize((32, 32)), np.float32).ravel() / 255


def color_histogram(image: Any) -> np.ndarray:
    """Share of pixels in each of 8 x 8 x 8 RGB cells, square-rooted (Hellinger): (512,)."""
    cells = np.asarray(image, np.int64).reshape(-1, 3) // 32
    counts = np.bincount(cells @ np.array([64, 8, 1]), minlength=512)
    return np.sqrt(counts / counts.sum()).astype(np.float32)


def hog(image: Any) -> np.ndarray:
    """Histograms of oriented gradients (Dalal and Triggs 2005): (729,).

    The picture in grey at 72 x 72, 9 directions in each of 9 x 9 cells, every cell normalised by itself.
    """
    from skimage.feature import hog as histogram

    grey = np.asarray(image.convert("L").resize((72, 72)), np.float32) / 255
    return histogram(grey, orientations=9, pixels_per_cell=(8, 8), cells_per_block=(1, 1)).astype(np.float32)


def mel_spectrogram(sound: tuple[np.ndarray, int]) -> np.ndarray:
    """Mean log energy of 64 mel bands in each of 8 equal parts of a sound's time, at 16 kHz: (512,).

    A sound is followed by silence where it is shorter than 8 windows of 25 ms that begin every 10 ms.
    """
    from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

    wave = resample(*sound, 16000)
    wave = np.pad(wave, (0, max(0, 400 + 7 * 160 - len(wave))))
    filters = mel_filter_bank(201, 64, 20.0, 8000.0, 16000, norm="slaney", mel_scale="slaney")
    energies = spectrogram(
        wave, window_function(400, "hann"), 400, 160, power=2.0, center=False, mel_filters=filters, log_mel="log"
    )
    return np.concatenate([part.mean(axis=1) for part in np.array_split(energies, 8, axis=1)]).astype(np.float32)


class Feature(NamedTuple):
    """A feature function, its width, and the modality of its samples."""

    function: Callable[[Any], np.ndarray]
    width: int
    modality: str = "vision"


CLASSICAL = {
    "pixels_32": Feature(pixels_32, 3072),
    "color_histogram": Feature(color_histogram, 512),
    "hog": Feature(hog, 729),
    "mel_spectrogram": Feature(mel_spectrogram, 512, "audio"),
}
"""By model name."""


@dataclass
class ClassicalExtractor:
    """One feature function as a model of one layer."""

    name: str

    by_length: ClassVar[bool] = False
    sample_arrays: ClassVar[dict[str, str]] = {}
    pool: ClassVar[str] = "none"
    device: ClassVar[Any] = None

    @property
    def modality(self) -> str:
        return CLASSICAL[self.name].modality

    @property
    def layers(self) -> list[Layer]:
        return [Layer(self.name, CLASSICAL[self.name].width)]

    def spec(self) -> dict[str, Any]:
        """Identity of these features, apart from the data."""
        return {
            "modality": self.modality,
            "model": self.name,
            "revision": "1",
            "random_init": None,
            "pool": self.pool,
            "dtype_compute": "float32",
        }

    def parameters(self) -> dict[str, int]:
        """It has none."""
        return {"params_total": 0, "params_backbone": 0}

    def prepare(self, data: Dataset, row: int) -> list[np.ndarray]:
        """The features themselves: nothing is left for a model to do."""
        sample = data.sound(row) if self.modality == "audio" else data.image(row)
        return [CLASSICAL[self.name].function(sample)]

    def forward(self, inputs: Sequence[np.ndarray]) -> tuple[list[Any], dict[str, np.ndarray]]:
        """Features of some samples, one (batch, d) tensor."""
        import torch

        return [torch.from_numpy(np.stack(list(inputs)))], {}
