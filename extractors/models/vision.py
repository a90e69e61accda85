"""Vision models of timm and transformers: features after every block or stage, pooled as they come."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from prh_jax.stores.layout import Layer

from ..datasets.samples import Dataset
from ..errors import ExtractionError
from . import pooling
from .base import Tower, describe_layers
from .pooling import pool_image


@dataclass
class VisionExtractor:
    """One vision model, ready to give pooled features of pictures, layer by layer."""

    tower: Tower
    pool: str
    final_norm: bool = False
    layers: list[Layer] = field(default_factory=list)

    modality: ClassVar[str] = "vision"
    by_length: ClassVar[bool] = False
    sample_arrays: ClassVar[dict[str, str]] = {}

    def __post_init__(self):
        if not self.layers:
            import torch

            size = self.tower.spec()["image_size"]
            probe, _ = self.forward([torch.zeros(*size)])
            self.layers = describe_layers([*self.tower.names, *(["final_norm"] if self.final_norm else [])], probe)

    @property
    def device(self) -> Any:
        return self.tower.device

    @property
    def model(self) -> Any:
        return self.tower.model

    def spec(self) -> dict[str, Any]:
        """What identifies these features, apart from the data."""
        return {"modality": self.modality, **self.tower.spec(), "pool": self.pool, "final_norm": self.final_norm}

    def parameters(self) -> dict[str, int]:
        """Parameter counts: all (as the reference counts, classifier included), and without the classifier."""
        return self.tower.parameters()

    def prepare(self, data: Dataset, row: int) -> list[Any]:
        """One picture, resized and normalised as the model's own configuration says."""
        return [self.tower.transform(data.image(row))]

    def forward(self, inputs: Sequence[Any]) -> tuple[list[Any], dict[str, np.ndarray]]:
        """Pooled float32 features of a batch of transformed pictures, one tensor a layer."""
        import torch

        with torch.inference_mode():
            return self.tower.states(torch.stack(list(inputs)), self._pool, final=self.final_norm), {}

    def _pool(self, output: Any, prefix: int) -> Any:
        return pool_image(output, self.pool, prefix)


def load(
    name: str,
    *,
    pool: str = "auto",
    final_norm: bool = False,
    random_init: int | None = None,
    dtype: str = "auto",
    device: str = "auto",
    quantize: str | None = None,
    device_map: str | None = None,
    compiled: bool = False,
    options: dict[str, Any] | None = None,
) -> VisionExtractor:
    """A vision model by timm's name, a hub name of transformers, or the path of a local checkpoint of either.

    `random_init` draws the weights from that seed instead of loading them. `options` go to `timm.create_model`.
    """
    from .timm_vision import load_timm
    from .transformers_vision import is_transformers, load_tower

    if quantize or device_map:
        raise ExtractionError(
            f"--quantize and --device-map are for language models; {name} is a vision model. Leave them out."
        )
    common = {"random_init": random_init, "dtype": dtype, "device": device, "compiled": compiled}
    if is_transformers(name):
        tower: Tower = load_tower(name, **common)
    else:
        tower = load_timm(name, **common, options=options)
    canonical = pooling.resolve_image(pool, name, has_class_token=tower.has_class_token)
    return VisionExtractor(tower, canonical, final_norm)
