"""Audio models of transformers: features of every layer, pooled over the time that a sound lasts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from prh_jax.stores.layout import Layer

from ..datasets import sounds
from ..datasets.samples import Dataset
from ..errors import ExtractionError
from . import audio_families, pooling
from .audio_families import Family, Sound
from .base import describe_layers
from .transformers_files import LoadedPart, OfPart, load_part


@dataclass
class AudioExtractor(OfPart):
    """One audio model, ready to give pooled features of sounds, layer by layer."""

    loaded: LoadedPart
    family: Family
    pool: str
    max_seconds: float | None = None
    layers: list[Layer] = field(default_factory=list)
    padding: str = ""
    """How sounds share a batch: the model pads all to one length, padding behind a mask, or those of one length."""

    modality: ClassVar[str] = "audio"
    by_length: ClassVar[bool] = True
    sample_arrays: ClassVar[dict[str, str]] = {"seconds": "float32", "seconds_cut": "float32"}

    def __post_init__(self):
        if self.layers:
            return
        noise = np.random.default_rng(0).standard_normal(2 * self.rate).astype(np.float32) / 10
        long, short = (self._prepared(noise[: int(seconds * self.rate)], "") for seconds in (1.2, 0.8))
        self.loaded.settle(self._inputs([long]))
        self.padding = "to the length that the model reads" if self.family.fixed else "behind a mask"
        alone = [self.forward([sound])[0] for sound in (long, short)]
        if not self.family.fixed and not self._near(self.forward([long, short])[0], alone):
            self.padding = "none: sounds of one length share a batch"
        again = [self.forward([sound])[0] for sound in (long, short)]
        if not self._near(_joined(again), alone):
            raise ExtractionError(
                f"{self.loaded.name} cannot be read: a sound has other states at each call, as the model draws random "
                "numbers. Choose another model, or one without its random part."
            )
        self.layers = describe_layers(self.loaded.states.names, alone[0])

    def _near(self, found: Sequence[Any], alone: Sequence[Any]) -> bool:
        """Whether the features of two sounds are those of each alone but for rounding."""
        import torch

        allowed = 1e-3 if self.loaded.dtype == torch.float32 else 0.1
        pairs = zip(found, _joined(alone), strict=True)
        return all((a - b).norm() <= allowed * b.norm().clamp(min=1e-30) for a, b in pairs)

    @property
    def rate(self) -> int:
        return int(self.loaded.processor.sampling_rate)

    def spec(self) -> dict[str, Any]:
        return {
            "modality": self.modality,
            **self.loaded.spec(),
            "pool": self.pool,
            "rate": self.rate,
            "resampling": sounds.RESAMPLED,
            "max_seconds": self.max_seconds,
            "padding": self.padding,
        }

    def prepare(self, data: Dataset, row: int) -> list[Sound]:
        """One sound at the model's rate, as its own feature extractor makes it ready."""
        return [self._prepared(sounds.resample(*data.sound(row), self.rate), data.ids[row])]

    def _prepared(self, wave: np.ndarray, sample: str) -> Sound:
        whole = len(wave)
        if self.max_seconds is not None:
            wave = wave[: max(round(self.max_seconds * self.rate), 1)]
        longest = self.family.longest(self.loaded)
        if longest is not None and len(wave) > longest:
            raise ExtractionError(
                f"The sound of sample {sample!r} lasts {len(wave) / self.rate:.1f} s, and {self.loaded.name} reads "
                f"{longest / self.rate:g} s at most. Cut sounds with --max-seconds {longest / self.rate:g}; how much "
                "was cut is recorded."
            )
        frames = self.family.frames(self.loaded, len(wave))
        least = 3 if self.pool == "thirds" else 1
        if frames < least:
            raise ExtractionError(
                f"The sound of sample {sample!r} lasts {len(wave) / self.rate:.3f} s, which is {frames} frames of "
                f"{self.loaded.name}; --pool {self.pool} needs {least}. Leave such samples out of the data set."
            )
        values = self.family.values(self.loaded, wave)
        return Sound(values, frames, len(wave), len(wave) / self.rate, (whole - len(wave)) / self.rate)

    def forward(self, inputs: Sequence[Sound]) -> tuple[list[Any], dict[str, np.ndarray]]:
        """Pooled float32 features of a batch of sounds, (batch, d) each layer, and how long they last."""
        import torch

        lengths = [len(sound) for sound in inputs]
        groups = [list(range(len(inputs)))]
        if self.padding.startswith("none"):
            groups = [[i for i, n in enumerate(lengths) if n == length] for length in dict.fromkeys(lengths)]
        parts = []
        with torch.inference_mode():
            for group in groups:
                batch = [inputs[i] for i in group]
                parts.append(self.loaded.states.read(self._inputs(batch), lambda state: self._pooled(state, batch)))  # noqa: B023
        back = np.argsort(np.concatenate(groups))
        numbers = {
            "seconds": np.array([sound.seconds for sound in inputs], np.float32),
            "seconds_cut": np.array([sound.cut for sound in inputs], np.float32),
        }
        return [layer[back].cpu() for layer in _joined(parts)], numbers

    def _inputs(self, batch: Sequence[Sound]) -> dict[str, Any]:
        return self.loaded.to_device(self.family.inputs(self.loaded, batch))

    def _pooled(self, state: Any, batch: Sequence[Sound]) -> Any:
        import torch

        if self.pool == "cls":
            return state[:, 0].float().clone()
        if state.ndim == 4:
            return state.float().mean(dim=(2, 3))
        time = self.family.time(self.loaded, state.shape[1])
        frames = np.array([sound.frames for sound in batch])[:, None]
        valid = torch.as_tensor((time >= 0) & (time < frames), device=state.device)
        if self.pool == "mean":
            return pooling.pool_tokens(state, valid, "mean")
        third = torch.as_tensor(time * 3 // frames, device=state.device)
        return torch.cat([pooling.pool_tokens(state, valid & (third == i), "mean") for i in range(3)], dim=1)


def _joined(parts: Sequence[Any]) -> list[Any]:
    """Features of several batches as those of one, layer by layer."""
    import torch

    return [torch.cat(layer) for layer in zip(*parts, strict=True)]


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
    max_seconds: float | None = None,
) -> AudioExtractor:
    """An audio model by hub name or local path, with its feature extractor.

    `max_seconds` cuts longer sounds. `random_init` draws the weights from that seed.
    """
    if quantize or device_map:
        raise ExtractionError(
            f"--quantize and --device-map are for language models; {name} is an audio model. Leave them out."
        )
    if max_seconds is not None and not 0 < max_seconds < float("inf"):
        raise ExtractionError(f"--max-seconds must be more than 0, got {max_seconds}.")
    family = audio_families.family_of(name)
    common = {"random_init": random_init, "dtype": dtype, "device": device, "compiled": compiled}
    loaded = load_part(name, "audio", family.part, "AutoFeatureExtractor", **common)
    return AudioExtractor(loaded, family, pooling.resolve_audio(pool, name, family), max_seconds)
