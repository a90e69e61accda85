"""Vision-language models: vision tower, projector and language layers, on a picture alone or with its text."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from prh_jax.stores.layout import Layer

from ..datasets.samples import Dataset
from ..errors import ExtractionError
from .base import describe_layers
from .pooling import forward_hooks
from .settling import special_ids
from .transformers_files import LoadedPart, OfPart, load_part

FAMILIES = {
    **dict.fromkeys(("llava", "paligemma"), "{image}"),
    **dict.fromkeys(("qwen2_vl", "qwen2_5_vl"), "<|vision_start|>{image}<|vision_end|>"),
}
"""The mark of a picture in a text, by the model type of transformers."""

ALONE, TEXT = "vision-language-image", "vision-language-text"
"""The modalities of a picture without a text, and of a text without a picture."""

_SPANS = {ALONE: ("image",), TEXT: ("text",)}


@dataclass
class VisionLanguageExtractor(OfPart):
    """One vision-language model, ready to give pooled features of pictures, captions, or both.

    Layers of the vision tower and the projector are pooled over the patches of the picture. A language layer gives two
    vectors: of the tokens of the picture (`@image`), and of those of the caption (`@text`), without special tokens.
    With the pooling `last` it gives one, of the last token.
    """

    loaded: LoadedPart
    kind: str
    pool: str
    modality: str
    caption_index: int | str = 0
    prompt: str = "{text}"
    layers: list[Layer] = field(default_factory=list)

    by_length: ClassVar[bool] = False
    sample_arrays: ClassVar[dict[str, str]] = {"n_image_tokens": "int64", "n_text_tokens": "int64"}

    def __post_init__(self):
        from PIL import Image

        grey = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
        states, _ = self.forward([self._prepared(grey, "a cat", "")])
        again, _ = self.forward([self._prepared(grey, "a cat", "")])
        if not all(np.array_equal(a, b) for a, b in zip(states, again, strict=True)):
            raise ExtractionError(f"{self.loaded.name} cannot be read: a sample has other states at each call.")
        if not self.layers:
            self.layers = describe_layers(self._names, states)

    @property
    def text(self) -> str:
        """The text around a caption, with the mark of the picture."""
        if self.modality == TEXT:
            return self.prompt
        mark = FAMILIES[self.kind].replace("{image}", self.loaded.processor.image_token)
        return mark if self.modality == ALONE else f"{mark}\n{self.prompt}"

    def spec(self) -> dict[str, Any]:
        own = {} if self.modality == ALONE else {"caption_index": self.caption_index}
        return {
            "modality": self.modality,
            **self.loaded.spec(),
            "pool": self.pool,
            "prompt": self.text,
            "batch": "one sample at a time",
            **own,
        }

    def prepare(self, data: Dataset, row: int) -> list[Any]:
        """The inputs of one sample: its picture, and each of its captions that is asked for."""
        sample = data.ids[row]
        picture = None if self.modality == TEXT else data.image(row)
        if self.modality == ALONE:
            return [self._prepared(picture, "", sample)]
        return [self._prepared(picture, text, sample) for text in data.captions_of(row, self.caption_index)]

    def _prepared(self, picture: Any, text: str, sample: str) -> dict[str, Any]:
        processor = self.loaded.processor
        marked = processor.image_token
        if marked in text:
            raise ExtractionError(f"The text of sample {sample!r} has the mark of a picture, {marked}, in it.")
        whole = self.text.replace("{text}", text)
        if picture is None or self.modality == TEXT:
            inputs = processor.tokenizer([whole], return_tensors="pt")
        else:
            inputs = processor(text=[whole], images=[picture], return_tensors="pt")
        if self.pool == "mean" and self.modality != ALONE and not self._words(inputs["input_ids"][0]).any():
            raise ExtractionError(
                f"The text of sample {sample!r} has no token but special ones, and its mean has none to be of. Leave "
                "the sample out."
            )
        return {name: value for name, value in inputs.items() if name != "labels"}

    def _words(self, tokens: Any) -> Any:
        """Mask of the tokens of the text, without special ones and the places of the picture."""
        import torch

        special = torch.as_tensor(self._marks, device=tokens.device)
        return (tokens != self.model.config.image_token_id) & ~torch.isin(tokens, special)

    def forward(self, inputs: Sequence[Any]) -> tuple[list[Any], dict[str, np.ndarray]]:
        """Pooled float32 features, (batch, d) each layer, and the tokens of picture and text of each sample."""
        import torch

        parts, counts = [], []
        with torch.inference_mode():
            for one in inputs:
                states, spans = self.states(one)
                parts.append(self._pooled(states, spans))
                counts.append([int(spans["image"].sum()), int(spans["text"].sum())])
        images, texts = np.array(counts, np.int64).T
        features = [torch.cat(layer) for layer in zip(*parts, strict=True)]
        return features, {"n_image_tokens": images, "n_text_tokens": texts}

    def states(self, one: Any) -> tuple[dict[str, list[Any]], dict[str, Any]]:
        """All states of one sample.

        Returns
        -------
        states
            Lists of (tokens, d): "vision", after each layer of the vision tower, without a class token; "projector",
            one; "language", the hidden states of the library.
        spans
            Masks (tokens,) of the language states: "image" and "text".
        """
        blocks, projector, prefix = self._parts
        read = [] if self.modality == TEXT else [*blocks, projector]
        found: dict[Any, Any] = {}

        def keep(module, args, output):
            state = output[0] if isinstance(output, tuple) else output
            found[module] = state[0] if state.ndim == 3 else state

        moved = self.loaded.to_device(one)
        with forward_hooks(read, keep):
            output = self.model(**moved, output_hidden_states=True)
        tokens = moved["input_ids"][0]
        image = tokens == self.model.config.image_token_id
        states = {
            "vision": [found[block][prefix:] for block in blocks if block in found],
            "projector": [found[projector]] if projector in found else [],
            "language": [state[0] for state in output.hidden_states],
        }
        return states, {"image": image, "text": self._words(tokens)}

    def _pooled(self, states: dict[str, list[Any]], spans: dict[str, Any]) -> list[Any]:
        pooled = [state.float().mean(dim=0) for part in ("vision", "projector") for state in states[part]]
        names = [f"vision.layers.{i}" for i in range(len(states["vision"]))] + ["projector"] * len(states["projector"])
        for i, state in enumerate(states["language"]):
            name = "language.embeddings" if i == 0 else f"language.layers.{i - 1}"
            if self.pool == "last":
                pooled.append(state[-1].float())
                names.append(name)
                continue
            for span in _SPANS.get(self.modality, ("image", "text")):
                pooled.append(state[spans[span]].float().mean(dim=0))
                names.append(f"{name}@{span}")
        self._names = names
        return [vector[None].cpu() for vector in pooled]

    @cached_property
    def _marks(self) -> list[int]:
        """Ids of tokens that are no words."""
        return sorted({*self.loaded.processor.tokenizer.all_special_ids, *special_ids(self.model.config.to_dict())})

    @cached_property
    def _parts(self) -> tuple[Any, Any, int]:
        """The layers of the vision tower, the module that maps its states, and how many tokens precede the patches."""
        import torch

        inner = self.model.model
        tower = inner.visual if hasattr(inner, "visual") else inner.vision_tower
        config = self.model.config.vision_config
        count = getattr(config, "depth", None) or config.num_hidden_layers
        blocks = next(m for m in tower.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == count)
        projector = tower.merger if hasattr(tower, "merger") else inner.multi_modal_projector
        return blocks, projector, _has_class_token(tower)


def _has_class_token(tower: Any) -> int:
    return int(any(name.rsplit(".", 1)[-1] in ("cls_token", "class_embedding") for name, _ in tower.named_parameters()))


def load(
    name: str,
    *,
    modality: str,
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
) -> VisionLanguageExtractor:
    """A vision-language model by hub name or local path, with its processor.

    `prompt` is a template of the caption with {text} in it. ExtractionError for a family that is not read.
    """
    from .transformers_vision import model_type

    if quantize or device_map or compiled:
        raise ExtractionError(f"--quantize, --device-map and --compile are not for {name}: leave them out.")
    if max_length is not None or not special_tokens:
        raise ExtractionError(f"--max-length and --no-special-tokens are not for {name}: leave them out.")
    canonical = {"avg": "mean", "auto": "mean"}.get(pool, pool)
    if canonical not in ("mean", "last"):
        raise ExtractionError(f"--pool {pool} does not apply to {name}, a vision-language model. Use mean or last.")
    if isinstance(prompt, str) and "{text}" not in prompt:
        raise ExtractionError(f"The prompt {prompt!r} has no place for the text; write {{text}} where it belongs.")
    kind = model_type(name, f"Vision-language model {name!r} could not be loaded")
    if kind not in FAMILIES:
        raise ExtractionError(
            f"{name} is a {kind} model; of vision-language models these are read: {', '.join(FAMILIES)}. "
            "extractors.extract_module reads any torch module."
        )
    common = {"random_init": random_init, "dtype": dtype, "device": device}
    loaded = load_part(
        name, modality, lambda model: model, "AutoProcessor", factory="AutoModelForImageTextToText", **common
    )
    template = prompt if isinstance(prompt, str) else "{text}"
    return VisionLanguageExtractor(loaded, str(kind), canonical, modality, caption_index, template)
