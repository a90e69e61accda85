"""Simple features of pictures, no network: what alignment is worth that comes for free."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from prh_jax.stores.layout import Layer

from ..datasets.samples import Dataset


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


CLASSICAL: dict[str, tuple[Callable[[Any], np.ndarray], int]] = {
    "pixels_32": (pixels_32, 3072),
    "color_histogram": (color_histogram, 512),
    "hog": (hog, 729),
}
"""Feature functions by model name, with their width."""


@dataclass
class ClassicalExtractor:
    """One feature function as a model of one layer."""

    name: str

    modality: ClassVar[str] = "vision"
    by_length: ClassVar[bool] = False
    sample_arrays: ClassVar[dict[str, str]] = {}
    pool: ClassVar[str] = "none"
    device: ClassVar[Any] = None

    @property
    def layers(self) -> list[Layer]:
        return [Layer(self.name, CLASSICAL[self.name][1])]

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
        return [CLASSICAL[self.name][0](data.image(row))]

    def forward(self, inputs: Sequence[np.ndarray]) -> tuple[list[Any], dict[str, np.ndarray]]:
        """Features of some samples, one (batch, d) tensor."""
        import torch

        return [torch.from_numpy(np.stack(list(inputs)))], {}
