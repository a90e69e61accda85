"""Runs of many models: one that fails, samples that are broken, columns, workers, memory given back."""

import gc
import json
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from samples import png, write_parquet

from extractors.datasets.loading import Columns, Dataset, load
from extractors.errors import ExtractionError
from extractors.models import language
from extractors.models.environment import local_device
from extractors.pipeline import run
from extractors.pipeline.run import Settings, extract, modality_of, summary
from prh_jax import load_alignment, open_store
from prh_jax.cli.main import main
from prh_jax.runtime.workers import Worker, parse_worker


def test_workers_are_read_from_the_command_line_and_the_environment():
    assert parse_worker("2/5", {}) == Worker(2, 5)
    torchrun = {"RANK": "3", "WORLD_SIZE": "8"}
    array = {"SLURM_ARRAY_TASK_ID": "14", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "10"}
    assert parse_worker("auto", torchrun) == parse_worker("env", torchrun) == Worker(3, 8)
    assert parse_worker("env", array | {"SLURM_ARRAY_TASK_STEP": "2"}) == Worker(2, 4)
    assert parse_worker("env", {"SLURM_PROCID": "1", "SLURM_NTASKS": "2"}) == Worker(1, 2)
    assert parse_worker("auto", array) == Worker(0, 1)
    for text, message in (
        ("4/4", "there is no worker 4 of 4"),
        ("x", "takes i/n"),
        ("1/", "takes i/n"),
        ("env", "finds neither"),
    ):
        with pytest.raises(ValueError, match=message):
            parse_worker(text, {})
    shares = [Worker(i, 3).share(range(8)) for i in range(3)]
    assert sorted(shares[0] + shares[1] + shares[2]) == list(range(8)) and shares[1] == [1, 4, 7]


def test_torchrun_says_which_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert local_device("auto", {"LOCAL_RANK": "6"}) == "cuda:2"
    assert local_device("cpu", {"LOCAL_RANK": "6"}) == "cpu" and local_device("auto", {}) == "auto"


def test_batch_size_auto():
    assert run._first_batch_size("auto", torch.device("cuda")) == 256
    assert run._first_batch_size("auto", torch.device("cpu")) == 32 and run._first_batch_size(7, None) == 7


def test_models_are_shared_by_workers_where_they_suffice(tmp_path, checkpoint):
    """Two workers, two models: each does one, whole."""
    line = f"extract --dataset emoji_1024 --num-samples 20 --output-dir {tmp_path}"
    models = ["--model", checkpoint("gpt2"), checkpoint("llama")]
    assert main([*line.split(), *models, "--worker", "1/2"]) == 0
    assert [open_store(p).model for p in tmp_path.rglob("*.zarr")] == [checkpoint("llama")]
    assert main([*line.split(), *models, "--worker", "0/2"]) == 0
    assert all(open_store(p).complete for p in tmp_path.rglob("[!.]*.zarr"))
    assert main([*line.split(), *models, "--worker", "0/2", "--force-remake"]) == 2


def test_a_failing_model_is_named_in_the_end_and_gives_its_memory_back(checkpoint, tmp_path, monkeypatch, capsys):
    alive, given, data = [], language.load, load("emoji_1024", num_samples=8)

    def watched(name, **settings):
        extractor = given(name, **settings)
        alive.append(weakref.ref(extractor.model))
        if name == checkpoint("llama"):
            extractor.forward = fail  # monkeypatch would keep the extractor alive
        return extractor

    def fail(inputs):
        held = torch.zeros(10)
        raise RuntimeError(f"the kernel failed\nwith {held}")

    monkeypatch.setattr(language, "load", watched)
    models = [checkpoint("gpt2"), checkpoint("llama"), checkpoint("bloom")]
    outcomes = extract(models, data, Settings(output_dir=tmp_path), modality="language")
    gc.collect()
    assert [model() for model in alive] == [None, None, None]
    assert [isinstance(o, Exception) for o in outcomes.values()] == [False, True, False]
    lines = summary(outcomes).splitlines()
    assert lines[0].startswith("1 of 3 models failed: ") and lines[0].endswith("llama")
    assert lines[-1].split() == [
        "failed",
        f"{models[1]}:",
        *["RuntimeError:", "the", "kernel", "failed", "(PRH_DEBUG=1", "shows", "where)"],
    ]
    assert summary({models[0]: outcomes[models[0]]}) == "" and "the kernel failed" in capsys.readouterr().err


def test_a_reason_is_told_again_only_where_models_came_after_it():
    failed, done = ExtractionError("the reason."), Path("store.zarr")
    assert summary({"a": failed}) == "1 of 1 models failed: a"
    assert summary({"a": done, "b": failed}).splitlines() == ["1 of 2 models failed: b", "  done    a: store.zarr"]
    assert "  failed  a: the reason." in summary({"a": failed, "b": done}).splitlines()
    many = {str(i): failed for i in range(20)}
    assert summary(many).count("the reason.") == 20


@pytest.mark.parametrize("modality", [None, "audio", "video", "vision-language"])
def test_a_model_whose_configuration_is_not_there_is_told_so(modality, tmp_path, capsys, monkeypatch):
    """Not that the data have no texts: nothing is known of the model."""
    name = "lab/no-such-model"
    data = Dataset.of("d", None, None, ["a"], [["text"]], {k: [b"x"] for k in ("image", "audio", "video")})
    found = extract([(modality, name)], data, Settings(output_dir=tmp_path))[name]
    assert "HF_HUB_OFFLINE is set" in str(found) and "lacks files of lab/no-such-model" in str(found)
    if modality is None:
        assert str(found).startswith(f"The configuration of {name!r}, which tells its modality, could not be read: ")
        assert all(remedy in str(found) for remedy in ("--modality audio", "local folder", "HF_HOME"))
    else:
        assert str(found).startswith(f"{modality.capitalize()} model {name!r} could not be loaded: ")


def test_broken_samples_are_left_out_when_asked_and_paired_by_id(tmp_path, checkpoint, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    pictures = [
        {"bytes": png(Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))), "path": None} for _ in range(40)
    ]
    pictures[7] = {"bytes": pictures[7]["bytes"][:40], "path": None}
    texts = [[f"text number {i}"] for i in range(40)]
    texts[3], texts[30] = [""], [" "]
    write_parquet(tmp_path / "d.parquet", n=40, image=pictures, text=texts)
    line = ["extract", "--dataset", "d.parquet", "--output-dir", "out", "--model", "pixels_32", "color_histogram"]
    model = checkpoint("gpt2")
    assert main([*line, model]) == 2
    assert main([*line, model, "--on-error", "skip", "--force-remake"]) == 0
    err = capsys.readouterr().err
    assert "1 samples are broken for vision models and left out: 's7'" in err
    assert "2 samples are broken for language models and left out: 's3', 's30'" in err
    stores = {open_store(p).model: open_store(p) for p in (tmp_path / "out").rglob("[!.]*.zarr")}
    assert set(range(40)) - {int(i[1:]) for i in stores["pixels_32"].ids} == {7}
    assert set(range(40)) - {int(i[1:]) for i in stores[model].ids} == {3, 30}
    assert stores[model].spec["dataset"]["skipped"] == 2 and stores[model].spec["dataset"]["n"] == 38
    paths = [str(stores[name].path) for name in (model, "pixels_32")]
    argv = ["align", "--x", paths[0], "--y", paths[1], "--metric", "mutual_knn", "-o", "r.zarr"]
    assert main(argv) == 2 and main([*argv, "--pair", "inner"]) == 0
    assert load_alignment("r.zarr").protocol["n"] == 37
    write_parquet(tmp_path / "e.parquet", text=[[""]] * 12)
    outcomes = extract([model], load("e.parquet"), Settings(output_dir="o", on_error="skip"), modality="language")
    assert "All 12 samples" in str(outcomes[model])


def test_columns_by_name(tmp_path):
    write_parquet(tmp_path / "a.parquet")
    path = write_parquet(
        tmp_path / "b.parquet",
        image=None,
        text=None,
        id=None,
        key=[f"k{i}" for i in range(12)],
        caption=[f"one {i}" for i in range(12)],
        photo=load(str(tmp_path / "a.parquet")).pictures,
    )
    data = load(path, columns=Columns("photo", "caption", "key"))
    assert data.ids[3] == "k3" and data.captions()[3] == "one 3" and data.image(3).size == (8, 8)
    with pytest.raises(ExtractionError, match=r"no column 'name' \(--text-column\); it has .*caption"):
        load(path, columns=Columns(text="name"))
    with pytest.raises(ExtractionError, match="Name yours with --image-column"):
        load(path)


def test_a_folder_with_captions_in_its_metadata(tmp_path):
    for i in range(3):
        (tmp_path / f"sub{i % 2}").mkdir(exist_ok=True)
        Image.new("RGB", (6, 6), (i, 100, 0)).save(tmp_path / f"sub{i % 2}" / f"{i}.png")
    lines = ["file_name,caption,key", *(f"sub{i % 2}/{i}.png,picture {i},k{i}" for i in range(3))]
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    data = load(str(tmp_path), columns=Columns(text="caption"))
    assert dict(zip(data.ids, data.captions(), strict=True)) == {
        f"sub{i % 2}/{i}.png": f"picture {i}" for i in range(3)
    }
    assert load(str(tmp_path), columns=Columns(text="caption", id="key")).ids[0] == "k0"
    assert [data.image(data.ids.index(f"sub{i % 2}/{i}.png")).getpixel((0, 0))[0] for i in range(3)] == [0, 1, 2]


def test_row_groups_come_one_at_a_time(tmp_path):
    import pyarrow.parquet as pq

    table = pq.read_table(write_parquet(tmp_path / "whole.parquet", n=30))
    (tmp_path / "parts").mkdir()
    pq.write_table(table[:17], tmp_path / "parts" / "a.parquet", row_group_size=5)
    pq.write_table(table[17:], tmp_path / "parts" / "b.parquet", row_group_size=4)
    whole, parts = load(str(tmp_path / "whole.parquet")), load(str(tmp_path / "parts"))
    assert whole.content_sha256 == parts.content_sha256 and len(parts.pictures) == 30
    assert len(parts.pictures.groups) == 8
    for row in (29, 0, 16, 17, 5):
        assert parts.pictures[row] == whole.pictures[row]
    some = parts.select([28, 3])
    assert some.ids == ["s28", "s3"] and some.image(0).tobytes() == whole.image(28).tobytes()


def test_a_stream_needs_an_end():
    with pytest.raises(ExtractionError, match="say how many with --num-samples"):
        load("big/set", streaming=True)


def test_what_a_name_is(tmp_path, checkpoint):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "siglip"}))
    assert modality_of(str(tmp_path)) == "vision" and modality_of(checkpoint("bert")) == "language"
    assert modality_of("timm/vit_base_patch16_224.mae") == "vision" and modality_of("hog") == "vision"
    assert modality_of("bigscience/bloomz-560m") == "language"
