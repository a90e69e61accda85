"""The study's commands against a hub: from nothing, and from the cache when the hub is gone."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from oracles.lists import neighbor_lists, unit_rows
from processes import NOBODY
from repositories import SAMPLES, language_model, study, timm_model

from prh_jax import open_store

LANGUAGE = {"bigscience/bloomz-560m": "bloom", "openlm-research/open_llama_3b": "llama"}
VISION = ("vit_tiny_patch16_224.augreg_in21k", "test_vit.r160_in1k")
DATA = "--dataset minhuh/prh --subset wit_1024 --modelset four.toml"
EXTRACT = [
    f"extract {DATA} --modality language --pool avg",
    f"extract {DATA} --modality vision --pool none",
]
ALIGN = f"align {DATA} --modality_x language --pool_x avg --modality_y vision --pool_y none --npy"
FEATURES = Path("results/features/minhuh/prh/wit_1024")
NPY = (
    "results/alignment/minhuh/prh/four/language_pool-avg_prompt-False_vision_pool-none_prompt-False/mutual_knn_k10.npy"
)


def names():
    """The stores of the four models, languages first."""
    language = [f"{name.replace('/', '--')}_pool-mean.zarr" for name in LANGUAGE]
    return language + [f"{name}_pool-cls.zarr" for name in VISION]


@pytest.fixture(scope="session")
def fetched(hub, online):
    """Commits and files of four models and the data set; the study's three commands have run, word for word."""
    files = {name: language_model(kind) for name, kind in LANGUAGE.items()}
    files |= {f"timm/{name}": timm_model(name) for name in VISION}
    commits = {name: hub.put("models", name, content) for name, content in files.items()}
    hub.put("datasets", "minhuh/prh", {"README.md": b"Its revisions are data sets.\n"})
    commits["minhuh/prh"] = hub.put("datasets", "minhuh/prh", study(), "wit_1024")
    hub.faults[f"timm--{VISION[0]}", "model.safetensors"] = "cut"
    write_set(online.folder)
    for line in (*EXTRACT, ALIGN):
        done = online.run(line)
        assert done.status == 0, done.err
    return commits, files


def write_set(folder):
    lists = [f"{modality} = {list(models)}" for modality, models in (("language", LANGUAGE), ("vision", VISION))]
    (folder / "four.toml").write_text("\n".join(lists))


def prepared(store):
    """Layers clipped at the mean of the samples' 0.95 quantiles, as the reference does, with rows of unit length."""
    layers = np.stack([store.read_layer(i) for i in range(len(store.layers))], axis=1).astype(float)
    limit = np.quantile(np.abs(layers).reshape(len(layers), -1), 0.95, axis=1).mean()
    return [unit_rows(np.clip(layers[:, i], -limit, limit)) for i in range(layers.shape[1])]


def overlap(a, b):
    """The mean share of neighbours that two layers agree on."""
    return np.mean([len({*p} & {*q}) / 10 for p, q in zip(a, b, strict=True)])


def test_the_references_three_commands_from_nothing(fetched, hub, online):
    stores = [open_store(online.folder / FEATURES / name) for name in names()]
    lists = [[neighbor_lists(layer, 10) for layer in prepared(store)] for store in stores]
    found = np.load(online.folder / NPY, allow_pickle=True).item()
    assert found["scores"].shape == (2, 2) and len(stores[0].ids) == SAMPLES
    for i, x in enumerate(lists[:2]):
        for j, y in enumerate(lists[2:]):
            scores = np.array([[overlap(a, b) for b in y] for a in x])
            assert found["scores"][i, j] == pytest.approx(scores.max(), abs=1e-6)
            layer_y, layer_x = found["indices"][i, j].astype(int)  # in the reference's order
            assert scores[layer_x, layer_y] == pytest.approx(scores.max(), abs=1e-6)
    assert not [asked for asked in hub.log if "telemetry" in asked.path]


def test_a_connection_that_is_cut_is_taken_up_where_it_broke(fetched, hub):
    """In steps of 10 MiB, as the hub's client writes them."""
    whole, rest = [asked.range for asked in hub.asked(f"timm--{VISION[0]}")]
    half = len(fetched[1][f"timm/{VISION[0]}"]["model.safetensors"]) // 2
    assert whole is None and rest == f"bytes={half // (10 << 20) * (10 << 20)}-"


def test_stores_record_commits_and_hashes_of_weights(fetched, online):
    commits, files = fetched
    for name, repository in zip(names(), [*LANGUAGE, *(f"timm/{name}" for name in VISION)], strict=True):
        store = open_store(online.folder / FEATURES / name)
        assert store.spec["revision"] == commits[repository]
        assert store.spec["dataset"]["revision"] == commits["minhuh/prh"]
        expected = hashlib.sha256(files[repository]["model.safetensors"]).hexdigest()
        assert store.result["weights"] == {"model.safetensors": expected}


def test_all_of_it_again_without_a_hub(fetched, online, commands):
    """The stores that are there are those asked for; new ones are the same; what the cache lacks is said."""
    offline = commands(NOBODY, HF_HUB_OFFLINE="1")
    write_set(offline.folder)
    for line in EXTRACT:
        again = offline.run(f"{line} --output-dir {online.folder}/results/features")
        assert again.status == 0 and again.out.count("complete at") == 2, again.err
    assert offline.run(EXTRACT[0]).status == 0
    for name in names()[:2]:
        before, after = (open_store(folder / FEATURES / name) for folder in (online.folder, offline.folder))
        assert before.checksum() == after.checksum()
    lacking = offline.run("extract --dataset minhuh/prh --model lab/never test_vit2.r160_in1k --modality vision")
    assert lacking.status == 2
    for repository in ("lab/never", "timm/test_vit2.r160_in1k"):
        assert "HF_HUB_OFFLINE is set, and the cache (" in lacking.err
        assert f"lacks files of {repository}. Check the name, or run the command once with the network" in lacking.err
    other = offline.run("extract --dataset minhuh/prh --subset other --model lab/never")
    assert other.status == 2 and "The hub does not answer for revision other of minhuh/prh" in other.err
    assert f"commit {fetched[0]['minhuh/prh']}. Run the command once with the network" in other.err
