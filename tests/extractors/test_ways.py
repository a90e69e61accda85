"""How texts share a batch is found by trying, whatever the family is called."""

import numpy as np
import pytest
import torch
from field.tiny_families import small_config, write_checkpoint

from extractors.errors import ExtractionError
from extractors.models import language, settling
from extractors.models.language import Text
from extractors.models.ways import Way, deviation, find_way, ordinary_texts, padding_id, tolerance_of, ways

LONG, SHORT, OTHER = [1, 2, 3, 4], [5, 6], [7, 8, 9, 10]


def states(text, shift=0.0):
    """One layer whose states are the ids, with a shift."""
    return [torch.tensor(text, dtype=torch.float32)[None, :, None] + shift]


@pytest.mark.parametrize(
    "works, expected",
    [
        (lambda way, texts: way.positions, "left, per batch, length-sorted within blocks"),
        (
            lambda way, texts: way.side == "left" and not way.positions,
            "left, per batch, length-sorted within blocks, positions by the model",
        ),
        (
            lambda way, texts: way.side == "right",
            "right, per batch, length-sorted within blocks, positions by the model",
        ),
        (lambda way, texts: len(set(map(len, texts))) == 1, "none, texts of one length share a batch"),
        (lambda way, texts: len(texts) == 1, "none, one text at a time"),
        (lambda way, texts: False, "None"),
    ],
)
def test_the_first_way_with_the_states_of_each_text_alone_is_taken(works, expected):
    def read(way, texts):
        return [states(text, 0.0 if works(way, texts) else 0.01) for text in texts]

    alone = [states(LONG), states(SHORT)]
    tolerance, strict = tolerance_of(torch.float32, False)
    found = find_way(ways(True, True), read, (LONG, SHORT, OTHER), alone, tolerance, strict=strict)
    assert str(found) == expected


def test_ways_of_calling_that_fail_are_passed_over_but_memory_that_runs_out_is_not():
    def read(way, texts):
        if way.texts == "padded":
            raise error
        return [states(text) for text in texts]

    alone, texts = [states(LONG), states(SHORT)], (LONG, SHORT, OTHER)
    error = KeyError("attention_mask")
    assert find_way(ways(False, True), read, texts, alone, lambda _: 1e-4, strict=True) == Way("equal")
    error = torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(torch.OutOfMemoryError):
        find_way(ways(False, True), read, texts, alone, lambda _: 1e-4, strict=True)


def test_large_dimensions_and_tokens_hide_no_difference():
    """Half of the dimensions differ by a tenth; one dimension and one token are 1e5 times as large as the others."""
    expected = torch.ones(1, 6, 8)
    expected[..., 0] = 1e5
    expected[:, 0] = 1e5
    found = expected.clone()
    found[..., 4:] *= 1.1
    for strict in (True, False):
        assert deviation(found, expected, strict) == pytest.approx(0.05, rel=1e-5)
    one = expected.clone()
    one[:, 5, 1:] += 10  # more than a difference may count: 7 of 8 dimensions of one token
    assert deviation(one, expected, True) == pytest.approx(7 / 8) and deviation(one, expected, False) == 0


def test_texts_that_are_tried_have_no_token_of_meaning():
    texts = ordinary_texts(50, {0, 7, 49})
    assert [len(text) for text in texts] == [40, 5, 40]
    assert not {0, 7, 49} & {token for text in texts for token in text} and max(map(max, texts)) < 50
    assert settling.special_ids({"id2label": {0: "a"}, "part": {"image_token_id": 7}, "eos_token_id": [2, 3]}) == {
        7,
        2,
        3,
    }


def test_padding_that_the_table_of_embeddings_lacks_is_not_used():
    class Tokenizer:
        pad_token_id, eos_token_id = 120, 2

    assert padding_id(Tokenizer) == 120 and padding_id(Tokenizer, 100) == 2


def test_parts_come_back_in_order():
    assert Way("padded").groups([3, 1, 3]) == [[0, 1, 2]]
    assert Way("equal").groups([3, 1, 3]) == [[1], [0, 2]] and Way("alone").groups([3, 1]) == [[0], [1]]


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """family(name): the folder of a small checkpoint."""
    from transformers import AutoModel

    def make(name):
        folder = tmp_path_factory.mktemp(name)
        write_checkpoint(small_config(name), AutoModel, folder)
        return folder

    return make


@pytest.mark.parametrize(
    "name, padding",
    [
        ("mra", "right, per batch, length-sorted within blocks, positions by the model"),
        ("ibert", "right, per batch, length-sorted within blocks"),
        ("fnet", "none, texts of one length share a batch"),
        ("roberta", "right, per batch, length-sorted within blocks"),
    ],
)
def test_any_batch_has_the_states_of_the_librarys_plain_call(name, padding, family):
    from transformers import AutoModel

    folder = family(name)
    extractor = language.load(str(folder))
    assert extractor.spec()["padding"] == padding
    texts = [Text(list(range(20, 20 + length)), 0, length, 0) for length in (9, 4, 9, 2)]
    found, numbers = extractor.forward(texts)
    assert numbers["n_tokens"].tolist() == [9, 4, 9, 2]
    model = AutoModel.from_pretrained(folder).eval()
    for row, text in enumerate(texts):
        with torch.inference_mode():
            expected = model(torch.tensor([text.tokens]), output_hidden_states=True).hidden_states
        for layer, state in zip(found, expected, strict=True):
            np.testing.assert_allclose(layer[row], state[0].mean(0), atol=1e-5 * state.abs().max())


def test_states_that_vary_by_themselves_are_refused(family, monkeypatch):
    from transformers.models.bert.modeling_bert import BertEmbeddings

    forward = BertEmbeddings.forward
    folder = family("bert")
    monkeypatch.setattr(
        BertEmbeddings, "forward", lambda *a, **k: torch.nn.functional.dropout(forward(*a, **k), 0.1, training=True)
    )
    with pytest.raises(
        ExtractionError, match="bert model, which cannot be read: .*draws random numbers.*extract_module"
    ):
        language.load(str(folder))


def test_states_that_are_no_rows_of_tokens_are_refused_by_family(family):
    with pytest.raises(ExtractionError, match=r"funnel model, which cannot be read: hidden state 2.*\(1, 20, 32\)"):
        language.load(str(family("funnel")))


def test_a_family_that_does_not_compute_in_half_precision_says_so(family):
    with pytest.raises(ExtractionError, match="fnet model, which cannot be read: .*--dtype float32 only"):
        language.load(str(family("fnet")), dtype="bfloat16")
