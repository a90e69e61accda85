"""Interface of extractors."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np

from prh_jax.stores.layout import Layer

from ..datasets.samples import Dataset


class Tower(Protocol):
    """A vision model made ready, whatever library it is from."""

    name: str
    model: Any
    device: Any
    dtype: Any
    names: list[str]
    """Of its blocks or stages, in order."""
    has_class_token: bool
    """Whether token 0 after each block is a class token, not a patch or a register."""

    def spec(self) -> dict[str, Any]: ...

    def parameters(self) -> dict[str, Any]: ...

    def transform(self, image: Any) -> Any:
        """A PIL image in RGB as the model's input (3, height, width)."""
        ...

    def states(self, images: Any, pool: Callable[[Any, int], Any], *, final: bool) -> list[Any]:
        """`pool(output, prefix tokens)` of every block or stage, and on request of the state after the final norm."""
        ...


class Extractor(Protocol):
    """A model made ready: what a block of features is made with."""

    layers: Any
    sample_arrays: Any
    by_length: ClassVar[bool]
    """Whether inputs of like length share a batch, within a block."""

    @property
    def modality(self) -> str: ...

    @property
    def pool(self) -> str: ...

    def spec(self) -> dict[str, Any]:
        """Identity of the features, apart from the data."""
        ...

    def parameters(self) -> dict[str, Any]:
        """Parameter counts, params_total and params_backbone; and `weights`, SHA-256 of each file of them."""
        ...

    def prepare(self, data: Dataset, row: int) -> Sequence[Any]:
        """Inputs of one sample, ready to be batched: one, or one for each caption of several. Runs in data workers."""
        ...

    def forward(self, inputs: Sequence[Any]) -> tuple[list[Any], dict[str, np.ndarray]]:
        """Float32 features (batch, d) for each layer, and a number for each input for each of `sample_arrays`."""
        ...


def describe_layers(names: Sequence[str], probe: Sequence[Any]) -> list[Layer]:
    """Layers by name, with the widths that a first forward pass has shown."""
    return [Layer(name, int(state.shape[1])) for name, state in zip(names, probe, strict=True)]
