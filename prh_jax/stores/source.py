"""Where layers come from: what the rest of the library asks of a feature store, and what else can replace one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from .bfloat16 import BFLOAT16
from .layout import Layer
from .url import Url


def finite_rows(features: np.ndarray) -> np.ndarray:
    """Which rows have neither NaN nor infinity; of bfloat16 by its bits, as numpy knows it only value by value."""
    if features.dtype == BFLOAT16:
        # of infinity: 0x7F80, or 0xFF80 below zero; a sign makes an int16 negative, and a uint16 large
        largest, least = (features.view(kind).max(axis=1) for kind in (np.int16, np.uint16))
        return np.logical_and(largest < 0x7F80, least < 0xFF80)
    return np.asarray(np.isfinite(features).all(axis=1))


@runtime_checkable
class LayerSource(Protocol):
    """The layers of a model over the same samples, in one order."""

    ids: list[str]
    layers: list[Layer]
    dtype: np.dtype

    @property
    def n(self) -> int:
        """Number of samples."""
        ...

    def read_layer(self, layer: int, rows: slice = slice(None)) -> np.ndarray:
        """Features (n, d) of one layer, or some rows of them."""
        ...

    def read_rows(self, rows: slice) -> list[np.ndarray]:
        """Features of some samples, an array (rows, d) per layer."""
        ...


@runtime_checkable
class ModelSource(LayerSource, Protocol):
    """A LayerSource that can be scored: it says what it holds, and where it lies."""

    path: Path | Url
    spec: dict[str, Any]
    spec_sha256: str
    ids_sha256: str
    result: dict[str, Any]

    @property
    def model(self) -> str:
        """The model's name."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of all features, as stored."""
        ...

    def checksum(self) -> str:
        """Names the contents: features and samples."""
        ...


class GivenLayers:
    """Layers that are in memory already, (n, d) each."""

    def __init__(self, features: Sequence[np.ndarray]):
        self.features = list(features)
        self.layers = [Layer(str(i), layer.shape[1]) for i, layer in enumerate(self.features)]
        self.ids = [str(row) for row in range(len(self.features[0]))]
        self.dtype: np.dtype = self.features[0].dtype

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.ids)

    def read_layer(self, layer: int, rows: slice = slice(None)) -> np.ndarray:
        """Features (n, d) of one layer, or some rows of them."""
        return self.features[layer][rows]

    def read_rows(self, rows: slice) -> list[np.ndarray]:
        """Features of some samples, an array (rows, d) per layer."""
        return [layer[rows] for layer in self.features]
