"""Decoders of encoder-decoders, and the pooling that sentence-transformers models were trained with."""

import dataclasses
import json

import numpy as np
import pytest
import torch
import transformers

from extractors.errors import ExtractionError
from extractors.models import decoder, language
from extractors.pipeline.run import extract_model
from extractors.pipeline.settings import Settings
from prh_jax import open_store


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_decoders_read_the_text_behind_their_first_token(kind, checkpoint, few, tmp_path):
    path = checkpoint(kind)
    folder = tmp_path / kind
    folder.mkdir()
    for file in (tmp_path / path).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "decoder_start_token_id": 1}))
    data = few.select(range(5))
    store = open_store(
        extract_model(str(folder), data, Settings(output_dir=tmp_path / "out"), modality="language-decoder")
    )
    model = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for row in range(5):
        tokens = tokenizer(data.captions_of(row)[0], return_tensors="pt")["input_ids"]
        shifted = torch.cat([torch.tensor([[1]]), tokens[:, :-1]], dim=1)
        with torch.inference_mode():
            states = model(input_ids=tokens, decoder_input_ids=shifted, output_hidden_states=True).decoder_hidden_states
        assert len(states) == len(store.layers)
        for i, state in enumerate(states):
            assert np.array_equal(store.read_layer(i)[row], state[0].mean(dim=0).numpy())
    last = decoder.load(str(folder), pool="last")
    assert torch.equal(last.forward(last.prepare(data, 4))[0][-1], states[-1][:, -1])
    with pytest.raises(ExtractionError, match="no encoder-decoder"):
        decoder.load(checkpoint("bert"))
    with pytest.raises(ExtractionError, match="Use mean or last"):
        decoder.load(str(folder), pool="cls")


def test_texts_and_options_that_a_decoder_does_not_read(checkpoint, few, tmp_path):
    folder = tmp_path / "bart"
    folder.mkdir()
    for file in (tmp_path / checkpoint("bart")).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "decoder_start_token_id": 1}))
    limit = config["max_position_embeddings"]
    long = dataclasses.replace(few.select([0]), texts=[["a " * limit]])
    with pytest.raises(ExtractionError, match=rf"has \d+ tokens, and .* reads {limit} at most.*--max-length"):
        decoder.load(str(folder)).prepare(long, 0)
    cut = decoder.load(str(folder), max_length=limit)
    ((tokens, left_out),) = cut.prepare(long, 0)
    assert len(tokens) == limit and left_out > 0 and len(cut.forward([(tokens, left_out)])[0]) > 1
    with pytest.raises(ExtractionError, match="--max-length must be at least 1, got 0"):
        decoder.load(str(folder), max_length=0)
    settings = Settings(output_dir=tmp_path / "out", special_tokens=False)
    with pytest.raises(ExtractionError, match="--no-special-tokens is not for decoders"):
        extract_model(str(folder), few.select([0]), settings, modality="language-decoder")


@pytest.mark.parametrize("mode", ["mean", "cls"])
def test_sentence_models_are_pooled_as_their_library_does(mode, checkpoint, few, tmp_path):
    library = pytest.importorskip("sentence_transformers")
    modules = pytest.importorskip("sentence_transformers.models")
    words = modules.Transformer(checkpoint("bert"))
    pooling = modules.Pooling(words.get_word_embedding_dimension(), pooling_mode=mode)
    library.SentenceTransformer(modules=[words, pooling], device="cpu").save(str(tmp_path / mode))
    extractor = language.load(str(tmp_path / mode), pool="own")
    assert extractor.pool == mode
    texts = few.captions()[:4]
    expected = library.SentenceTransformer(str(tmp_path / mode), device="cpu").encode(texts, batch_size=1)
    found = extractor.forward([extractor.encode(text) for text in texts])[0][-1].numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * abs(expected).max())


def test_poolings_that_are_not_read_are_refused(checkpoint, tmp_path):
    with pytest.raises(ExtractionError, match=r"has no modules\.json"):
        language.load(checkpoint("bert"), pool="own")
    folder = tmp_path / "model"
    (folder / "1_Pooling").mkdir(parents=True)
    for file in (tmp_path / checkpoint("bert")).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "modules.json").write_text(json.dumps([{"type": "a.Pooling", "path": "1_Pooling"}]))
    settings = {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}
    for given, message in (
        (settings, "pools by mean and pooling_mode_max_tokens"),
        ({"pooling_mode": "max"}, "pools by max"),
        ({}, "pools by nothing"),
    ):
        (folder / "1_Pooling/config.json").write_text(json.dumps(given))
        with pytest.raises(ExtractionError, match=message):
            language.load(str(folder), pool="own")
    (folder / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    assert language.load(str(folder), pool="own").pool == "cls"
