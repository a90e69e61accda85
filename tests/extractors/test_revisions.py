"""Checkpoints of one model by `name@revision`, from the hub's cache."""

import shutil

import huggingface_hub.constants
import numpy as np
import pytest
import torch
import transformers

from extractors.errors import ExtractionError
from extractors.models import language, tiny, vision
from extractors.models.environment import with_revision
from extractors.pipeline.run import check_folder, modality_of
from prh_jax import align, open_store
from prh_jax.cli.main import main

COMMITS = {"step10": "a" * 40, "step20": "b" * 40}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """hub(name, make): a model in the cache of the hub, with two revisions made by make(folder, seed)."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def put(name, make):
        root = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
        (root / "refs").mkdir(parents=True)
        for seed, (revision, commit) in enumerate(COMMITS.items()):
            make(root / "snapshots" / commit, seed)
            (root / "refs" / revision).write_text(commit)

    return put


def test_checkpoints_of_a_language_model_are_stores_of_their_own(tmp_path, hub, emoji, capsys):
    texts = emoji.captions()[:200]
    hub("lab/llama", lambda folder, seed: tiny.tiny_language_model("llama", folder, texts, seed=seed))
    names = [f"lab/llama@{revision}" for revision in COMMITS]
    line = ["extract", "--dataset", "emoji_1024", "--num-samples", "24", "--output-dir", str(tmp_path / "f"), "--model"]
    assert main([*line, *names]) == 0
    paths = [tmp_path / "f" / "emoji_1024" / f"lab--llama@{revision}_pool-mean.zarr" for revision in COMMITS]
    stores = [open_store(path) for path in paths]
    assert [store.spec["revision"] for store in stores] == list(COMMITS.values())
    for store, name in zip(stores, names, strict=True):
        folder = tmp_path / "hub" / "models--lab--llama" / "snapshots" / store.spec["revision"]
        shutil.copytree(folder, tmp_path / store.spec["revision"])
        alone = language.load(str(tmp_path / store.spec["revision"]))
        states, _ = alone.forward([alone.prepare(emoji, row)[0] for row in range(24)])
        np.testing.assert_allclose(store.read_layer(1), states[1].numpy(), atol=1e-6)
        assert store.model == name
    assert np.abs(stores[0].read_layer(1) - stores[1].read_layer(1)).max() > 0.01
    assert list(align(stores, metrics="cka").models_x) == names
    capsys.readouterr()
    assert main([*line, "lab/llama@step30"]) == 2
    assert "'lab/llama@step30' could not be loaded" in capsys.readouterr().err


def test_revisions_of_a_vision_model(hub, emoji):
    sizes = {"hidden_size": 16, "intermediate_size": 16, "image_size": 16, "patch_size": 8}

    def make(folder, seed):
        torch.manual_seed(seed)
        config = transformers.CLIPVisionConfig(num_hidden_layers=1, num_attention_heads=2, **sizes)
        transformers.CLIPVisionModel(config).save_pretrained(folder)
        processor = transformers.CLIPImageProcessor(size={"height": 16, "width": 16}, do_center_crop=False)
        processor.save_pretrained(folder)

    hub("lab/clip", make)
    loaded = [vision.load(f"lab/clip@{revision}") for revision in COMMITS]
    assert [extractor.spec()["revision"] for extractor in loaded] == list(COMMITS.values())
    first, second = (extractor.forward([extractor.prepare(emoji, 0)[0]])[0][0] for extractor in loaded)
    assert (first - second).abs().max() > 0.01


def test_what_a_revision_is(tmp_path):
    assert with_revision("a/b@refs/pr/1") == ("a/b", "refs/pr/1") and with_revision("a/b") == ("a/b", None)
    (tmp_path / "run@3").mkdir()
    for name in (str(tmp_path / "run@3"), "hf_hub:timm/resnet18.a1_in1k@main"):  # a folder; timm reads its own
        assert with_revision(name) == (name, None)
    check_folder("a/b@refs/pr/1")
    assert modality_of("resnet18@main") == "vision"
    for name, message in (
        ("a/b@", "no model at a revision"),
        ("@a", "no model at a revision"),
        ("resnet18@main", "hf_hub:owner/name@revision"),
    ):
        with pytest.raises(ExtractionError, match=message):
            vision.load(name, random_init=0)
