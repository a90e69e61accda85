"""Checkpoints of models by revision, and configurations of data sets, from a hub."""

import hashlib

import numpy as np
import pytest
from repositories import clip, language_model, study, timm_model, two_languages

from extractors.datasets.loading import load
from extractors.models import language
from prh_jax import load_alignment, open_store

EMOJI = "--dataset emoji_1024"


@pytest.fixture(scope="module")
def pythia(hub):
    """Commits of a model whose step 2000 has the weights of step 4000."""
    seeds = {"main": 3, "step1000": 1, "step2000": 2, "step4000": 2}
    return {
        revision: hub.put(
            "models", "EleutherAI/pythia-70m", {**language_model(seed=seed), "step.txt": revision.encode()}, revision
        )
        for revision, seed in seeds.items()
    }


def test_a_range_of_checkpoints(pythia, online, tmp_path):
    model = "EleutherAI/pythia-70m"
    line = f"extract {EMOJI} --num-samples 12 --output-dir steps --model {model}@step{{1000,2000,4000}}"
    done = online.run(line)
    assert done.status == 0
    steps = ("step1000", "step2000", "step4000")
    folder = online.folder / "steps/emoji_1024"
    stores = [open_store(folder / f"EleutherAI--pythia-70m@{step}_pool-mean.zarr") for step in steps]
    assert [store.spec["revision"] for store in stores] == [pythia[step] for step in steps]
    for store, seed in zip(stores, (1, 2, 2), strict=True):
        expected = hashlib.sha256(language_model(seed=seed)["model.safetensors"]).hexdigest()
        assert store.result["weights"] == {"model.safetensors": expected}
    for name, content in language_model(seed=1).items():
        (tmp_path / name).write_bytes(content)
    alone, emoji = language.load(str(tmp_path)), load("emoji_1024", num_samples=12)
    states, _ = alone.forward([alone.prepare(emoji, row)[0] for row in range(12)])
    np.testing.assert_allclose(stores[0].read_layer(1), states[1].numpy(), atol=1e-6)
    twins = f"{model}@step2000, {model}@step4000 hold equal weights: they are one network."
    assert done.err.count(twins) == 1 and "step1000, " not in done.err
    aligned = online.run(
        f"align {EMOJI} --input-dir steps --model-x {model}@step{{1000..4000..1000}} --model-y {model}@step1000 "
        "--metric cka --output none.zarr"
    )
    assert aligned.status == 2 and "EleutherAI--pythia-70m@step3000_pool-mean.zarr" in aligned.err
    assert f"prh extract {EMOJI} --model {model}@step{{1000..4000..1000}} --modality all" in aligned.err
    line = (
        f"align {EMOJI} --input-dir steps --model-x {model}@step{{1000,2000}} --model-y {model}@step4000 --metric cka"
    )
    assert "With --model-x, name the result too: -o" in online.run(line).err
    aligned = online.run(f"{line} -o steps.zarr")
    assert aligned.status == 0 and twins in aligned.err
    result = load_alignment(online.folder / "steps.zarr")
    assert list(result.models_x) == [f"{model}@step1000", f"{model}@step2000"]
    np.testing.assert_allclose(result.scores("cka").values[1], 1, atol=1e-5)


def test_revisions_of_vision_models(hub, online):
    name = "test_vit.r160_in1k"
    commits = [hub.put("models", "lab/vit", timm_model(name, seed), f"v{seed}") for seed in (0, 1)]
    commits += [hub.put("models", "lab/clip", clip(seed), f"v{seed}") for seed in (0, 1)]
    models = ["hf_hub:lab/vit@v0", "hf_hub:lab/vit@v1", "lab/clip@v0", "lab/clip@v1"]
    done = online.run(f"extract {EMOJI} --num-samples 12 --output-dir vision --model {' '.join(models)}")
    assert done.status == 0 and "equal weights" not in done.err
    folder = online.folder / "vision/emoji_1024"
    stores = [open_store(folder / f"{name.replace('/', '--')}_pool-cls.zarr") for name in models]
    assert [store.spec["revision"] for store in stores] == commits
    for first, second in (stores[:2], stores[2:]):
        assert np.abs(first.read_layer(0) - second.read_layer(0)).max() > 0.01


def test_configurations_of_a_data_set_are_data_sets(hub, pythia, online):
    commit = hub.put("datasets", "lab/two", two_languages())
    for config in ("en", "de"):
        line = f"--dataset lab/two --config {config}"
        assert online.run(f"extract {line} --model EleutherAI/pythia-70m --output-dir two").status == 0
    folders = [online.folder / f"two/lab/two/config-{config}" for config in ("en", "de")]
    stores = [open_store(folder / "EleutherAI--pythia-70m_pool-mean.zarr") for folder in folders]
    assert [store.spec["dataset"]["config"] for store in stores] == ["en", "de"]
    assert {store.spec["dataset"]["revision"] for store in stores} == {commit}
    assert np.abs(stores[0].read_layer(0) - stores[1].read_layer(0)).max() > 0.01
    found = online.run(f"align {line} --input-dir two --model-x EleutherAI/pythia-70m --model-y hog -o two.zarr")
    assert found.status == 2 and "1 of 2 feature stores are missing" in found.err
    assert f"prh extract {line} --model hog" in found.err
    local = online.run("extract --dataset emoji_1024 --config en --model hog")
    assert local.status == 2 and "emoji_1024 has no configurations" in local.err


def test_a_stream_is_fetched_no_further_than_needed(hub, pythia, online):
    hub.put("datasets", "lab/shards", study())
    line = "extract --dataset lab/shards --streaming --num-samples 10 --output-dir stream"
    assert online.run(f"{line} --model EleutherAI/pythia-70m").status == 0
    assert hub.asked("lab--shards/data/train-00000") and not hub.asked("lab--shards/data/train-00001")
