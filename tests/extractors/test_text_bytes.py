import pytest

pytest.importorskip("transformers")

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from extractors.models import language
from extractors.models.language import summarize
from extractors.models.text_bytes import token_bytes


def byte_level(normalizer=None, prefix=False):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=262, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(["the the the red dog"], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def byte_fallback():
    words = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁theredog"]
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys(words))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


@pytest.mark.parametrize(
    ("tokenizer", "text", "right"),
    [
        (byte_level(), "🐕 the é", [1, 1, 1, 1, 4, 1, 1, 1]),
        (byte_level(prefix=True), "🐕 the", [0, 1, 1, 1, 1, 4]),  # the space in front is none of the text's
        (byte_level(normalizers.NFC()), "e\u0301 the", [1, 2, 4]),  # composed: two tokens for three bytes
        (byte_level(normalizers.Lowercase()), "THE é", [3, 1, 1, 1]),
        (byte_fallback(), "🐕 de", [0, 1, 1, 1, 1, 1, 1, 1]),
    ],
    ids=["byte-level", "prefix space", "composed", "lower case", "byte fallback"],
)
def test_bytes_of_tokens(tokenizer, text, right):
    assert token_bytes(tokenizer, text) == right and sum(right) == len(text.encode())


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("cut", [None, 6])
def test_bits_per_byte_where_a_token_is_part_of_a_character(checkpoint, side, cut):
    """Every token of this text is one byte: one of n is never predicted, and none of what is cut off."""
    text = "🐕🦉é🐕"
    extractor = language.load(checkpoint("llama"), max_length=cut)
    extractor.tokenizer.truncation_side = side
    made = extractor.encode(text)
    predicted = (cut or len(text.encode())) - 1
    assert len(made) == predicted + 1 and made.n_bytes - made.n_unscored_bytes == predicted
    _, values = extractor.forward([made])
    with torch.inference_mode():
        tokens = torch.tensor([made.tokens])
        nats = float(extractor.model(tokens, labels=tokens).loss) * predicted
    bits = summarize(values.__getitem__, values)["bpb"]
    assert bits == pytest.approx(nats / np.log(2) / predicted, rel=1e-5)


class Slow:
    """A tokenizer without offsets, which puts a space in front and a mark around, as sentencepiece's in Python do."""

    is_fast = False
    all_special_ids = (0,)
    words = ("<s>", "▁the", "▁d", "<0xC3>", "<0xA9>")

    def __call__(self, text, **settings):
        return {"input_ids": list(range(5)), "special_tokens_mask": [0] * 5}

    def convert_ids_to_tokens(self, ids):
        return [self.words[i] for i in ids]


def test_bytes_of_tokens_without_offsets():
    assert token_bytes(Slow(), "the dé") == [None, 3, 2, 1, 1]
