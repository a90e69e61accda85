"""What is made of a result: reductions, long and wide tables, results joined, files for other programs."""

import copy
import html
import re

import numpy as np
import pytest
import xarray as xr
from inputs import make_store
from results import EVIL, calibrated, made_result, part

import prh_jax
from prh_jax.reduce import same_depth
from prh_jax.tables import escape_latex, escape_markdown


def grid(metric, i, j):
    return 10 * i + j


def test_reductions_are_those_of_the_block():
    result = made_result({"a": 2, "b": 1}, {"c": 3, "d": 1}, score=grid)
    assert result.reduce("cka").values.tolist() == [[12, 13], [22, 23]]
    assert result.reduce("cka", "mean").values.tolist() == [[(0 + 1 + 2 + 10 + 11 + 12) / 6, (3 + 13) / 2], [21, 23]]
    # a's layers lie at 0 and 1, c's at 0, 1/2 and 1: cells (0, 0) and (1, 2); a lone layer is its model's last
    assert result.reduce("cka", "same_depth").values.tolist() == [[(0 + 12) / 2, (3 + 13) / 2], [22, 23]]
    assert result.reduce("cka", lambda block: block[0, -1]).values.tolist() == [[2, 3], [22, 23]]
    for how in ("best", "mean", "same_depth", np.median):
        table = result.reduce("cka", how)
        assert table.name == "cka" and list(table["model_x"].values) == ["a", "b"]
        assert list(table["model_y"].values) == ["c", "d"]
    xr.testing.assert_identical(result.reduce("cka"), result.scores("cka"))


def test_the_best_is_the_smallest_where_smaller_is_closer():
    result = made_result({"a": 2}, {"c": 3}, score=grid)
    result.protocol["metrics"]["cka"]["larger_is_closer"] = False
    assert result.reduce("cka", "best").item() == 0


@pytest.mark.parametrize("layers_x, layers_y", [(1, 1), (1, 5), (5, 1), (3, 3), (4, 7), (7, 4), (12, 24), (13, 25)])
def test_same_depth_is_the_nearest_relative_depth(layers_x, layers_y):
    def place(i, count):
        return i / (count - 1) if count > 1 else 1.0

    for i, j in enumerate(same_depth(layers_x, layers_y)):
        distances = [abs(place(i, layers_x) - place(k, layers_y)) for k in range(layers_y)]
        assert distances[j] <= min(distances) + 1e-12
        assert all(distances[k] > distances[j] + 1e-12 for k in range(j)), "the shallower of two equally near"


def test_unknown_cells_are_passed_over_and_a_pair_without_any_is_nan():
    result = made_result({"a": 2}, {"c": 2, "d": 1}, score=lambda m, i, j: np.nan if j == 2 or i == j else i + j)
    for how, expected in (("best", 1), ("mean", 1), ("same_depth", np.nan)):
        np.testing.assert_array_equal(result.reduce("cka", how), [[expected, np.nan]])


def test_reductions_that_cannot_be_are_refused():
    result = made_result({"a": 2}, {"c": 3})
    with pytest.raises(ValueError, match="'median'.*best, mean, same_depth, or give a function"):
        result.reduce("cka", "median")
    with pytest.raises(ValueError, match="one number.*shape \\(3,\\)"):
        result.reduce("cka", lambda block: block[0])
    with pytest.raises(ValueError, match="no metric 'svcca'"):
        result.reduce("svcca")


def test_a_row_per_layer_pair():
    result = calibrated(
        made_result({"a": 2, "b": 1}, {"c": 3, "d": 1}, ("cka", "svcca"), lambda m, i, j: (10 * i + j) / 100),
        lambda m, i, j: (i + 1) / 10 + j / 100,
    )
    frame = result.to_dataframe()
    assert len(frame) == 2 * 3 * 4
    row = frame[(frame.metric == "svcca") & (frame.model_x == "a") & (frame.layer_x == "x1") & (frame.model_y == "c")]
    row = row[row.depth_y == 2].iloc[0]
    assert row.score == np.float32(0.12) and row.layer_y == "y2" and row.p_cell == np.float32(0.12) / 2
    assert (row.width_x, row.width_y, row.dtype_x, row.n) == (9, 10, "float16", 100)
    assert (row.p, row.q_bh, row.tau) == (0.1, 0.05, 0.25)
    assert (row.clip_quantile, row.normalize, row.clip_scope) == (0.95, True, "auto")
    assert (row.null_orders, row.null_seed, row.null_aggregate) == (4, 0, "max")
    assert (row.version_jax, row.version_prh_jax, row.settings) == ("0.8.0", "0.1.0", '{"kernel": "linear"}')
    table = frame[frame.metric == "cka"].pivot(index=["model_x", "layer_x"], columns=["model_y", "layer_y"])["score"]
    np.testing.assert_array_equal(table.dropna(how="all").dropna(axis=1, how="all"), result.dataset["cka"])


def test_a_row_per_model_pair():
    result = made_result({"a": 2, "b": 1}, {"c": 3, "d": 1}, score=grid)
    frame = result.to_dataframe("cka", per="model")
    assert "tau" not in frame and len(frame) == 4 and set(frame.how) == {"best"}
    row = frame.iloc[1]
    assert (row.model_x, row.layer_x, row.depth_x, row.model_y, row.layer_y, row.score) == ("a", "x1", 1, "d", "y0", 13)
    assert (row.layers_x, row.layers_y, row.width_x, row.width_y) == (2, 1, 9, 8)
    mean = result.to_dataframe(per="model", how="mean")
    assert mean.score.tolist() == [6, 8, 21, 23] and "layer_x" not in mean
    assert mean.width_x.tolist() == [-1, -1, 8, 8] and set(mean.how) == {"mean"}
    frame = calibrated(result, lambda m, i, j: 0.01).to_dataframe(per="model")
    assert frame.q_bh.tolist() == [0.005] * 4 and frame.aggregate_score.tolist() == frame.score.tolist()
    with pytest.raises(ValueError, match="per 'layer' or per 'model', got 'pair'"):
        result.to_dataframe(per="pair")


def test_a_wide_table_shows_every_number():
    result = made_result({"a": 2, "b_x": 1}, {"c": 3, "d": 1}, score=lambda m, i, j: np.nan if j == 3 else i + j / 8)
    assert result.to_markdown("cka").splitlines() == [
        "| cka | c | d |",
        "|---|---:|---:|",
        "| a | 1.2500 | - |",
        "| b_x | 2.2500 | - |",
    ]
    assert result.to_latex("cka", digits=2).splitlines() == [
        r"% needs \usepackage{booktabs}",
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"cka & c & d \\",
        r"\midrule",
        r"a & 1.25 & -- \\",
        r"b\_x & 2.25 & -- \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    assert "1.0000" in result.to_markdown("cka", lambda block: 1.0)


def unescaped_markdown(cell):
    """What a reader of CommonMark sees of text with backslash escapes and entities."""
    return html.unescape(re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", cell))


@pytest.mark.parametrize("name", EVIL)
def test_names_are_shown_as_text_in_markdown(name):
    shown = escape_markdown(name)
    assert "<" not in shown and "\n" not in shown and shown.strip()
    assert not re.search(r"(?<!\\)(\\\\)*[|`*\[\]$]", shown), "an active sign"
    assert "://" not in shown
    plain = name.replace("\u202e", "<U+202E>").replace("\n", "<U+000A>").replace("\t", "<U+0009>") or "(empty name)"
    assert unescaped_markdown(shown) == plain


def test_underscores_within_words_need_no_escape():
    assert escape_markdown("vit_base_patch16_224") == "vit_base_patch16_224"
    assert escape_markdown("_a_ b__c __d__") == r"\_a\_ b__c \_\_d\_\_"


@pytest.mark.parametrize("name", EVIL)
def test_names_are_shown_as_text_in_latex(name):
    shown = escape_latex(name)
    rest = re.sub(r"\\text[a-z]+\{\}|\\[&%$#_{}]|\{[\[\]*]\}", "", shown)
    assert not set(rest) & set('\\&%$#_{}~^<>|`"[]*\n'), "an active sign"
    assert shown.strip()


def test_a_table_of_such_names_keeps_its_shape():
    result = made_result(dict.fromkeys(EVIL, 1), dict.fromkeys(EVIL, 1))
    lines = result.to_markdown("cka").splitlines()
    assert len(lines) == 2 + len(EVIL)
    assert {len(re.findall(r"(?<!\\)\|", line.replace(r"\\", ""))) for line in lines} == {len(EVIL) + 2}
    body = result.to_latex("cka").split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert len(body) == len(EVIL) and {len(re.findall(r"(?<!\\)&", line)) for line in body} == {len(EVIL)}


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
    two.protocol |= change
    with pytest.raises(ValueError, match=f"Results 1 and 2 .*{message}"):
        prh_jax.merge([one, two])


def test_other_settings_and_other_models_of_one_name_are_refused():
    one = made_result({"a": 1}, {"c": 1})
    two = copy.deepcopy(part(one))
    two.protocol["metrics"]["cka"]["settings"] = {"kernel": "rbf"}
    with pytest.raises(ValueError, match="metric cka, settings, kernel is 'linear' in the one and 'rbf'"):
        prh_jax.merge([one, two])
    two = copy.deepcopy(part(one))
    two.protocol["models_x"][0]["contents"] = "others"
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
    two.protocol |= {"device": "H100", "versions": {"jax": "0.9.0", "prh-jax": "0.1.0"}}
    protocol = prh_jax.merge([one, two]).protocol
    assert protocol["device"] == "cpu and H100"
    assert protocol["versions"] == {"jax": "0.8.0 and 0.9.0", "prh-jax": "0.1.0"}
