"""The benchmarks run at toy size, and what they compare with is the same score."""

import json

import jax
import numpy as np
import pytest
from oracles import ORACLES

torch = pytest.importorskip("torch")

import prh_jax  # noqa: E402
from benchmarks import (  # noqa: E402
    describe,
    family,
    growth,
    many_samples,
    opponents,
    packages,
    plain_calls,
    plain_packages,
    report,
    scaling,
    study,
    sweep,
)
from benchmarks.kernels import related_layers  # noqa: E402
from benchmarks.run import main  # noqa: E402
from prh_jax import METRICS, SUPPORTED_METRICS  # noqa: E402
from prh_jax.sketches.nearest import query_rows  # noqa: E402


def test_toy_size_runs_and_writes_json(tmp_path, capsys):
    path = tmp_path / "toy.json"
    fixed = ["--size", "toy", "--output", str(path), "--features", str(tmp_path / "features"), "--each"]
    assert main([*fixed, "--parts", "kernels", "neighbors", "largest", "sweep"]) == 0
    assert main([*fixed, "--parts", "null", "growth", "study", "budgets"]) == 0  # beside those that are there
    results = json.loads(path.read_text())
    assert [row["metric"] for row in results["kernels"]] == SUPPORTED_METRICS
    for row in results["kernels"]:
        assert row["pair_s"] > 0 and row["sketch_s"] > 0 and row["max_error"] < 2e-5
        assert 0 <= row["bfloat16_error"] < 0.1
    assert {(row["metric"], row["varied"]) for row in results["sweep"]} >= {("mutual_knn", "n"), ("cka", "layers")}
    assert all(row["pair_s"] > 0 for row in results["sweep"] if row["varied"] != "d")
    assert all(share == 1 for row in results["largest"] for share in row["right"].values())
    assert [row["budget_bytes"] for row in results["budgets"]] == [2**31]
    assert all(row["peak_bytes"] > 0 for row in results["budgets"])
    assert [row["metrics"] for row in results["study"]] == ["all", ["mutual_knn"]]
    assert results["peaks"]["gemm_flops"] > 1e8 and results["machine"]["date"]
    for row in results["null_pair"]:
        assert row["package_ratio"] > 0 and row["loop_ratio"] > 0 and row["largest_difference"] < 2e-5
    assert [row["metric"] for row in results["null_study"]] == ["mutual_knn", "cka"]
    assert {row["varied"] for row in results["growth"]} == {"n", "orders", "models"}
    out = capsys.readouterr().out
    assert "| mutual_knn |" in out and "| all metrics |" in out


def test_other_packages_have_the_same_numbers():
    """Those that are installed: scipy always is."""
    rows = packages.measure(toy=True, rounds=1)
    assert "scipy" in {row["package"] for row in rows}
    assert all(row["difference"] <= 1e-6 * max(1, row["largest"]) and row["ratio"] > 0 for row in rows)
    assert packages.table(rows).count("\n") == len(rows) + 1


def test_exponents_are_those_of_powers_of_one_algorithm():
    sizes = [1, 2, 4, 8, 16, 32]
    squares = [3.0 * s**2 for s in sizes]
    assert growth.exponent(sizes, squares) == pytest.approx(2)
    assert growth.exponent(sizes, [*squares[:4], 16.0, 32.0], change=8) == pytest.approx(1)
    assert growth.exponent(sizes, [*squares[:5], 32.0], change=16) == pytest.approx(2)  # one point has no slope


def test_a_sweep_of_many_samples_takes_the_sketch_that_studies_take(monkeypatch):
    monkeypatch.setattr("prh_jax.sketches.base.MANY", 40)
    row = sweep._row("cka", "n", 64, n=48, d=12, k=5, layers=9)
    assert row["layers"] == 4 and row["sketch_s"] > 0
    np.testing.assert_allclose(row["pair_flops"] * row["pair_s"], 2 * 48 * 12 * 12)
    np.testing.assert_allclose(row["sketch_flops"] * row["sketch_s"], 2 * 48 * 12 * 12)


def test_made_up_sketches_are_sketches():
    shape = jax.eval_shape(METRICS["mutual_knn"](k=5).sketcher, jax.ShapeDtypeStruct((32, 3), np.float32))
    lists = sweep.made_up(shape, 32, 0).neighbors
    assert lists.shape == (32, 5) and lists.min() >= 0 and lists.max() < 32
    for i, row in enumerate(lists):
        assert len(set(row)) == 5 and i not in row


@pytest.mark.parametrize("name", SUPPORTED_METRICS)
def test_the_fair_opponent_computes_the_same(name):
    x, y = related_layers(2, 40, 30, 3)
    keep, score = opponents.cached_torch(5)[name]
    got = float(score(keep(torch.from_numpy(x)), keep(torch.from_numpy(y))))
    settings = {"k": 5} if "k" in METRICS[name]().settings else {}
    expected = ORACLES[name](x.astype(np.float64), y.astype(np.float64), **(METRICS[name]().settings | settings))
    got = got / 5 if name == "lcs_knn" else 1 - got / 5 if name == "edit_distance_knn" else got
    assert got == pytest.approx(expected, abs=2e-5)


def test_the_study_has_the_layers_of_the_paper():
    layers = [sum(count for _, count in models.values()) for models in (study.LANGUAGE, study.VISION)]
    assert layers == [454, 352] and (len(study.LANGUAGE), len(study.VISION)) == (12, 17)


def test_a_folder_that_is_no_checkout_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no checkout of the reference"):
        opponents.load_reference(tmp_path)


@pytest.mark.slow
def test_writing_is_no_bottleneck_and_memory_stays_flat(tmp_path):
    """The small size of the 65,536-sample measurement: the store writes ten times as fast as the model computes."""
    pytest.importorskip("transformers")
    from benchmarks import extraction

    row = extraction.measure(tmp_path, samples=1100)
    assert (row["samples"], row["layers"], row["width"]) == (1100, 12, 384)
    assert row["writing_over_model"] >= 10
    assert row["memory_above_model_bytes"] < 2**31
    assert row["store_bytes"] > 1100 * 12 * 384 * 4


def test_the_reference_of_extraction_is_asked_for(tmp_path):
    from benchmarks import extraction

    with pytest.raises(ValueError, match="no extract_features"):
        extraction.reference_module(tmp_path)


def test_the_page_of_benchmarks_shows_the_results_that_are_committed():
    page = report.PAGE.read_text()
    grown = next(results for results in report.committed() if "sweep" in results)
    for name, text in (("benchmarks", report.section()), ("growth", growth.table(grown))):
        assert text == page.split(f"<!-- {name} -->")[1].split(f"<!-- /{name} -->")[0].strip()
    assert report.PLOT.exists() and report.GROWTH.exists()
    results = next(r for r in report.committed() if "study_reference_seconds" in r)
    seconds = next(row["seconds"] for row in results["study"] if row["metrics"] == "all")
    hours = sum(results["study_reference_seconds"].values()) / 3600
    readme = (report.PAGE.parent.parent / "README.md").read_text()
    assert f"take {seconds:.0f} s" in readme and f"an estimated {hours:.0f} hours" in readme


def test_every_kind_of_metric_stands_beside_numpy():
    names = ["mutual_knn", "rsa", "normalized_bures"]
    rows = family.measure(names, n=32, d=24, layers=4)
    assert [(row["metric"], row["layers"]) for row in rows] == [*zip(names, (4, 4, 2), strict=True)]
    assert all(row["pair_s"] > 0 and row["ratio"] == row["numpy_s"] / row["pair_s"] for row in rows)
    assert all(f"| {name} |" in family.table(rows) for name in names)


@pytest.mark.parametrize("name", [*SUPPORTED_METRICS, "rsa", "angular_shape_distance"])
def test_other_packages_have_the_same_score(name):
    x, y = plain_calls.layers(64, 12, 10)
    ours = float(getattr(prh_jax, name)(x, y))
    found = plain_packages.by_packages(name)
    assert ("torch" in found) == (name in SUPPORTED_METRICS and name not in plain_packages.OTHER_FORM)
    for package, function in found.items():
        assert float(function(x, y)) == pytest.approx(ours, abs=2e-5), package


@pytest.mark.slow
def test_many_samples_at_toy_size(tmp_path):
    found = many_samples.measure(tmp_path, toy=True, peak=128)
    assert found["study"]["seconds"] > 0 and found["study"]["planned_s"] > 0
    assert 0 < found["graph"]["of_peak"] < 10
    some, rows = found["queries"], query_rows(2000, 100)
    lists = []
    for seed in (1, 2):
        x = many_samples.related_samples(2000, 24, seed).astype(np.float64)
        similar = x[rows] @ x.T
        similar[np.arange(100), rows] = -np.inf
        lists.append(np.argsort(-similar, axis=1)[:, :10])
    shared = [len(set(a) & set(b)) for a, b in zip(*lists, strict=True)]
    assert some["score"] == pytest.approx(np.mean(shared) / 10, abs=1e-6)
    assert some.get("faiss_score", some["score"]) == pytest.approx(some["score"], abs=1e-6)
    assert f"| {some['seconds']:,.1f} |" in many_samples.table(found)


def test_descriptions_at_toy_size(monkeypatch):
    own = describe.by_prh_jax("two_nn")
    monkeypatch.setattr(describe, "opponents", lambda: {("two_nn", "half"): lambda x: own(x) / 2})
    rows = describe.measure(rounds=1, shapes=[(64, 4)])
    assert [row["difference"] for row in rows] == [0, 0, 0, 0, 0.5, 0, 0] and all(row["s"] > 0 for row in rows)
    assert "| 64 | 4 | two_nn | half | " in describe.table(rows)


def test_scaling_at_toy_size(monkeypatch):
    monkeypatch.setattr(scaling, "by_workers", lambda stores, count, *_: 8.0 / count)
    monkeypatch.setattr(scaling, "by_devices", lambda stores, count: 4.0)
    rows = scaling.measure(rounds=1, models=2, layers=2, n=16, d=4)
    found = [(row["by"], row["count"], row["speed"], row["efficiency"]) for row in rows]
    devices = [("faked devices", count, 1.0, 1 / count) for count in (1, 2, 4)]
    assert found == [("processes", 1, 1.0, 1.0), ("processes", 2, 2.0, 1.0), *devices]
    assert "| faked devices | 4 | 4.0 | 1.00 | 0.25 |" in scaling.table(rows)
