"""Hidden states equal plain `output_hidden_states`; pooling and losses equal a naive loop over samples."""

import math

import numpy as np
import pytest
import torch

from extractors import language, pooling
from extractors.errors import ExtractionError
from extractors.tiny import KINDS

FAMILIES = ("bloom", "llama", "olmo", "gemma", "mistral", "mixtral", "gpt2", "gpt_neox", "qwen2")


def test_every_family_is_tested():
    assert set(FAMILIES) == set(KINDS)


@pytest.fixture(params=FAMILIES)
def family(request, checkpoint, few):
    extractor = language.load(checkpoint(request.param))
    texts = [extractor.tokenizer(text)["input_ids"] for text in few.captions()[:12]]
    return extractor, texts


def plain(model, ids, mask):
    """All hidden states and the logits of a plain forward pass."""
    inputs = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}
    if language.takes_position_ids(model):
        inputs["position_ids"] = (inputs["attention_mask"].cumsum(1) - 1).clamp(min=0)
    with torch.inference_mode():
        output = model(**inputs, output_hidden_states=True)
    return output.hidden_states, output.logits


@pytest.mark.parametrize("side", ["left", "right"])
def test_states_are_output_hidden_states(family, side):
    extractor, texts = family
    ids, mask = language.pad(texts, language.padding_id(extractor.tokenizer), side=side)
    for pool in ("mean", "last"):
        extractor.pool = pool
        states, _ = extractor.states(ids, mask)
        expected, _ = plain(extractor.model, ids, mask)
        assert len(states) == len(expected) == len(extractor.layers) == 4
        for state, whole in zip(states, expected, strict=True):
            assert torch.equal(state, pooling.pool_tokens(whole, torch.tensor(mask), pool))


@pytest.mark.parametrize("side", ["left", "right"])
def test_pooling_is_that_of_each_text_alone(family, side):
    extractor, texts = family
    ids, mask = language.pad(texts, language.padding_id(extractor.tokenizer), side=side)
    for pool in ("mean", "last"):
        extractor.pool = pool
        states, _ = extractor.states(ids, mask)
        for row, tokens in enumerate(texts):
            alone, _ = plain(extractor.model, [tokens], [[1] * len(tokens)])
            for state, whole in zip(states, alone, strict=True):
                naive = whole[0].mean(0) if pool == "mean" else whole[0, -1]
                scale = float(naive.abs().max())
                np.testing.assert_allclose(state[row].numpy(), naive.numpy(), atol=1e-5 * scale, rtol=0)


def test_losses_are_those_of_each_text_alone(family, few):
    extractor, texts = family
    features, values = extractor.block(few, range(12), 5, lambda n: None)
    assert [f.shape for f in features] == [(12, layer.dim) for layer in extractor.layers]
    for i, tokens in enumerate(texts):
        _, logits = plain(extractor.model, [tokens], [[1] * len(tokens)])
        logs = torch.log_softmax(logits[0].double(), -1)
        nats = -sum(float(logs[t, tokens[t + 1]]) for t in range(len(tokens) - 1))
        assert values["nats"][i] == pytest.approx(nats, rel=1e-5)
        assert values["n_tokens"][i] == len(tokens) and values["n_predicted"][i] == len(tokens) - 1


def test_bits_per_byte_by_hand(checkpoint, few):
    extractor = language.load(checkpoint("llama"))

    class Writer:
        def sample_array(self, name):
            return self.values[name]

    writer = Writer()
    _, writer.values = extractor.block(few, range(300), 32, lambda n: None)
    result = extractor.result(writer, few)
    nats, predicted = writer.values["nats"], writer.values["n_predicted"]
    captions = few.captions()
    lengths = [len(text.encode()) for text in captions]
    first = [len(extractor.tokenizer.decode(extractor.tokenizer(text)["input_ids"][:1]).encode()) for text in captions]
    assert result["loss"] == pytest.approx(np.mean(nats / predicted))
    assert result["bpb_reference"] == pytest.approx(np.mean(nats / math.log(2) / lengths))
    assert result["bpb"] == pytest.approx(np.mean(nats / math.log(2) / (np.array(lengths) - first)))
    assert result["bpb"] > result["bpb_reference"]
    assert result["n_tokens"] == sum(len(extractor.tokenizer(text)["input_ids"]) for text in captions)
    parameters = sum(p.numel() for p in extractor.model.parameters())
    head = extractor.model.lm_head.weight.numel()
    assert (result["params_total"], result["params_backbone"]) == (parameters, parameters - head)


def test_random_weights_come_from_the_seed(checkpoint):
    ids, mask = np.array([[5, 6, 7]]), np.ones((1, 3), np.int64)
    loaded = language.load(checkpoint("llama"))
    states = [language.load(checkpoint("llama"), random_init=seed).states(ids, mask)[0][-1] for seed in (1, 1, 2)]
    assert torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])
    assert not torch.equal(states[0], loaded.states(ids, mask)[0][-1])


def test_refusals(checkpoint, tmp_path):
    for pool in ("cls", "none"):
        with pytest.raises(ExtractionError, match="no class token. Use mean or last"):
            language.load(checkpoint("llama"), pool=pool)
    with pytest.raises(ExtractionError, match="could not be loaded.*Check the name"):
        language.load("nobody/nothing")
    with pytest.raises(ExtractionError, match="Unknown dtype"):
        language.load(checkpoint("llama"), dtype="float8")
    (tmp_path / "config.json").write_text('{"model_type": "mamba", "num_hidden_layers": 1}')
    with pytest.raises(ExtractionError, match="mamba model: its hidden states are inputs"):
        language.load(str(tmp_path))
