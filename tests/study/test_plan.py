"""The plan of a study: its sizes by arithmetic, its time by rehearsal, and the study itself beside it."""

import importlib
import json
import shlex

import numpy as np
import pytest

import prh_jax
from prh_jax.cli.arguments import metrics_of
from prh_jax.cli.main import main, make_parser
from prh_jax.cli.plan import EPILOG, time_text
from prh_jax.runtime.memory import size_text


def test_sizes_are_arithmetic():
    found = prh_jax.plan(256, [[32] * 3, [48] * 2], [[64]], ["mutual_knn", "cka"], null=10, dtype="float32")
    assert (found.samples, found.layers, found.pairs) == (256, 6, 5)
    assert found.features_bytes == 4 * 256 * (3 * 32 + 2 * 48 + 64)
    assert found.gram_flops == 2 * 256**2 * (3 * 32 + 2 * 48 + 64)
    assert found.result_bytes == 4 * 5 * 2
    lists, gram = 256 * 10 * 4, (256 * 128 + 256 + 2) * 4
    assert found.sketches_bytes == 6 * (lists + gram)
    assert found.blocks == 2  # one tile of each sketch
    assert found.in_memory and not found.warnings
    assert found.null_s > 0 and found.seconds == found.compile_s + found.sketch_s + found.pair_s + found.null_s


def test_queries_of_samples_that_are_rehearsed_with_fewer(monkeypatch):
    monkeypatch.setattr(importlib.import_module("prh_jax.study.plan"), "MANY", 300)
    found = prh_jax.plan(1000, [[16]], [[16]], "mutual_knn:queries=200")
    assert found.sketches_bytes == 2 * 200 * 10 * 4 and found.sketch_s > 0
    with pytest.raises(ValueError, match="has no null"):
        prh_jax.plan(64, [[16]], [[16]], "mutual_knn:queries=30", null=5)


def test_widths_are_compiled_by_threads(monkeypatch):
    module = importlib.import_module("prh_jax.study.plan")
    monkeypatch.setattr(module, "_rehearse", lambda *_: module._Speed(2.0, 0.5, 0.0))
    monkeypatch.setattr(module, "_pair_seconds", lambda *_: (0.25, 0.0))
    monkeypatch.setattr(module, "compiling_threads", lambda: 3)
    found = prh_jax.plan(64, [[8, 9, 10, 11, 12, 12, 12]], None, "mutual_knn")
    assert found.compile_s == 2 * 2.0 + 0.25 and found.sketch_s == 7 * 0.5  # five widths, three at once


def test_itself_and_small_memory():
    found = prh_jax.plan(64, [[16] * 200, [16] * 100], None, "cka", memory="1MB")
    assert found.pairs == 300 * 300 and not found.in_memory
    assert any("disk" in warning for warning in found.warnings)
    size = next(s for s in (128, 64, 32, 16, 8, 4, 2, 1) if -(-300 // s) * (-(-300 // s) + 1) // 2 == found.blocks)
    assert size < 128


def test_the_command_reads_stores_or_sizes(tmp_path, capsys):
    rng = np.random.default_rng(0)
    features = [rng.normal(size=(40, 9)).astype(np.float32) for _ in range(3)]
    prh_jax.write_features(tmp_path / "a.zarr", features, ids=[str(i) for i in range(40)], spec={"model": "a"})
    assert main(["plan", "--x", str(tmp_path / "a.zarr"), "--topk", "5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["samples"], found["layers"], found["pairs"]) == (40, 3, 9)
    sizes = ["--n", "40", "--models", "1", "--layers", "3", "--dim", "9", "--dtype", "float32", "--topk", "5"]
    assert main(["plan", *sizes]) == 0
    assert "40 samples, 3 layers, 9 layer pairs" in capsys.readouterr().out
    assert main(["plan", "--n", "40"]) == 2
    assert "--models" in capsys.readouterr().err


def test_what_cannot_be_planned_is_refused(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for n in (30, 40):
        ids = [str(i) for i in range(n)]
        prh_jax.write_features(tmp_path / f"{n}.zarr", [rng.normal(size=(n, 9))], ids=ids, spec={"model": str(n)})
    sizes = ["--models", "1", "--layers", "1", "--dim", "9", "--topk", "2"]
    for command, words in (
        (["--x", str(tmp_path)], "30 samples but"),  # a folder of stores, as for `prh align`
        (["--x", str(tmp_path / "30.zarr"), "--n", "30"], "not both"),
        (["--n", "3", *sizes], "At least 4 samples"),
        (["--n", "0", *sizes], "at least 1"),
        (["--n", "9", *sizes, "--null", "-1"], "0 for none"),
    ):
        assert main(["plan", *command]) == 2
        assert words in capsys.readouterr().err
    with pytest.raises(ValueError, match="widths of its layers"):
        prh_jax.plan(9, [[]])


def test_the_examples_name_metrics_that_there_are():
    for line in EPILOG.splitlines():
        if line.strip().startswith("prh plan"):
            assert metrics_of(make_parser().parse_args(shlex.split(line)[1:]))


def test_words_for_sizes():
    assert [time_text(s) for s in (2.0, 120.0, 7200.0)] == ["2.0 s", "2.0 min", "2.0 h"]
    assert [size_text(b) for b in (2**20, 2**31)] == ["1.0 MiB", "2.0 GiB"]
