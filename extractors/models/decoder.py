"""Decoders of encoder-decoders (T5, BART ...): features of a text that the decoder reads token by token."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from prh_jax.stores.layout import Layer

from ..datasets.samples import Dataset
from ..errors import ExtractionError
from .base import describe_layers
from .transformers_files import LoadedPart, OfPart, load_part
from .transformers_language import learned_positions


@dataclass
class DecoderExtractor(OfPart):
    """The decoder of one model. Its encoder reads a text, and it reads the same text, behind its own first token.

    This is the input of training to give back a text. Every position has seen the whole text through the encoder, and
    the tokens before it through the decoder.
    """

    loaded: LoadedPart
    pool: str
    caption_index: int | str = 0
    prompt: str = "{text}"
    max_length: int | None = None
    layers: list[Layer] = field(default_factory=list)

    modality: ClassVar[str] = "language-decoder"
    by_length: ClassVar[bool] = False
    sample_arrays: ClassVar[dict[str, str]] = {"n_tokens": "int64", "n_truncated": "int64"}

    def __post_init__(self):
        if not self.layers:
            states, _ = self.forward([self._tokens("a cat", "")])
            names = ["embeddings", *(f"decoder.layers.{i}" for i in range(len(states) - 1))]
            self.layers = describe_layers(names, states)

    def spec(self) -> dict[str, Any]:
        return {
            "modality": self.modality,
            **self.loaded.spec(),
            "pool": self.pool,
            "caption_index": self.caption_index,
            "prompt": self.prompt,
            "max_length": self.max_length,
            "batch": "one text at a time",
        }

    def prepare(self, data: Dataset, row: int) -> list[Any]:
        """The tokens of one sample's caption, or of all its captions."""
        return [self._tokens(text, data.ids[row]) for text in data.captions_of(row, self.caption_index)]

    def _tokens(self, text: str, sample: str) -> tuple[list[int], int]:
        whole = self.prompt.replace("{text}", text)
        tokens = self.loaded.processor(whole, verbose=False)["input_ids"]
        if not tokens:
            raise ExtractionError(f"{self.loaded.name} reads the text of sample {sample!r} as no token at all.")
        kept = tokens if self.max_length is None else self.loaded.processor(
            whole, truncation=True, max_length=self.max_length, verbose=False
        )["input_ids"]  # fmt: skip
        limit = self._longest
        if limit is not None and len(kept) > limit:
            raise ExtractionError(
                f"The text of sample {sample!r} has {len(kept)} tokens, and {self.loaded.name} reads {limit} at most. "
                f"Cut texts with --max-length {limit}; how many were cut is recorded."
            )
        return kept, len(tokens) - len(kept)

    @cached_property
    def _longest(self) -> int | None:
        """Tokens of the longest text; None where positions are not learned."""
        return learned_positions(self.model)[0]

    def forward(self, inputs: Sequence[tuple[list[int], int]]) -> tuple[list[Any], dict[str, np.ndarray]]:
        """Pooled float32 states, (batch, d) each layer, and the tokens read and cut of each text."""
        import torch

        parts = []
        with torch.inference_mode():
            for tokens, _ in inputs:
                states = self.states(tokens)
                parts.append([state[-1:] if self.pool == "last" else state.mean(dim=0)[None] for state in states])
        numbers = np.array([(len(tokens), cut) for tokens, cut in inputs], np.int64)
        features = [torch.cat(layer).cpu() for layer in zip(*parts, strict=True)]
        return features, {"n_tokens": numbers[:, 0], "n_truncated": numbers[:, 1]}

    def states(self, tokens: Sequence[int]) -> list[Any]:
        """The library's hidden states of the decoder, (tokens, d) in float32 each."""
        import torch

        start = self.loaded.config.decoder_start_token_id
        given = torch.as_tensor([list(tokens)], device=self.device)
        shifted = torch.as_tensor([[start, *tokens[:-1]]], device=self.device)
        output = self.model(input_ids=given, decoder_input_ids=shifted, output_hidden_states=True, use_cache=False)
        return [state[0].float() for state in output.decoder_hidden_states]


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
    caption_index: int | str = 0,
    prompt: bool | str = False,
    max_length: int | None = None,
    special_tokens: bool = True,
) -> DecoderExtractor:
    """The decoder of an encoder-decoder by hub name or local path, with its tokenizer."""
    if quantize or device_map or compiled:
        raise ExtractionError(f"--quantize, --device-map and --compile are not for decoders: leave them out of {name}.")
    canonical = {"avg": "mean", "auto": "mean"}.get(pool, pool)
    if canonical not in ("mean", "last"):
        raise ExtractionError(f"--pool {pool} does not apply to the decoder of {name}. Use mean or last.")
    if isinstance(prompt, str) and "{text}" not in prompt:
        raise ExtractionError(f"The prompt {prompt!r} has no place for the text; write {{text}} where it belongs.")
    if max_length is not None and max_length < 1:
        raise ExtractionError(f"--max-length must be at least 1, got {max_length}.")
    if not special_tokens:
        raise ExtractionError(f"--no-special-tokens is not for decoders: leave it out of {name}.")
    common = {"random_init": random_init, "dtype": dtype, "device": device}
    loaded = load_part(name, "language", lambda model: model, "AutoTokenizer", **common)
    if not loaded.config.is_encoder_decoder:
        raise ExtractionError(f"{name} is no encoder-decoder; extract it with --modality language.")
    if getattr(loaded.config, "decoder_start_token_id", None) is None:
        raise ExtractionError(f"{name} does not say which token its decoder begins with (decoder_start_token_id).")
    template = prompt if isinstance(prompt, str) else "{text}"
    return DecoderExtractor(loaded, canonical, caption_index, template, max_length)
