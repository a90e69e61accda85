"""Results of several runs as one: to the bit, or refused with both values."""

import copy

import numpy as np
import pytest
import xarray as xr
from inputs import make_store
from made_results import calibrated, edited, made_result, part

import prh_jax
from prh_jax import Null
from prh_jax.cli.main import main


def same(merged, whole):
    xr.testing.assert_identical(merged.dataset, whole.dataset)
    assert merged.protocol == whole.protocol
    assert list(merged.protocol["metrics"]) == list(whole.protocol["metrics"])


def test_two_halves_are_the_whole():
    whole = made_result({"a": 2, "b": 1, "c": 3}, {"d": 2, "e": 4}, ("cka", "svcca"))
    same(prh_jax.merge([whole]), whole)
    same(prh_jax.merge([part(whole, ["a"]), part(whole, ["b", "c"])]), whole)
    same(prh_jax.merge([part(whole, None, ["d"]), part(whole, None, ["e"])]), whole)
    same(prh_jax.merge([part(whole, metrics=["cka"]), part(whole, metrics=["svcca"])]), whole)
    quarters = [part(whole, x, y, [m]) for x in (["a", "b"], ["c"]) for y in (["d"], ["e"]) for m in whole.metrics]
    same(prh_jax.merge(quarters), whole)
    same(prh_jax.merge([part(whole, ["a", "b"]), part(whole, ["b", "c"])]), whole)


def test_halves_that_were_run_are_the_whole(tmp_path):
    stores = [make_store(tmp_path / f"{name}.zarr", name, (9,) * (i + 1), seed=i) for i, name in enumerate("abcd")]
    xs, ys = stores[:2], stores[2:]
    whole = prh_jax.align(xs, ys, "mutual_knn", null=9)
    merged = prh_jax.merge([prh_jax.align(x, ys, "mutual_knn", null=9) for x in xs])
    same(merged, whole)
    assert merged.calibration.settings == whole.calibration.settings
    exact = [name for name in whole.calibration.dataset if name not in ("mean_cell", "sd_cell", "z_cell", "tail_cell")]
    xr.testing.assert_identical(merged.calibration.dataset[exact], whole.calibration.dataset[exact])
    xr.testing.assert_allclose(merged.calibration.dataset, whole.calibration.dataset, rtol=1e-9)
    again = prh_jax.load_alignment(merged.save(tmp_path / "merged.zarr"))
    same(again, merged)
    whole.save(tmp_path / "whole.zarr")
    files = [
        {p.relative_to(root): p.read_bytes() for p in (root / "mutual_knn").rglob("*") if p.is_file()}
        for root in (tmp_path / "merged.zarr", tmp_path / "whole.zarr")
    ]
    assert files[0] == files[1] and files[0]
    assert prh_jax.calibrate(tmp_path / "merged.zarr", 9).calibration is not None


def test_both_orders_of_two_models_are_one_by_a_symmetric_metric(tmp_path):
    """A third model is scored with two others in one order alone; by cycle_knn the other order is another score."""
    stores = [make_store(tmp_path / f"{name}.zarr", name, (9,) * (i + 1), seed=i) for i, name in enumerate("abc")]
    metrics = ["mutual_knn", "cka"]
    whole = prh_jax.align(stores, None, metrics, null=Null(19, cells=True))
    old = prh_jax.align(stores[:2], None, metrics, null=Null(19, cells=True))
    new = prh_jax.align(stores, stores[2], metrics, null=Null(19, cells=True))
    merged = prh_jax.merge([old, new])
    xr.testing.assert_identical(merged.dataset, whole.dataset)
    xr.testing.assert_allclose(merged.calibration.dataset, whole.calibration.dataset, rtol=1e-6)
    other = prh_jax.align(stores, stores[2], "cycle_knn")
    with pytest.raises(ValueError, match="None of these results scores 'c' with 'a' by cycle_knn"):
        prh_jax.merge([prh_jax.align(stores[:2], None, "cycle_knn"), other])


def test_aggregates_that_tell_both_orders_apart_have_a_null_for_each(tmp_path):
    stores = [make_store(tmp_path / f"{name}.zarr", name, (9,) * (i + 1), seed=i) for i, name in enumerate("abc")]
    null = Null(19, aggregate="row_max_mean")
    whole = prh_jax.align(stores, None, "cka", null=null)
    for x in stores:
        part = prh_jax.align(x, stores, "cka", null=null).calibration.null("cka")
        found = whole.calibration.null("cka").sel(model_x=part["model_x"])
        np.testing.assert_allclose(found, part, atol=1e-6)


def test_q_values_are_over_all_pairs_of_the_merged_study():
    halves = [
        calibrated(made_result({name: 1}, {"c": 1, "d": 1}), lambda m, i, j, r=row: (r, 0.5)[j])
        for name, row in (("a", 0.01), ("b", 0.02))
    ]
    q = prh_jax.merge(halves).calibration.pairs("cka")["q_bh"].values
    # Benjamini and Hochberg over 0.01, 0.02, 0.5, 0.5: p times 4 by rank, the least of those above
    np.testing.assert_allclose(q, [[0.04, 0.5], [0.04, 0.5]])


DIFFERENT = {
    "n": ({"n": 99}, "n is 100 in the one and 99 in the other"),
    "ids": ({"ids_sha256": "4567"}, "ids_sha256 is '0123'.*'4567'"),
    "clipping": (
        {"preprocess": {"clip_quantile": 1.0, "exact": False, "scope": "auto", "normalize": True}},
        "preprocess, clip_quantile is 0.95.*1.0",
    ),
    "precision": ({"precision": "bfloat16"}, "precision is 'float32, products at HIGHEST'.*'bfloat16'"),
    "groups": ({"groups": [0] * 50 + [1] * 50}, "groups is None in the one and \\[0, 0"),
}


@pytest.mark.parametrize("change, message", DIFFERENT.values(), ids=DIFFERENT)
def test_other_protocols_are_refused_with_both_values(change, message):
    one, two = made_result({"a": 1}, {"c": 1}), made_result({"b": 1}, {"c": 1})
    with edited(two) as protocol:
        protocol.update(change)
    with pytest.raises(ValueError, match=f"Results 1 and 2 .*{message}"):
        prh_jax.merge([one, two])


def test_other_settings_and_other_models_of_one_name_are_refused():
    one = made_result({"a": 1}, {"c": 1})
    two = copy.deepcopy(part(one))
    with edited(two) as protocol:
        protocol["metrics"]["cka"]["settings"] = {"kernel": "rbf"}
    with pytest.raises(ValueError, match="metric cka, settings, kernel is 'linear' in the one and 'rbf'"):
        prh_jax.merge([one, two])
    two = copy.deepcopy(part(one))
    with edited(two) as protocol:
        protocol["models_x"][0]["contents"] = "others"
    with pytest.raises(ValueError, match="contents of model 'a' of side x is 'contents of a'.*'others'"):
        prh_jax.merge([one, two])
    two = copy.deepcopy(part(one))
    two.dataset["cka"][0, 0] = 0.125
    with pytest.raises(ValueError, match="scores by cka for 'a' with 'c': 0.6369\\S* and 0.125"):
        prh_jax.merge([one, two])


def test_what_none_scored_is_named_or_nan():
    one, two = made_result({"a": 1}, {"c": 1}), made_result({"b": 1}, {"d": 1})
    with pytest.raises(ValueError, match="None of these results scores 'a' with 'd' by cka.*missing='nan'"):
        prh_jax.merge([one, two])
    assert np.isnan(prh_jax.merge([one, two], missing="nan").scores("cka").values).tolist() == [
        [False, True],
        [True, False],
    ]
    with pytest.raises(ValueError, match="nothing to merge"):
        prh_jax.merge([])


def test_calibrations_are_merged_if_all_have_the_same():
    halves = [calibrated(made_result({name: 1}, {"c": 1}), lambda m, i, j: 0.2) for name in "ab"]
    assert prh_jax.merge(halves).calibration.pairs("cka")["p"].values.tolist() == [[0.2], [0.2]]
    bare = made_result({"b": 1}, {"c": 1})
    with pytest.raises(ValueError, match="Result 2 has no calibration"):
        prh_jax.merge([halves[0], bare])
    assert prh_jax.merge([halves[0], bare], calibration=False).calibration is None
    halves[1].calibration.settings["null"] = halves[1].calibration.settings["null"] | {"seed": 7}
    with pytest.raises(ValueError, match="calibration, null, seed is 0 in the one and 7"):
        prh_jax.merge(halves)


def test_machines_and_versions_of_all_runs_are_kept():
    one, two = made_result({"a": 1}, {"c": 1}), made_result({"b": 1}, {"c": 1})
    with edited(two) as protocol:
        protocol.update({"device": "H100", "versions": {"jax": "0.9.0", "prh-jax": "0.1.0"}})
    protocol = prh_jax.merge([one, two]).protocol
    assert protocol["device"] == "cpu and H100"
    assert protocol["versions"] == {"jax": "0.8.0 and 0.9.0", "prh-jax": "0.1.0"}


def test_merging_by_command(tmp_path, capsys):
    whole = made_result({"a": 2, "b": 1}, {"c": 3})
    paths = [str(part(whole, [name]).save(tmp_path / f"{name}.zarr")) for name in "ab"]
    assert main(["merge", *paths, "-o", str(tmp_path / "whole.zarr")]) == 0
    assert "2 x 1 models, 3 x 3 layers" in capsys.readouterr().out
    same(prh_jax.load_alignment(tmp_path / "whole.zarr"), whole)
    with edited(whole) as protocol:
        protocol["n"] = 7
    other = str(part(whole, ["b"]).save(tmp_path / "other.zarr"))
    assert main(["merge", paths[0], other, "-o", str(tmp_path / "no.zarr")]) == 2
    assert "n is 100 in the one and 7" in capsys.readouterr().err and not (tmp_path / "no.zarr").exists()
