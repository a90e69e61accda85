"""Extraction end to end: `prh extract` killed at any moment and started again gives the store of a run left alone."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from samples import write_parquet

from extractors.datasets.loading import load
from extractors.models import language
from extractors.pipeline.batches import BatchSize, extract_block
from prh_jax import align, inspect_store, load_alignment, open_store, write_features
from prh_jax.cli.main import main


def contents(path):
    """Every file of a store, without the seconds that the run took."""
    files = {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}
    store = open_store(path)
    files["zarr.json"] = repr((store.spec, store.spec_sha256, store.ids_sha256, store.result, store.complete)).encode()
    return files


def command(output, model, *extra):
    """Arguments of `prh` for a small extraction in four blocks."""
    fixed = ["extract", "--dataset", "emoji_1024", "--num-samples", "800", "--batch-size", "32"]
    return [*fixed, "--model", model, "--output-dir", str(output), *extra]


def start(*argv):
    """The command in a process of its own: equal bits are promised for an equal number of threads."""
    return subprocess.Popen([sys.executable, "-m", "prh_jax", *argv], stdout=subprocess.DEVNULL)


@pytest.mark.slow  # the same without processes of their own: test_crashes
def test_killed_and_resumed_to_the_same_bits(tmp_path, checkpoint):
    model = checkpoint("llama")
    assert start(*command(tmp_path / "whole", model)).wait() == 0
    (whole,) = (tmp_path / "whole").rglob("*.zarr")
    target = tmp_path / "killed" / whole.relative_to(tmp_path / "whole")
    kills = 0
    for blocks in (0, 1, 3):
        process = start(*command(tmp_path / "killed", model))
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            if target.exists() and sum((target / "done" / "c" / str(b)).exists() for b in range(4)) >= blocks:
                break
            time.sleep(0.001)
        process.kill()
        kills += process.wait() == -9
        assert inspect_store(target).intact
    assert kills >= 2
    assert start(*command(tmp_path / "killed", model)).wait() == 0
    assert contents(target) == contents(whole)
    assert open_store(target).result["loss"] > 0


def test_stores_hold_what_the_model_gives(tmp_path, checkpoint, capsys):
    model = checkpoint("gpt_neox")
    argv = command(tmp_path, model, "--pool", "last")
    assert main(argv) == 0
    (path,) = tmp_path.rglob("*.zarr")
    store = open_store(path)
    extractor = language.load(model, pool="last")
    data = load("emoji_1024", num_samples=800)
    expected, _ = extract_block(extractor, (extractor.prepare(data, i) for i in range(512, 768)), 256, BatchSize(32))
    for layer, features in enumerate(expected):
        np.testing.assert_array_equal(store.read_layer(layer)[512:768], features)
    assert store.spec["dataset"] == data.identity() and store.spec["pool"] == "last"
    assert store.env["batch_policy"]["batch_size"] == 32 and "torch" in store.env["versions"]
    before = contents(path)
    assert main(argv) == 0 and "complete at" in capsys.readouterr().out
    assert contents(path) == before


def test_another_request_for_the_same_store_is_refused(tmp_path, checkpoint, capsys):
    model = checkpoint("llama")
    assert main(command(tmp_path, model)) == 0
    (path,) = tmp_path.rglob("*.zarr")
    before = contents(path)
    assert main(command(tmp_path, model, "--num-samples", "300")) == 2
    assert "asked for is" in capsys.readouterr().err
    assert contents(path) == before


def few(tmp_path, *more):
    return ["extract", "--dataset", "emoji_1024", "--num-samples", "24", "--output-dir", str(tmp_path / "f"), *more]


def test_what_makes_two_stores_different_is_in_their_names(tmp_path, checkpoint):
    model, folder = checkpoint("llama"), tmp_path / "f" / "emoji_1024"
    ways = {
        "": [],
        "_max-5": ["--max-length", "5"],
        "_no-special": ["--no-special-tokens"],
        "_bfloat16": ["--dtype", "bfloat16"],
        "_as-float16": ["--store-dtype", "float16"],
        "_max-5_no-special_bfloat16_as-float32": [
            *("--max-length", "5", "--no-special-tokens", "--dtype", "bfloat16", "--store-dtype", "float32"),
        ],
    }
    for extra in ways.values():
        assert main(few(tmp_path, "--model", model, "--name", "tiny", *extra)) == 0
    assert {path.name for path in folder.iterdir()} == {f"tiny_pool-mean{mark}.zarr" for mark in ways}
    labels = align([folder / f"tiny_pool-mean{mark}.zarr" for mark in ways], metrics="cka").models_x
    assert labels[1] == "tiny (mean) [dtype_compute=float32, dtype_store=float32, max_length=5, special_tokens=True]"
    assert main(few(tmp_path, "--model", model, "--name", "tiny", "--dtype", "float32")) == 0  # as auto is on a CPU
    assert len(list(folder.iterdir())) == len(ways)


def test_stores_of_earlier_versions_are_found_by_their_shorter_names(tmp_path, checkpoint, capsys):
    asked = few(tmp_path, "--model", checkpoint("llama"), "--max-length", "5")
    assert main(asked) == 0
    (path,) = (tmp_path / "f" / "emoji_1024").iterdir()
    earlier = path.rename(path.with_name(path.name.replace("_max-5", "")))
    before = contents(earlier)
    assert main(asked) == 0 and f"complete at {earlier}" in capsys.readouterr().out
    (earlier / "zarr.json").write_text((earlier / "zarr.json").read_text().replace('"complete"', '"running"'))
    assert main(asked) == 0  # one that was interrupted goes on at its place
    assert list(earlier.parent.iterdir()) == [earlier] and contents(earlier) == before


def test_a_model_and_its_control_in_one_folder(tmp_path, checkpoint, capsys):
    """Trained and random weights of one checkpoint, by one command; told apart in every table."""
    models = [checkpoint("llama"), "hog"]
    asked = few(tmp_path, "--model", *models, "--pool", "auto", "--control", "random-init:0,3")
    assert main([*asked, "--dry-run"]) == 0
    assert "llama [random init 3]: to be made at" in capsys.readouterr().out
    assert main(asked) == 0
    names = {path.name.split("--")[-1] for path in (tmp_path / "f" / "emoji_1024").iterdir()}
    assert names == {f"llama{seed}_pool-mean.zarr" for seed in ("", "_random-0", "_random-3")} | {"hog_pool-none.zarr"}
    stores = sorted((tmp_path / "f").rglob("*.zarr"))
    capsys.readouterr()
    assert main(["align", "--x", *map(str, stores), "-o", str(tmp_path / "r.zarr"), "--metric", "cka"]) == 0
    shown = capsys.readouterr().out
    assert "cka: trained minus random weights of the same network" in shown
    assert str(tmp_path) not in shown.partition("All ")[0]
    result = load_alignment(tmp_path / "r.zarr")
    assert result.controls("x") == {"llama": ["llama [random init 0]", "llama [random init 3]"]}
    assert not any(str(tmp_path) in label for label in result.models_x)


@pytest.mark.parametrize(
    "options, message",
    [
        (["--model", "hog", "--name", "a", "b"], "one name for each model: there are 2 for 1"),
        (["--model", "hog", "pixels_32", "--name", "a", "a"], "names are short and differ"),
        (["--model", "hog", "--name", "/home/a"], "names are short and differ"),
        (["--name", "a"], "those of a model set have their names"),
        (["--model", "hog", "--control", "random-init", "--random-init", "0"], "random weights alone"),
    ],
)
def test_names_and_controls_that_cannot_be(tmp_path, capsys, options, message):
    assert main(few(tmp_path, *options)) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "f").exists()


def test_align_looks_where_extract_wrote(tmp_path, checkpoint, monkeypatch, capsys):
    """A model, its control with random weights and features of pictures, by model set and without paths."""
    monkeypatch.chdir(tmp_path)
    model = checkpoint("llama")
    (tmp_path / "s.toml").write_text(f'language = ["{model}"]\nvision = ["hog", "pixels_32"]\n')
    line = "extract --dataset emoji_1024 --num-samples 24 --modelset s.toml --output-dir f"
    assert main([*line.split(), "--pool", "last"]) == 0
    for seed in ("3", "4"):
        assert main([*line.split(), "--modality", "language", "--pool", "last", "--random-init", seed]) == 0
    found = {path.name: open_store(path) for path in (tmp_path / "f" / "emoji_1024").glob("*.zarr")}
    end = f"{Path(model).name}_pool-last.zarr"
    language = {name: store for name, store in found.items() if "hog" not in name and "pixels" not in name}
    assert sorted(store.spec["random_init"] or 0 for store in language.values()) == [0, 3, 4]
    assert next(name for name, store in language.items() if store.spec["random_init"] is None).endswith(end)
    line = "align --dataset emoji_1024 --modelset s.toml --modality-x language --modality-y vision --input-dir f"
    line += " --pool-x last --pool-y none --topk 5"
    for extra, label in (("", "llama"), (" --random-init-x 4", "llama [random init 4]")):
        assert main((line + extra).split()) == 0
        result = next(
            path for path in (tmp_path / "results").rglob("*.zarr") if ("random-4" in str(path)) == bool(extra)
        )
        assert list(load_alignment(result).models_x) == [label]
        assert list(load_alignment(result).models_y) == ["hog", "pixels_32"]
    assert main((line + " --control random-init:3,4 -o r.zarr").split()) == 0
    assert load_alignment("r.zarr").models_x == ["llama", "llama [random init 3]", "llama [random init 4]"]
    # a modality of one's own: features that were written as `touch`
    (tmp_path / "t.toml").write_text('touch = ["glove"]\nvision = ["hog"]\n')
    rows = np.random.default_rng(0).standard_normal((24, 4))
    spec = {"model": "glove", "modality": "touch", "pool": "mean"}
    ids = open_store(next(iter(found.values())).path).ids
    write_features(tmp_path / "f/emoji_1024/glove_pool-mean_touch.zarr", [rows], ids=ids, spec=spec)
    touch = "align --dataset emoji_1024 --modelset t.toml --modality-x touch --modality-y vision --input-dir f"
    assert main([*touch.split(), "--pool-x", "mean", "--pool-y", "none", "--topk", "5", "-o", "t.zarr"]) == 0
    assert load_alignment("t.zarr").models_x == ["glove"]
    capsys.readouterr()
    argv = "extract --dataset emoji_1024 --num-samples 24 --modelset t.toml --modality touch"
    assert main(argv.split()) == 2
    assert "No model here reads the modality 'touch'" in capsys.readouterr().err
    assert main((line + " --random-init-x 5").split()) == 2
    err = capsys.readouterr().err
    assert "extract --dataset emoji_1024 --modelset s.toml --modality language --pool last --random-init 5\n" in err


def test_one_failing_model_does_not_stop_the_others(tmp_path, checkpoint, capsys):
    argv = ["extract", "--dataset", "emoji_1024", "--num-samples", "20", "--output-dir", str(tmp_path), "--model"]
    assert main([*argv, str(tmp_path / "no" / "such"), checkpoint("gpt2")]) == 1
    out, err = capsys.readouterr()
    assert "1 of 2 models failed" in out and "There is no folder at" in err and "Traceback" not in err
    assert len(list(tmp_path.rglob("*.zarr"))) == 1


def test_checkpoints_that_were_never_fetched(tmp_path, capsys):
    argv = ["extract", "--dataset", "emoji_1024", "--num-samples", "20", "--output-dir", str(tmp_path / "o"), "--model"]
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n"
    for name, content, message in (
        ("model.safetensors", pointer, "model.safetensors is a pointer of git-lfs"),
        ("model.gguf", "GGUF\x03", "model.gguf is a model's weights in GGUF"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text('{"model_type": "llama"}')
        (tmp_path / name / name).write_text(content)
        for model in (tmp_path / name, tmp_path / name / name):
            assert main([*argv, str(model)]) == 2
            assert message in capsys.readouterr().err


def test_a_broken_picture_loses_no_block(tmp_path, capsys):
    good = load("emoji_1024", num_samples=300)
    rows = [dict(picture) for picture in good.pictures]
    rows[290] = {"bytes": rows[290]["bytes"][:200], "path": None}
    path = write_parquet(tmp_path / "data.parquet", n=300, image=rows)
    argv = ["extract", "--dataset", path, "--model", "pixels_32", "--output-dir", str(tmp_path / "out")]
    assert main(argv) == 2
    assert "picture of sample 's290'" in capsys.readouterr().err
    (store,) = (tmp_path / "out").rglob("*.zarr")
    report = inspect_store(store)
    assert report.intact and report.blocks_done == 1 and not report.store.complete


def test_empty_captions_stop_before_any_model_is_loaded(tmp_path, capsys):
    path = write_parquet(tmp_path / "data.parquet", text=[["", "x"]] * 12)
    argv = [
        "extract",
        "--dataset",
        path,
        "--output-dir",
        str(tmp_path / "out"),
        "--modality",
        "language",
        "--model",
        "x/y",
    ]
    assert main(argv) == 2
    assert "Caption 0 of 12 samples" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_without_the_extra_the_command_says_how_to_install_it(tmp_path):
    code = (
        "import sys\n"
        "for name in ('torch', 'timm', 'transformers'): sys.modules[name] = None\n"
        "from prh_jax.cli.main import main\n"
        "sys.exit(main(['extract', '--dataset', 'emoji_1024', '--model', 'hog']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "needs torch, timm, transformers" in done.stderr and 'pip install "prh-jax[extract]"' in done.stderr


@pytest.mark.parametrize("modality, pool", [("language", "avg"), ("vision", "none")])
def test_the_references_commands_reach_the_hub_and_say_so(modality, pool, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = f"extract --dataset minhuh/prh --subset wit_1024 --modelset val --modality {modality} --pool {pool}"
    assert main(line.split()) == 2
    assert "Data set 'minhuh/prh' (revision wit_1024" in capsys.readouterr().err


def test_align_finds_controls_and_marked_stores_by_study(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    hog = ["extract", "--dataset", "emoji_1024", "--num-samples", "24", "--model", "hog", "--output-dir", "f"]
    assert main([*hog, "--store-dtype", "float16"]) == 0
    line = ["align", "--dataset", "emoji_1024", "--model-x", "hog", "--model-y", "hog", "--input-dir", "f"]
    line += ["--topk", "5", "-o", "r.zarr"]
    assert main(line) == 0 and load_alignment("r.zarr").provenance.models_x[0].dtype == "float16"
    capsys.readouterr()
    assert main([*hog, "--store-dtype", "bfloat16"]) == 0
    assert main([*line[:-1], "s.zarr"]) == 2
    assert "hog_pool-none_as-bfloat16.zarr, hog_pool-none_as-float16.zarr. Name those" in capsys.readouterr().err
    named = ["--model-x", "vit_tiny_patch16_224", "--model-y", "pixels_32", "--control", "random-init:1"]
    assert main([*line[:-1], "s.zarr", *named]) == 2
    err = capsys.readouterr().err
    assert "3 of 3 feature stores are missing" in err and "--model vit_tiny_patch16_224" in err
    assert err.count("--control random-init:1\n") == 2
