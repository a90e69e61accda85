"""Vision-language models: the states of the library, and the tokens that each pooling sees."""

import dataclasses

import pytest
import torch
import transformers
from tiny_files import write_vision_language

from extractors.errors import ExtractionError
from extractors.models import vision_language
from extractors.models.vision_language import ALONE, TEXT
from extractors.pipeline.run import extract_model
from extractors.pipeline.settings import Settings
from prh_jax import open_store


@pytest.mark.parametrize("kind", ["llava", "paligemma", "qwen2_vl", "qwen2_5_vl"])
def test_states_are_those_of_the_library(kind, emoji, tmp_path):
    path = write_vision_language(kind, tmp_path / kind)
    both = vision_language.load(path, modality="vision-language")
    alone = vision_language.load(path, modality=ALONE)
    last = vision_language.load(path, modality="vision-language", pool="last")
    processor = transformers.AutoProcessor.from_pretrained(path)
    model = transformers.AutoModelForImageTextToText.from_pretrained(path).eval()
    caption, mark = emoji.captions_of(5)[0], processor.image_token
    mark = f"<|vision_start|>{mark}<|vision_end|>" if kind.startswith("qwen") else mark
    features, counts = both.forward(both.prepare(emoji, 5))
    found = {layer.name: state[0] for layer, state in zip(both.layers, features, strict=True)}
    inputs = processor(text=[f"{mark}\n{caption}"], images=[emoji.image(5)], return_tensors="pt")
    image = inputs["input_ids"][0] == model.config.image_token_id
    words = len(processor.tokenizer(f"\n{caption}", add_special_tokens=False)["input_ids"])
    words += kind == "paligemma"  # its processor ends a text with a line end
    assert counts["n_text_tokens"] == [words] and counts["n_image_tokens"] == [int(image.sum())]
    text = torch.arange(len(image)) >= len(image) - words
    with torch.inference_mode():
        states = [state[0] for state in model(**inputs, output_hidden_states=True).hidden_states]
        seen = model.model.get_image_features(
            **{key: value for key, value in inputs.items() if key in ("pixel_values", "image_grid_thw")}
        )
    for i, state in enumerate(states):
        name = f"language.layers.{i - 1}" if i else "language.embeddings"
        assert torch.equal(found[f"{name}@image"], state[image].mean(dim=0))
        assert torch.equal(found[f"{name}@text"], state[text].mean(dim=0))
        state_of_last = last.forward(last.prepare(emoji, 5))[0][len(both.layers) - 2 * len(states) + i]
        assert torch.equal(state_of_last[0], state[-1])
    projected = seen.pooler_output[0] if hasattr(seen, "pooler_output") else seen[0]
    assert torch.equal(found["projector"], projected.reshape(-1, 32).mean(dim=0))
    if not kind.startswith("qwen"):
        with torch.inference_mode():
            tower = model.model.vision_tower(inputs["pixel_values"], output_hidden_states=True).hidden_states[1:]
        for i, state in enumerate(tower):
            assert torch.equal(found[f"vision.layers.{i}"], state[0, int(kind == "llava") :].mean(dim=0))
    # the picture comes first: without a caption, a causal model's tokens of the picture are the same
    states_alone = alone.forward(alone.prepare(emoji, 5))[0]
    of_picture = {layer.name: state[0] for layer, state in zip(alone.layers, states_alone, strict=True)}
    assert len(of_picture) == 4 + len(states)
    of_text = vision_language.load(path, modality=TEXT)
    tokens = processor.tokenizer([caption], return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        library = model(input_ids=tokens, output_hidden_states=True).hidden_states
    for state, expected in zip(of_text.forward(of_text.prepare(emoji, 5))[0], library, strict=True):
        assert torch.equal(state, expected.mean(dim=1))
    if kind == "llava":
        for name, state in of_picture.items():
            assert torch.allclose(state, found[name], rtol=0, atol=1e-5)


def test_three_ways_into_one_model_have_stores_of_their_own(few, tmp_path, monkeypatch):
    path, data = write_vision_language("llava", tmp_path / "llava"), few.select(range(6))
    monkeypatch.chdir(tmp_path)
    stores = [
        extract_model(path, data, Settings(output_dir=tmp_path / "out"), modality=modality, called="llava")
        for modality in ("vision-language", ALONE, TEXT)
    ]
    assert [store.name.removeprefix("llava_pool-mean") for store in stores] == [
        "_vision-language.zarr",
        "_vision-language-image.zarr",
        "_vision-language-text.zarr",
    ]
    opened = [open_store(store) for store in stores]
    assert [len(store.layers) for store in opened] == [12, 8, 4]
    marks = dataclasses.replace(data.select([0]), texts=[["</s>"]])
    with pytest.raises(ExtractionError, match="has no token but special ones"):
        vision_language.load(path, modality=TEXT).prepare(marks, 0)
    for settings in (Settings(max_length=5), Settings(special_tokens=False)):  # which would be left undone
        with pytest.raises(ExtractionError, match="--max-length and --no-special-tokens are not for"):
            extract_model(path, data, settings, modality=TEXT)
    with pytest.raises(ExtractionError, match="of vision-language models these are read: llava"):
        vision_language.load("hog", modality=ALONE)
    with pytest.raises(ExtractionError, match="Use mean or last"):
        vision_language.load(path, modality=ALONE, pool="cls")
