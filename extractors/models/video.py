"""Models of clips: video transformers natively, and image models as the mean of their features over frames."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from prh_jax.stores.layout import Layer

from ..datasets.clips import FrameRule
from ..datasets.samples import Dataset
from ..errors import ExtractionError
from . import pooling
from .base import Extractor, describe_layers
from .transformers_files import LoadedPart, OfPart, load_part

FAMILIES: dict[str, tuple[str, bool]] = {
    "videomae": ("pixel_values", False),
    "timesformer": ("pixel_values", True),
    "vivit": ("pixel_values", True),
    "vjepa2": ("pixel_values_videos", False),
}
"""Name of the input, and whether the first token is a class token, by the model type of transformers."""

FRAMES = FrameRule(8)
"""The frames that image models read of a clip where none are asked for."""


@dataclass
class VideoExtractor(OfPart):
    """One video transformer, ready to give pooled features of clips, layer by layer."""

    loaded: LoadedPart
    kind: str
    pool: str
    frames: FrameRule
    layers: list[Layer] = field(default_factory=list)

    modality: ClassVar[str] = "video"
    by_length: ClassVar[bool] = False
    sample_arrays: ClassVar[dict[str, str]] = {}

    def __post_init__(self):
        if self.layers:
            return
        random = np.random.default_rng(0)
        from PIL import Image

        first, second = (
            self._prepared([Image.fromarray(random.integers(0, 256, (64, 64, 3), np.uint8))] * self.frames.count)
            for _ in range(2)
        )
        try:
            self.loaded.settle(self._inputs([first]))
        except (RuntimeError, ValueError, IndexError) as error:
            raise ExtractionError(
                f"{self.loaded.name} does not read {self.frames.count} frames ({error}). Its configuration says "
                f"{_own_frames(self.loaded.config)}: leave --frames away, or name a number that it reads."
            ) from error
        alone = self.forward([first])[0]
        if not all(
            np.allclose(
                a[:1], b, rtol=0, atol=(1e-3 if str(self.loaded.dtype) == "torch.float32" else 0.1) * abs(b).max()
            )
            for a, b in zip(self.forward([first, second])[0], alone, strict=True)
        ):
            raise ExtractionError(
                f"{self.loaded.name} cannot be read: a clip has other states next to another clip, or at each call."
            )
        self.layers = describe_layers(self.loaded.states.names, alone)

    def spec(self) -> dict[str, Any]:
        return {"modality": self.modality, **self.loaded.spec(), "pool": self.pool, "frames": str(self.frames)}

    def prepare(self, data: Dataset, row: int) -> list[Any]:
        """The frames of one clip that the rule chooses, as the model's own processor makes them ready."""
        return [self._prepared(data.frames(row, self.frames))]

    def _prepared(self, frames: Sequence[Any]) -> Any:
        images = [np.array(frame) for frame in frames]  # copies: torch warns of arrays that are not writable
        name = FAMILIES[self.kind][0]
        return self.loaded.processor(images, return_tensors="pt")[name][0]

    def _inputs(self, batch: Sequence[Any]) -> dict[str, Any]:
        import torch

        inputs = self.loaded.to_device({FAMILIES[self.kind][0]: torch.stack(list(batch))})
        return {**inputs, "skip_predictor": True} if self.kind == "vjepa2" else inputs

    def forward(self, inputs: Sequence[Any]) -> tuple[list[Any], dict[str, np.ndarray]]:
        """Pooled float32 features of a batch of clips, (batch, d) each layer."""
        import torch

        with torch.inference_mode():
            states = self.loaded.states.read(self._inputs(inputs), self._pooled)
        return [state.cpu() for state in states], {}

    def _pooled(self, state: Any) -> Any:
        return pooling.pool_image(state, self.pool, int(FAMILIES[self.kind][1])).clone()


@dataclass(frozen=True)
class _OneImage:
    """A frame, as a data set of one picture."""

    frame: Any

    def image(self, row: int) -> Any:
        return self.frame


@dataclass
class FramesExtractor:
    """An image model's features of clips: their mean over the frames that a rule chooses."""

    inner: Extractor
    frames: FrameRule

    modality: ClassVar[str] = "video"
    by_length: ClassVar[bool] = False
    sample_arrays: ClassVar[dict[str, str]] = {}

    @property
    def layers(self) -> Any:
        return self.inner.layers

    @property
    def pool(self) -> str:
        return self.inner.pool

    @property
    def device(self) -> Any:
        return self.inner.device  # type: ignore[attr-defined]

    @property
    def model(self) -> Any:
        return self.inner.model  # type: ignore[attr-defined]

    def spec(self) -> dict[str, Any]:
        return {**self.inner.spec(), "modality": self.modality, "frames": str(self.frames)}

    def parameters(self) -> dict[str, Any]:
        return self.inner.parameters()

    def prepare(self, data: Dataset, row: int) -> list[Any]:
        """The frames of one clip, each as a picture of its own: features of a sample are the mean of its inputs'."""
        chosen = data.frames(row, self.frames)
        return [one for frame in chosen for one in self.inner.prepare(_OneImage(frame), 0)]  # type: ignore[arg-type]

    def forward(self, inputs: Sequence[Any]) -> tuple[list[Any], dict[str, np.ndarray]]:
        return self.inner.forward(inputs)


def is_native(name: str) -> bool:
    """Whether a model is a video transformer of transformers."""
    from .transformers_vision import model_type

    return model_type(name, f"Video model {name!r} could not be loaded") in FAMILIES


def load(
    name: str,
    *,
    pool: str = "auto",
    random_init: int | None = None,
    dtype: str = "auto",
    device: str = "auto",
    quantize: str | None = None,
    device_map: str | None = None,
    compiled: bool = False,
    frames: FrameRule | None = None,
) -> VideoExtractor:
    """A video transformer by hub name or local path, with its processor.

    `frames` says which frames are read, in place of as many as the configuration names, from the middle of equal parts.
    """
    from .transformers_vision import model_type

    if quantize or device_map:
        raise ExtractionError(
            f"--quantize and --device-map are for language models; {name} is a video model. Leave them out."
        )
    kind = str(model_type(name, f"Video model {name!r} could not be loaded"))
    processor = "AutoVideoProcessor" if kind == "vjepa2" else "AutoImageProcessor"
    common = {"random_init": random_init, "dtype": dtype, "device": device, "compiled": compiled}
    loaded = load_part(name, "video", lambda model: model, processor, **common)
    canonical = pooling.resolve_image(pool, name, has_class_token=FAMILIES[kind][1])
    return VideoExtractor(loaded, kind, canonical, frames or FrameRule(_own_frames(loaded.config)))


def _own_frames(config: Any) -> int:
    return int(getattr(config, "num_frames", None) or config.frames_per_clip)
