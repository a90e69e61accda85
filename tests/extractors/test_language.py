"""Hidden states equal plain `output_hidden_states`; pooling and losses equal a naive loop over samples."""

import math

import numpy as np
import pytest
import torch

from extractors.errors import ExtractionError
from extractors.models import language, pooling, transformers_language
from extractors.models.language import summarize
from extractors.models.tiny import CAUSAL, ENCODER_DECODERS, ENCODERS, KINDS
from extractors.pipeline.batches import BatchSize, extract_block


def block(extractor, data, rows, batch_size):
    """Features and per-sample numbers of some rows."""
    return extract_block(extractor, (extractor.prepare(data, i) for i in rows), len(rows), BatchSize(batch_size))


def test_the_families_asked_for_are_tested():
    study = {"bloom", "llama", "olmo", "gemma", "mistral", "mixtral"}
    later = {"olmo2", "gemma2", "gemma3_text", "qwen2", "qwen3", "gpt2", "opt", "gpt_neox", "phi3", "smollm3", "falcon"}
    assert study | later <= set(CAUSAL)
    assert {"bert", "roberta", "modernbert", "mpnet", "deberta"} <= set(ENCODERS) and "t5" in ENCODER_DECODERS


@pytest.fixture(params=KINDS)
def family(request, checkpoint, few):
    extractor = language.load(checkpoint(request.param))
    texts = [extractor.encode(text).tokens for text in few.captions()[:8]]
    pools = ["mean", "last"] if request.param in CAUSAL else ["mean"] if request.param == "t5" else ["mean", "cls"]
    return extractor, texts, pools


def plain(extractor, ids, mask=None):
    """All hidden states and the logits of a plain forward pass; without a mask, with nothing but the tokens."""
    inputs = {"input_ids": torch.tensor(ids)}
    if mask is not None:
        inputs = extractor.loaded.inputs(inputs["input_ids"], torch.tensor(mask))
    with torch.inference_mode():
        output = extractor.model(**inputs, output_hidden_states=True)
    return output.hidden_states, getattr(output, "logits", None)


def test_states_and_pooling(family):
    """Exactly those of the same batch; to 1e-5 those of each text alone, without padding, whatever side it is on."""
    extractor, texts, pools = family
    # BART numbers positions itself, from the left: its texts are padded on the right, as all encoders' are
    sides = ["right"] if "Bart" in type(extractor.model).__name__ else ["left", "right"]
    alone = [plain(extractor, [tokens])[0] for tokens in texts]
    for side in sides:
        ids, mask = language.pad(texts, extractor.loaded.padding_id, side=side)
        expected, _ = plain(extractor, ids, mask)
        for pool in pools:
            extractor.pool = pool
            states, _ = extractor.states(ids, mask)
            assert len(states) == len(expected) == len(extractor.layers) == 4
            for depth, (state, whole) in enumerate(zip(states, expected, strict=True)):
                assert torch.equal(state, pooling.pool_tokens(whole, torch.tensor(mask), pool))
                for row, tokens in enumerate(alone):
                    one = tokens[depth][0]
                    naive = {"mean": one.mean(0), "last": one[-1], "cls": one[0]}[pool].numpy()
                    np.testing.assert_allclose(state[row].numpy(), naive, atol=1e-5 * abs(naive).max(), rtol=0)


@pytest.mark.parametrize("kind", CAUSAL)
def test_losses_are_those_of_each_text_alone(kind, checkpoint, few):
    extractor = language.load(checkpoint(kind))
    features, values = block(extractor, few, range(8), 5)
    assert [f.shape for f in features] == [(8, layer.dim) for layer in extractor.layers]
    for i, text in enumerate(few.captions()[:8]):
        tokens = extractor.encode(text).tokens
        _, logits = plain(extractor, [tokens])
        logs = torch.log_softmax(logits[0].double(), -1)
        nats = -sum(float(logs[t, tokens[t + 1]]) for t in range(len(tokens) - 1))
        assert values["nats"][i] == pytest.approx(nats, rel=1e-5)
        assert values["n_tokens"][i] == len(tokens) and values["n_predicted"][i] == len(tokens) - 1
        assert values["n_bytes"][i] == len(text.encode()) and values["n_truncated"][i] == 0


def test_bits_per_byte_by_hand(checkpoint, few):
    extractor = language.load(checkpoint("llama"))
    _, values = block(extractor, few, range(300), 32)
    result = summarize(values.__getitem__, values) | extractor.parameters()
    nats, predicted = values["nats"], values["n_predicted"]
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


def test_encoders_have_no_loss_but_count_tokens(checkpoint, few):
    extractor = language.load(checkpoint("t5"))
    _, values = block(extractor, few, range(5), 2)
    assert summarize(values.__getitem__, values) == {
        "n_tokens": sum(len(extractor.tokenizer(text)["input_ids"]) for text in few.captions()[:5]),
        "n_truncated": 0,
        "samples_truncated": 0,
    }
    assert extractor.parameters()["params_total"] > extractor.parameters()["params_backbone"]


def test_random_weights_come_from_the_seed(checkpoint):
    ids, mask = np.array([[5, 6, 7]]), np.ones((1, 3), np.int64)
    loaded = language.load(checkpoint("llama"))
    states = [language.load(checkpoint("llama"), random_init=seed).states(ids, mask)[0][-1] for seed in (1, 1, 2)]
    assert torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])
    assert not torch.equal(states[0], loaded.states(ids, mask)[0][-1])


def test_templates_captions_and_lengths(checkpoint, few):
    path = checkpoint("gpt2")
    base, told = language.load(path), language.load(path, prompt="A picture of {text}!")
    text = few.captions()[0]
    assert told.encode(text).tokens == base.encode(f"A picture of {text}!").tokens
    every = language.load(path, caption_index="all")
    features, values = block(every, few, range(3), 7)
    singles = [block(language.load(path, caption_index=i), few, range(3), 7) for i in range(11)]
    np.testing.assert_allclose(features[2], np.mean([f[2] for f, _ in singles], axis=0), rtol=1e-4, atol=1e-6)
    assert (values["n_tokens"] == sum(v["n_tokens"] for _, v in singles)).all()
    short = language.load(path, max_length=4)
    _, values = block(short, few, range(6), 7)
    lengths = np.array([len(base.encode(text)) for text in few.captions()[:6]])
    assert values["n_tokens"].max() == 4 and (values["n_truncated"] == np.maximum(lengths - 4, 0)).all()
    assert summarize(values.__getitem__, values)["samples_truncated"] == (lengths > 4).sum() > 0
    # the bytes that were cut off are not counted as scored
    kept = [len(base.tokenizer.decode(base.encode(text).tokens[1:4]).encode()) for text in few.captions()[:6]]
    assert (values["n_bytes"] - values["n_unscored_bytes"] == kept).all()
    bert = language.load(checkpoint("bert"), max_length=4)
    cut = bert.encode(text).tokens
    assert len(cut) == 4 and (cut[0], cut[-1]) == (bert.tokenizer.cls_token_id, bert.tokenizer.sep_token_id)
    bare = language.load(checkpoint("bert"), special_tokens=False).encode(text).tokens
    assert bare == bert.tokenizer(text)["input_ids"][1:-1]


def test_texts_that_do_not_fit_the_positions_are_refused(checkpoint, few):
    for kind, limit in (("gpt2", 512), ("roberta", 510), ("mpnet", 510), ("opt", 512)):
        extractor = language.load(checkpoint(kind))
        with pytest.raises(ExtractionError, match=f"'s' has .* reads {limit} at most.*--max-length {limit}"):
            extractor.encode("ab " * 600, "s")
        whole = language.load(checkpoint(kind), max_length=limit).encode("ab " * 600).tokens
        states, _ = extractor.states(*language.pad([whole], 0))
        assert len(whole) == limit and torch.isfinite(states[-1]).all()


def test_hooks_are_used_and_where_they_cannot_be_plain_states_are(checkpoint):
    for kind in KINDS:
        blocks = language.load(checkpoint(kind)).loaded.blocks
        assert (blocks is None) == (kind == "albert"), kind  # whose layers are one layer, called again


def test_a_map_of_devices_and_compiling_are_recorded(checkpoint, few, monkeypatch):
    path = checkpoint("llama")
    base = language.load(path)
    spread = language.load(path, device_map="auto")
    assert spread.spec()["device_map"] == "auto" and base.spec()["device_map"] is None
    calls = []
    monkeypatch.setattr(torch, "compile", lambda function: calls.append(1) or function)
    compiled = language.load(path, compiled=True)
    assert compiled.spec()["compile"] is True and len(calls) == 3
    for other in (spread, compiled):
        for a, b in zip(block(base, few, range(4), 4)[0], block(other, few, range(4), 4)[0], strict=True):
            np.testing.assert_array_equal(a, b)


def test_quantisation_asks_for_what_it_needs(checkpoint, monkeypatch):
    with pytest.raises(ExtractionError, match="needs bitsandbytes"):
        language.load(checkpoint("llama"), quantize="4bit")
    with pytest.raises(ExtractionError, match="leave out --quantize"):
        language.load(checkpoint("llama"), quantize="4bit", random_init=0)
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    with pytest.raises(ExtractionError, match="needs a GPU, and the device is cpu"):
        language.load(checkpoint("llama"), quantize="8bit")
    from extractors.models.environment import quantization_config

    config = quantization_config("4bit", torch.bfloat16, torch.device("cuda"))
    assert config.load_in_4bit and config.bnb_4bit_quant_type == "nf4" and config.bnb_4bit_use_double_quant
    assert quantization_config("8bit", torch.bfloat16, torch.device("cuda")).load_in_8bit


def test_refusals(checkpoint):
    for pool in ("cls", "none"):
        with pytest.raises(ExtractionError, match="no class token. Use mean or last"):
            language.load(checkpoint("llama"), pool=pool)
    with pytest.raises(ExtractionError, match="do not begin with one"):
        language.load(checkpoint("t5"), pool="cls")
    with pytest.raises(ExtractionError, match="do not begin with one .or special tokens are off"):
        language.load(checkpoint("bert"), pool="cls", special_tokens=False)
    with pytest.raises(ExtractionError, match="last token of an encoder"):
        language.load(checkpoint("bert"), pool="last")
    with pytest.raises(ExtractionError, match="could not be loaded.*HF_HUB_OFFLINE is set.*Check the name"):
        language.load("nobody/nothing")
    with pytest.raises(ExtractionError, match="Unknown dtype"):
        language.load(checkpoint("llama"), dtype="float8")
    with pytest.raises(ExtractionError, match="no place for the text"):
        language.load(checkpoint("llama"), prompt="A picture.")


@pytest.mark.parametrize("kind", ["mamba", "mamba2", "falcon_mamba", "rwkv", "recurrent_gemma", "jamba"])
def test_state_space_models_are_refused(kind, tmp_path, checkpoint):
    from transformers import AutoConfig

    AutoConfig.for_model(kind).save_pretrained(tmp_path)
    with pytest.raises(ExtractionError, match=f"{kind} model: its hidden states are inputs"):
        language.load(str(tmp_path))


def test_a_state_space_model_of_another_name_is_refused(checkpoint, monkeypatch):
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    monkeypatch.setattr(transformers_language, "STATE_SPACE", ())
    config = AutoConfig.for_model("mamba", hidden_size=16, num_hidden_layers=1, vocab_size=50, state_size=4)
    path = checkpoint("llama") + "-mamba"
    AutoModelForCausalLM.from_config(config).save_pretrained(path)
    AutoTokenizer.from_pretrained(checkpoint("llama")).save_pretrained(path)
    with pytest.raises(ExtractionError, match="mamba .Mamba.* inputs of its blocks"):
        language.load(path)
