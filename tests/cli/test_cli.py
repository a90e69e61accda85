"""The command line as its users type it: both spellings, teaching help, one-paragraph errors, exit statuses."""

import argparse
import json
from functools import partial

import numpy as np
import pytest
from inputs import IDS, make_store

from extractors.cli import extract as extract_cli
from extractors.modelsets import MODELSETS, models_of
from prh_jax import load_alignment
from prh_jax.analysis import choosing
from prh_jax.analysis.choosing import choosing_table
from prh_jax.cli.align import add_arguments
from prh_jax.cli.main import main
from prh_jax.metrics.registry import METRICS, SUPPORTED_METRICS
from prh_jax.stores.layout import store_path


@pytest.fixture
def study(tmp_path, monkeypatch):
    """The features of the whole val study, tiny, where `prh extract` puts them; the working folder is theirs."""
    monkeypatch.chdir(tmp_path)
    seed = 0
    for modality, pool in (("language", "mean"), ("vision", "cls")):
        for model in models_of("val", modality):
            path = store_path("results/features", "minhuh/prh", "wit_1024", model, pool)
            make_store(path, model, (12, 12), seed=seed)
            seed += 1
    return tmp_path


REFERENCE = (
    "align --dataset minhuh/prh --subset wit_1024 --modelset val "
    "--modality_x language --pool_x avg --modality_y vision --pool_y none"
)
FOLDER = "results/alignment/minhuh/prh/val/language_pool-avg_prompt-False_vision_pool-none_prompt-False"


def test_the_references_command_line(study, capsys):
    assert main([*REFERENCE.split(), "--npy"]) == 0
    out = capsys.readouterr().out
    assert (
        "mutual_knn" in out and "bigscience/bloomz-560m" in out and "vit_huge_patch14_clip_224.laion2b_ft_in12k" in out
    )
    result = load_alignment(study / FOLDER / "mutual_knn_k10.zarr")
    assert result.scores("mutual_knn").shape == (12, 17)
    contents = np.load(study / FOLDER / "mutual_knn_k10.npy", allow_pickle=True).item()
    np.testing.assert_allclose(contents["scores"], result.scores("mutual_knn"))
    best = result.best("mutual_knn")
    assert contents["indices"].shape == (12, 17, 2)
    block = result.layers("mutual_knn", str(best["model_x"].values[3]), str(best["model_y"].values[5])).values
    row, column = contents["indices"][3, 5].astype(int)[::-1]
    assert block[row, column] == block.max()


def test_both_spellings_and_existing_results(study, capsys):
    assert main(REFERENCE.split()) == 0
    assert main(REFERENCE.replace("_x", "-x").replace("_y", "-y").split()) == 0
    assert "already holds this result" in capsys.readouterr().err
    assert main([*REFERENCE.split(), "--precise"]) == 2
    assert "other features or settings" in capsys.readouterr().err
    assert main([*REFERENCE.split(), "--precise", "--force_remake"]) == 0


def test_missing_features_are_named_with_the_commands_that_make_them(study, capsys):
    store = store_path("results/features", "minhuh/prh", "wit_1024", "huggyllama/llama-7b", "mean")
    store.rename(store.with_name("away.zarr"))
    assert main(REFERENCE.split()) == 2
    err = capsys.readouterr().err
    assert "1 of 29 feature stores are missing" in err and "huggyllama--llama-7b_pool-mean.zarr" in err
    assert "prh extract --dataset minhuh/prh --subset wit_1024 --modelset val --modality language --pool avg" in err


def test_stores_by_path_all_metrics_and_a_picture(tmp_path, capsys):
    a = make_store(tmp_path / "in" / "a.zarr", "a", (14, 14)).path
    make_store(tmp_path / "in" / "b.zarr", "b", (12, 15), seed=1)
    out = tmp_path / "r.zarr"
    argv = ["align", "--x", str(a), "--y", str(tmp_path / "in"), "--metric", "all", "--topk", "5", "--prh", "--npy"]
    assert main([*argv, "-o", str(out), "--plot", str(tmp_path / "p.png")]) == 0
    result = load_alignment(out)
    assert result.metrics == SUPPORTED_METRICS and result.dataset.sizes == {"layer_x": 2, "layer_y": 4}
    settings = {name: entry["settings"] for name, entry in result.protocol["metrics"].items()}
    assert settings["cknna"]["k"] == 5 and settings["cka"]["eps"] == 1e-6 and settings["cycle_knn"]["swapped"]
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in (tmp_path / "r").iterdir())[:3] == ["cka.npy", "cknna_k5.npy", "cycle_knn_k5.npy"]
    assert main(["inspect", str(out), str(a)]) == 0
    printed = capsys.readouterr().out
    assert "Alignment of 1 x 2 models, 2 x 4 layers" in printed and "every checksum holds" in printed


def test_a_study_grows_without_some_samples_and_images_have_captions(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for i, name in enumerate("abc"):
        make_store(f"{name}.zarr", name, (14,), seed=i)
    (tmp_path / "bad.txt").write_text(f"{IDS[3]}\n{IDS[5]}\n")
    argv = "align --metric mutual_knn:k=3,5 --exclude bad.txt -o r.zarr --x"
    assert main([*argv.split(), "a.zarr", "b.zarr"]) == 0
    assert main(["align", "--x", "c.zarr", "--exclude", "bad.txt", "-o", "r.zarr", "--extend"]) == 0
    assert main([*argv.replace("r.zarr", "once.zarr").split(), "a.zarr", "b.zarr", "c.zarr"]) == 0
    grown, once = load_alignment("r.zarr"), load_alignment("once.zarr")
    assert grown.dataset.identical(once.dataset) and grown.provenance.n == 58 and len(grown.metrics) == 2
    make_store("images.zarr", "images", (9,), seed=7, ids=IDS[:12])
    (tmp_path / "image.txt").write_text("".join(f"{IDS[i // 5]}\n" for i in range(60)))
    argv = "align --x a.zarr --y images.zarr --pair-x image.txt --null 20 -o m.zarr"
    assert main(argv.split()) == 0
    assert load_alignment("m.zarr").calibration.settings["null"]["exchange"] == "whole"
    assert main([*argv.replace("m.zarr", "n.zarr").split(), "--exchange", "within"]) == 2
    assert "--exchange whole" in capsys.readouterr().err


def test_inspect_reports_damage_by_its_exit_status(tmp_path, capsys):
    store = make_store(tmp_path / "a.zarr", "a", (14,))
    assert main(["inspect", str(tmp_path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["samples"] == 60 and report["complete"] and report["problems"] == []
    chunk = next(p for p in (store.path / "features" / "c").rglob("*") if p.is_file())
    chunk.write_bytes(chunk.read_bytes()[::-1])
    assert main(["inspect", str(tmp_path)]) == 1
    assert "intact     NO" in capsys.readouterr().out
    assert main(["inspect", str(tmp_path / "nowhere")]) == 2
    assert main(["inspect", str(tmp_path / "a.zarr" / "features" / "c")]) == 2


@pytest.mark.parametrize(
    "argv, message",
    [
        ("align --x a.zarr --metric knn -o r.zarr", "Unknown metric 'knn'; the metrics are cycle_knn, mutual_knn"),
        ("align --x a.zarr --metric cka:k=3 -o r.zarr", "cka has no setting 'k'"),
        ("align --x a.zarr --metric mutual_knn --topk 60 -o r.zarr", "60 samples need 1 <= k <= 59, got k = 60"),
        ("align --x a.zarr --clip-quantile 0 -o r.zarr", "clip_quantile must be above 0"),
        ("align --x a.zarr --memory much -o r.zarr", "A size is written such as 8GiB"),
        ("align --x a.zarr a.zarr -o r.zarr", "given more than once"),
        ("align --x a.zarr -o a.zarr --force-remake", "is not overwritten"),
        ("align --x a.zarr", "-o result.zarr"),
        ("align --y a.zarr", "--y needs --x"),
        ("align --x a.zarr b.zarr -o r.zarr", "another order: row 0"),
        ("align --x a.zarr none.zarr -o r.zarr", "no feature store at none.zarr"),
        ("align --modality-x language --pool-x none", "language models have mean or last"),
        ("align --modelset test --modality-x vision", "'test' has no vision models"),
        ("extract --dataset emoji_1024 --model hog --batch-size 0", "--batch-size must be at least 1"),
        ("extract --dataset emoji_1024 --model hog --num-samples 0", "--num-samples must be at least 1"),
    ],
)
def test_bad_input_is_one_paragraph_and_status_2(argv, message, tmp_path, monkeypatch, capsys):
    if argv.startswith("extract"):
        pytest.importorskip("timm")
    monkeypatch.chdir(tmp_path)
    make_store("a.zarr", "a", (14,))
    make_store("b.zarr", "b", (14,), ids=IDS[::-1])
    assert main(argv.split()) == 2
    err = capsys.readouterr().err
    assert message in err and "Traceback" not in err and len(err.strip().splitlines()) == 1
    assert not (tmp_path / "r.zarr").exists()


def test_the_commands_of_the_reference_parse():
    parser = argparse.ArgumentParser()
    extract_cli.add_arguments(parser)
    line = "--dataset minhuh/prh --subset wit_1024 --modelset val --modality language --pool avg"
    args = parser.parse_args(line.split())
    assert (args.subset, args.modelset, args.modality, args.pool) == ("wit_1024", "val", "language", "avg")
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    args = parser.parse_args(REFERENCE.replace("_x", "-x").replace("_y", "-y").split()[1:])
    assert (args.modality_x, args.pool_x, args.modality_y, args.pool_y) == ("language", "avg", "vision", "none")


def test_model_sets_are_those_of_the_study():
    assert {name: tuple(len(models_of(name, m)) for m in ("language", "vision")) for name in MODELSETS} == {
        "val": (12, 17),
        "test": (8, 0),
        "custom": (20, 1),
    }
    with pytest.raises(ValueError, match="'all'.*val, test, custom"):
        models_of("all", "vision")


def test_metrics_are_listed_in_three_forms(capsys):
    for form, probe in (("text", "range        [-1, 1]"), ("json", '"metric": "svcca"'), ("markdown", "| `cka` |")):
        assert main(["metrics", "--format", form]) == 0
        out = capsys.readouterr().out
        assert probe in out and all(name in out for name in METRICS)


def test_the_table_for_choosing_has_what_chance_gives(capsys, monkeypatch):
    """Of independent layers: k / (n - 1), 0 for unbiased CKA, and far from it for CKA of wide layers."""
    names = ["mutual_knn", "unbiased_cka", "cka", "rsm_norm_difference"]
    small = partial(choosing_table, names, n=64, widths=(4, 256))
    monkeypatch.setattr(choosing, "choosing_table", small)
    assert main(["metrics", "--table"]) == 0
    head, _, *rows, _, note = capsys.readouterr().out.strip().splitlines()
    assert head.startswith("| metric |") and "n = 64" in note
    cells = {row.split("|")[1].strip(" `"): [cell.strip() for cell in row.split("|")[2:-1]] for row in rows}
    assert list(cells) == names
    chance = {name: [float(cell) for cell in row[-3:-1]] for name, row in cells.items()}
    assert chance["mutual_knn"] == pytest.approx([10 / 63] * 2, abs=0.02)
    assert chance["unbiased_cka"] == pytest.approx([0, 0], abs=0.05)
    assert chance["cka"][0] < 0.2 and chance["cka"][1] > 0.7
    assert cells["rsm_norm_difference"][1] == "smaller" and cells["cka"][-1] == "1"
    assert float(cells["mutual_knn"][-1]) > 0
