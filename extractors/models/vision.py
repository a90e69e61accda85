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
from .pooling import TOKENS, pool_image
from .tokens import check_counts, patch_grid


@dataclass
class VisionExtractor:
    """One vision model, ready to give pooled features of pictures, layer by layer."""

    tower: Tower
    pool: str
    final_norm: bool = False
    layers: list[Layer] = field(default_factory=list)
    alone: bool = False
    """Whether pictures are run one at a time, as others of a batch would change their states."""
    tokens: int = 0
    """Patches of a picture, where these are kept."""
    grid: list[int] | None = None
    """Their rows and columns, where known."""

    modality: ClassVar[str] = "vision"
    by_length: ClassVar[bool] = False
    sample_arrays: ClassVar[dict[str, str]] = {}

    def __post_init__(self):
        if not self.layers:
            probe = self._settle_batch()
            self.layers = describe_layers([*self.tower.names, *(["final_norm"] if self.final_norm else [])], probe)
            if self.pool == TOKENS:
                check_counts(self.tower.name, self.layers, probe)
                self.tokens, self.grid = len(probe[0]), patch_grid(self.tower, len(probe[0]))

    def _settle_batch(self) -> list[Any]:
        """Find whether pictures may share a batch; the states of one. ExtractionError where they vary by themselves."""
        import torch

        random = torch.Generator().manual_seed(0)
        first, second = (torch.randn(*self.tower.spec()["image_size"], generator=random) for _ in range(2))
        one, again = self.forward([first])[0], None
        try:
            both = self.forward([first, second])[0]
            again = [state[: len(alone)] for state, alone in zip(both, one, strict=True)]
        except RuntimeError as error:  # of shapes that one picture has; memory that runs out is no property of a model
            if isinstance(error, torch.OutOfMemoryError):
                raise
        if again is None or not self._near(again, one):
            self.alone = True
            if not self._near(self.forward([first])[0], one):
                raise ExtractionError(
                    f"{self.tower.name} cannot be read: a picture has other states at each call, as the model draws "
                    "random numbers. Choose another model, or one without its random part."
                )
        return one

    def _near(self, found: list[Any], expected: list[Any]) -> bool:
        """Whether features are those expected but for rounding, by the dtype of the arithmetic."""
        import torch

        allowed = 1e-3 if self.tower.dtype == torch.float32 else 0.1
        gaps = [float((a - b).norm() / b.norm().clamp(min=1e-30)) for a, b in zip(found, expected, strict=True)]
        return all(gap <= allowed for gap in gaps)

    @property
    def device(self) -> Any:
        return self.tower.device

    @property
    def model(self) -> Any:
        return self.tower.model

    def spec(self) -> dict[str, Any]:
        """Identity of these features, apart from the data."""
        own: dict[str, Any] = {"batch": "one picture at a time"} if self.alone else {}
        if self.pool == TOKENS:
            own["tokens"] = {"kind": "patches", "grid": self.grid}
        return {"modality": self.modality, **self.tower.spec(), "pool": self.pool, "final_norm": self.final_norm, **own}

    def count_tokens(self, data: Dataset) -> list[int]:
        """Number of patches of each picture."""
        return [self.tokens] * len(data)

    def parameters(self) -> dict[str, Any]:
        """Parameter counts: all (as the reference counts, with the classifier), and without; and hashes of weights."""
        return self.tower.parameters()

    def prepare(self, data: Dataset, row: int) -> list[Any]:
        """One picture, resized and normalised as the model's own configuration says."""
        return [self.tower.transform(data.image(row))]

    def forward(self, inputs: Sequence[Any]) -> tuple[list[Any], dict[str, np.ndarray]]:
        """Pooled float32 features of a batch of transformed pictures, one tensor a layer."""
        import torch

        with torch.inference_mode():
            batches = [[picture] for picture in inputs] if self.alone else [list(inputs)]
            parts = [self.tower.states(torch.stack(batch), self._pool, final=self.final_norm) for batch in batches]
        return [torch.cat(layer) for layer in zip(*parts, strict=True)], {}

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
