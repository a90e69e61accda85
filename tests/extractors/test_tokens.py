"""Stores of tokens: the library's hidden states to the bit, where samples straddle blocks, and in resumed runs."""

import numpy as np
import pytest
import torch

from extractors.datasets.loading import load
from extractors.errors import ExtractionError
from extractors.models import language, vision
from extractors.models.ways import Way
from extractors.pipeline.run import Settings, extract_model
from prh_jax import align, load_alignment, open_store, token_ids, token_samples, write_features
from prh_jax.cli.main import main
from prh_jax.runtime.workers import Worker

N = 40


@pytest.fixture(scope="module")
def some():
    return load("emoji_1024", num_samples=N)


@pytest.fixture(scope="module")
def dino(tmp_path_factory):
    """A tiny DINOv2 with registers: 16 patches after a class token and 4 registers."""
    import transformers

    path = tmp_path_factory.mktemp("dino")
    torch.manual_seed(0)
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = transformers.AutoConfig.for_model("dinov2_with_registers", **size, image_size=32, patch_size=8)
    transformers.AutoModel.from_config(config).save_pretrained(path)
    processor = transformers.BitImageProcessor(size={"height": 32, "width": 32}, do_center_crop=False)
    processor.save_pretrained(path)
    return str(path)


def test_patches_are_the_hidden_states_without_prefix(dino, some, tmp_path, monkeypatch):
    line = f"extract --dataset emoji_1024 --num-samples {N} --model {dino} --name tiny --tokens --batch-size 16"
    assert main([*line.split(), "--output-dir", str(tmp_path)]) == 0
    (path,) = tmp_path.rglob("*.zarr")
    store = open_store(path)
    assert path.name == "tiny_pool-tokens.zarr" and store.n == 16 * N
    assert store.spec["tokens"] == {"kind": "patches", "grid": [4, 4]}
    assert store.ids == [f"{key}/{i}" for key in some.ids for i in range(16)]
    assert token_samples(store) == [key for key in some.ids for _ in range(16)]
    tower = vision.load(dino).tower
    pictures = torch.stack([tower.transform(some.image(row)) for row in range(N)])
    with torch.inference_mode():
        passes = [tower.model(part, output_hidden_states=True).hidden_states[1:] for part in pictures.split(16)]
    for layer in range(2):
        expected = torch.cat([states[layer][:, 5:] for states in passes]).flatten(0, 1)
        np.testing.assert_array_equal(store.read_layer(layer), expected.numpy())

    # a run that stops within the second block, and a worker that has every other block
    forward, calls = vision.VisionExtractor.forward, []

    def stopping(self, inputs):
        calls.append(len(inputs))
        if calls.count(16) == 2:
            raise KeyboardInterrupt
        return forward(self, inputs)

    settings = {"output_dir": tmp_path / "again", "pool": "tokens", "batch_size": 16}
    with monkeypatch.context() as patched:
        patched.setattr(vision.VisionExtractor, "forward", stopping)
        with pytest.raises(KeyboardInterrupt):
            extract_model(dino, some, Settings(**settings), modality="vision")
    (begun,) = (tmp_path / "again").rglob("*.zarr")
    assert open_store(begun).done().tolist() == [True, False, False]
    for worker in (Worker(1, 2), Worker(0, 2)):
        resumed = extract_model(dino, some, Settings(**settings, worker=worker), modality="vision")
    for layer in range(2):
        np.testing.assert_array_equal(open_store(resumed).read_layer(layer), store.read_layer(layer))

    # the grid is part of the identity
    coarse = write_features(
        tmp_path / "coarse.zarr",
        [np.ones((4 * N, 3))],
        ids=token_ids(some.ids, 4),
        spec={"model": "coarse", "tokens": {"kind": "patches", "grid": [2, 2]}},
    )
    with pytest.raises(ValueError, match=r"\[4, 4\].*\[2, 2\].*resample_grid"):
        align([store], [coarse], metrics="cka", pair="inner")


def test_samples_are_groups(dino, some, tmp_path):
    """Neighbours across samples, as labels for each row give them."""
    path = extract_model(dino, some, Settings(output_dir=tmp_path, pool="tokens"), modality="vision")
    labels = [key.rpartition("/")[0] for key in open_store(path).ids]
    settings = {"metrics": "mutual_knn:k=3", "exclude_own_group": True}
    found, expected, without = (
        align([path], groups=groups, **(settings | more)).layers("mutual_knn").values
        for groups, more in (("sample", {}), (labels, {}), (None, {"exclude_own_group": False}))
    )
    np.testing.assert_array_equal(found, expected)
    assert not np.array_equal(found, without)
    out = tmp_path / "r.zarr"
    line = ["align", "--x", str(path), "--metric", "mutual_knn", "--topk", "3", "-o", str(out)]
    assert main([*line, "--groups", "sample", "--exclude-own-group"]) == 0
    np.testing.assert_array_equal(load_alignment(out).layers("mutual_knn").values, expected)


def test_tokens_of_texts_are_the_hidden_states_of_valid_ones(checkpoint, some, tmp_path):
    model = checkpoint("llama")
    path = extract_model(model, some, Settings(output_dir=tmp_path, pool="tokens", batch_size=1), modality="language")
    store, loaded = open_store(path), language.load(model)
    texts = [loaded.tokenizer(text)["input_ids"] for text in some.captions()]
    assert store.ids == token_ids(some.ids, map(len, texts)) and len({len(text) for text in texts}) > 1
    with torch.inference_mode():
        alone = [loaded.model(torch.tensor([text]), output_hidden_states=True).hidden_states for text in texts]
    for layer in range(len(store.layers)):
        expected = torch.cat([states[layer][0] for states in alone])
        np.testing.assert_array_equal(store.read_layer(layer), expected.numpy())
    padded = language.load(model, pool="tokens")
    states, _ = padded.forward([padded.prepare(some, row)[0] for row in range(N)])
    np.testing.assert_allclose(states[-1].numpy(), store.read_layer(len(states) - 1), atol=1e-5)
    padded.loaded.way = Way("equal")
    states, _ = padded.forward([padded.prepare(some, row)[0] for row in range(N)])
    np.testing.assert_allclose(states[-1].numpy(), store.read_layer(len(states) - 1), atol=1e-5)


def test_what_has_no_tokens_is_refused(some, tmp_path, checkpoint):
    with pytest.raises(ExtractionError, match="hog is one vector.*--tokens"):
        extract_model("hog", some, Settings(output_dir=tmp_path, pool="tokens"), modality="vision")
    with pytest.raises(ExtractionError, match="layers of one grid.*test_resnet has .* patches in"):
        vision.load("test_resnet", random_init=0, pool="tokens")
    with pytest.raises(ExtractionError, match="one text of each sample"):
        extract_model(
            checkpoint("llama"),
            some,
            Settings(output_dir=tmp_path, pool="tokens", caption_index="all"),
            modality="language",
        )
    plain = write_features(tmp_path / "plain.zarr", [np.eye(4)], ids=list("abcd"), spec={"model": "m"})
    for call in (lambda: token_samples(plain), lambda: align([plain], metrics="cka", groups="sample")):
        with pytest.raises(ValueError, match="are not tokens.*--tokens"):
            call()
    with pytest.raises(ValueError, match="'sample' for stores of tokens; got 'slide'"):
        align([plain], metrics="cka", groups="slide")
