"""Families of audio models: how each takes its inputs, and which time each of its states belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..errors import ExtractionError


class Sound(NamedTuple):
    """A sound as a model's input, with the frames and samples that are it and not padding."""

    values: Any
    frames: int
    samples: int
    seconds: float
    cut: float

    def __len__(self) -> int:
        return self.samples


@dataclass(frozen=True)
class Family:
    """Models that read the samples of a sound as they are, at any length (wav2vec 2, HuBERT, WavLM ...)."""

    fixed: bool = False
    """Whether the feature extractor makes all sounds of one length."""
    has_class_token: bool = False
    has_time: bool = True
    """Whether states lie in the order of time."""

    def part(self, model: Any) -> Any:
        """The part of a model that reads sounds."""
        return model

    def longest(self, loaded: Any) -> int | None:
        """Samples of the longest sound."""
        return None

    def frames(self, loaded: Any, samples: int) -> int:
        """States in time of a sound of a number of samples."""
        return max(0, int(loaded.part._get_feat_extract_output_lengths(samples)))

    def values(self, loaded: Any, wave: np.ndarray) -> Any:
        """The input of one sound."""
        return self._extracted(loaded, wave)["input_values"][0]

    def inputs(self, loaded: Any, batch: Sequence[Sound]) -> dict[str, Any]:
        """The arguments of the model for several sounds: padded with zeros behind a mask where lengths differ."""
        import torch

        lengths = [len(sound.values) for sound in batch]
        if len(set(lengths)) == 1:
            return {"input_values": torch.stack([sound.values for sound in batch])}
        mask = torch.arange(max(lengths))[None] < torch.as_tensor(lengths)[:, None]
        values = torch.nn.utils.rnn.pad_sequence([sound.values for sound in batch], batch_first=True)
        return {"input_values": values, "attention_mask": mask.long()}

    def time(self, loaded: Any, tokens: int) -> np.ndarray:
        """Place in time of each state (1, tokens), -1 of those that have none."""
        return np.arange(tokens)[None]

    def _extracted(self, loaded: Any, wave: np.ndarray, **options: Any) -> Any:
        return loaded.processor(wave, sampling_rate=loaded.processor.sampling_rate, return_tensors="pt", **options)


@dataclass(frozen=True)
class Whisper(Family):
    """The encoder of Whisper, which reads 30 s: shorter sounds are followed by silence, which is not pooled."""

    fixed: bool = True

    def part(self, model: Any) -> Any:
        return model.encoder

    def longest(self, loaded: Any) -> int | None:
        return loaded.processor.n_samples

    def frames(self, loaded: Any, samples: int) -> int:
        mel = -(-samples // loaded.processor.hop_length)
        return -(-mel // 2)  # the second convolution takes every other one

    def values(self, loaded: Any, wave: np.ndarray) -> Any:
        return self._extracted(loaded, wave)["input_features"][0]

    def inputs(self, loaded: Any, batch: Sequence[Sound]) -> dict[str, Any]:
        import torch

        return {"input_features": torch.stack([sound.values for sound in batch])}


@dataclass(frozen=True)
class SpectrogramTransformer(Family):
    """AST: patches of a spectrogram, behind a class token and one of distillation; padding is not pooled."""

    fixed: bool = True
    has_class_token: bool = True

    def longest(self, loaded: Any) -> int | None:
        # frames of 25 ms every 10 ms, as in Kaldi
        rate = loaded.processor.sampling_rate
        return int((loaded.config.max_length - 1) * rate * 0.010 + rate * 0.025)

    def frames(self, loaded: Any, samples: int) -> int:
        rate = loaded.processor.sampling_rate
        mel = max(0, 1 + (samples - int(rate * 0.025)) // int(rate * 0.010))
        if mel == 0:
            return 0
        covered = 1 + max(0, mel - 1) // loaded.config.time_stride  # patches that begin within the sound
        return min(covered, self._across(loaded))

    def _across(self, loaded: Any) -> int:
        config = loaded.config
        return (config.max_length - config.patch_size) // config.time_stride + 1

    def inputs(self, loaded: Any, batch: Sequence[Sound]) -> dict[str, Any]:
        import torch

        return {"input_values": torch.stack([sound.values for sound in batch])}

    def time(self, loaded: Any, tokens: int) -> np.ndarray:
        across = self._across(loaded)
        return np.concatenate([[-1, -1], np.arange(tokens - 2) % across])[None]


@dataclass(frozen=True)
class Clap(Family):
    """The audio tower of CLAP: a Swin transformer over a folded spectrogram, of sounds repeated to its length."""

    fixed: bool = True
    has_time: bool = False

    def part(self, model: Any) -> Any:
        tower = getattr(model, "audio_model", model)
        if getattr(tower.config, "enable_fusion", False):
            raise ExtractionError(
                "This CLAP model fuses parts of long sounds that are drawn at random, so that a sound has no fixed "
                "features. Choose one without fusion, such as laion/clap-htsat-unfused."
            )
        return tower

    def longest(self, loaded: Any) -> int | None:
        return loaded.processor.nb_max_samples

    def frames(self, loaded: Any, samples: int) -> int:
        return min(samples, 1)

    def values(self, loaded: Any, wave: np.ndarray) -> Any:
        return self._extracted(loaded, wave)["input_features"][0]

    def inputs(self, loaded: Any, batch: Sequence[Sound]) -> dict[str, Any]:
        import torch

        return {"input_features": torch.stack([sound.values for sound in batch])}


_WAVES = ("wav2vec2", "hubert", "wavlm", "data2vec-audio", "unispeech", "unispeech-sat", "wav2vec2-conformer")
FAMILIES: dict[str, Family] = {
    **dict.fromkeys(_WAVES, Family()),
    "whisper": Whisper(),
    "audio-spectrogram-transformer": SpectrogramTransformer(),
    "clap": Clap(),
    "clap_audio_model": Clap(),
}
"""By the model type of transformers."""


def family_of(name: str) -> Family:
    """The family of an audio model; ExtractionError for one that is not read."""
    from .transformers_vision import model_type

    kind = model_type(name, f"Audio model {name!r} could not be loaded")
    if kind not in FAMILIES:
        raise ExtractionError(
            f"{name} is a {kind} model; of audio models these are read: {', '.join(FAMILIES)}. "
            "extractors.extract_module reads any torch module."
            if kind
            else f"{name} is no audio model of transformers: a local folder with config.json, or a name on the hub."
        )
    return FAMILIES[kind]
