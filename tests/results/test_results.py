"""What is made of a result: reductions, long and wide tables, results joined, files for other programs."""

import csv
import html
import json
import re
import sys

import numpy as np
import pytest
import xarray as xr
from inputs import golden_values
from made_results import EVIL, calibrated, edited, made_result
from oracles import ORACLES

import prh_jax
from prh_jax.cli import doctor
from prh_jax.cli.main import main
from prh_jax.data import SELF_TEST
from prh_jax.results.reduce import same_depth
from prh_jax.results.tables import escape_latex, escape_markdown


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
    with edited(result) as protocol:
        protocol["metrics"]["cka"]["larger_is_closer"] = False
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
    with pytest.raises(
        ValueError, match="'median'.*best, mean, same_depth, assignment, dtw, transport, or give a function"
    ):
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


@pytest.fixture
def saved(tmp_path):
    result = made_result(dict.fromkeys(EVIL, 2), {"c": 3, "d": 1}, ("cka", "cka:kernel=rbf,sigma=2"))
    calibrated(result, lambda metric, i, j: (i + 1) / 20)
    return result, str(result.save(tmp_path / "result.zarr"))


def test_a_csv_holds_every_cell_and_every_name(saved, tmp_path, capsys):
    result, path = saved
    assert main(["export", path, "-o", str(tmp_path / "out" / "r.csv")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out" / "r.csv")
    with open(tmp_path / "out" / "r.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 20 * 4 and list(dict.fromkeys(row["model_x"] for row in rows)) == EVIL
    scores = np.array([row["score"] for row in rows], np.float32).reshape(2, 20, 4)
    np.testing.assert_array_equal(scores, [result.dataset[metric].values for metric in result.metrics])
    assert (rows[0]["null_seed"], rows[0]["p"], rows[0]["n"]) == ("0", "0.05", "100")


def test_a_parquet_per_model_pair(saved, tmp_path, monkeypatch, capsys):
    result, path = saved
    parquet = pytest.importorskip("pyarrow.parquet")
    out = str(tmp_path / "r.parquet")
    assert main(["export", path, "-o", out, "--per", "model", "--how", "mean", "--metric", "cka"]) == 0
    table = parquet.read_table(out).to_pydict()
    assert table["model_x"] == [name for name in EVIL for _ in range(2)] and set(table["metric"]) == {"cka"}
    np.testing.assert_array_equal(table["score"], result.reduce("cka", "mean").values.ravel())
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["export", path, "-o", out, "--force-remake"]) == 2
    assert "pip install pyarrow" in capsys.readouterr().err


def test_a_netcdf_is_read_without_this_library(saved, tmp_path):
    from scipy.io import netcdf_file

    result, _ = saved
    assert prh_jax.export(result, tmp_path / "r.nc") == tmp_path / "r.nc"
    with netcdf_file(tmp_path / "r.nc", mmap=False) as file:
        for metric in result.metrics:
            np.testing.assert_array_equal(file.variables[metric][:], result.dataset[metric].values)
        p = file.variables["calibration_p"][:]
        np.testing.assert_array_equal(p, result.calibration.dataset["p"].values)
        assert json.loads(file.protocol) == json.loads(json.dumps(result.protocol))
        assert json.loads(file.calibration) == result.calibration.settings
    with xr.open_dataset(tmp_path / "r.nc", engine="scipy") as dataset:
        assert list(dict.fromkeys(dataset["model_x"].values)) == EVIL


def test_the_references_file_needs_one_metric(saved, tmp_path, capsys):
    result, path = saved
    assert main(["export", path, "-o", str(tmp_path / "r.npy")]) == 2
    assert "--metric" in capsys.readouterr().err and not list(tmp_path.glob("*.npy")) + list(tmp_path.glob(".*"))
    assert main(["export", path, "-o", str(tmp_path / "r.npy"), "--metric", "cka"]) == 0
    contents = np.load(tmp_path / "r.npy", allow_pickle=True).item()
    np.testing.assert_array_equal(contents["scores"], result.scores("cka").values)


def test_tables_in_text_files(saved, tmp_path):
    result, path = saved
    for ending in ("md", "tex"):
        assert main(["export", path, "-o", str(tmp_path / f"r.{ending}")]) == 0
    markdown, latex = ((tmp_path / f"r.{ending}").read_text(encoding="utf-8") for ending in ("md", "tex"))
    assert markdown.count("\n## ") == 5 and latex.count(r"\begin{tabular}") == 6
    for metric in result.metrics:
        for value in result.scores(metric).values.ravel():
            assert f"{value:.4f}" in markdown and f"{value:.4f}" in latex
    assert "<script" not in markdown and r"\input" not in latex and "n = 100" in markdown


def test_exports_that_cannot_be_are_one_paragraph(saved, tmp_path, capsys):
    _, path = saved
    (tmp_path / "there.csv").write_text("years of work")
    for argv, message in (
        (["-o", "r.xlsx"], "there are .csv, .parquet, .nc, .npy, .md, .tex"),
        (["-o", str(tmp_path / "there.csv")], "already exists.*--force-remake"),
        (["-o", str(tmp_path / "r.csv"), "--metric", "svcca"], "no metric 'svcca'; it has cka"),
    ):
        assert main(["export", path, *argv]) == 2
        err = capsys.readouterr().err
        assert re.search(message, err) and len(err.strip().splitlines()) == 1
    assert (tmp_path / "there.csv").read_text() == "years of work"
    assert main(["export", str(tmp_path / "none.zarr"), "-o", "r.csv"]) == 2


def test_show_prints_protocol_and_tables(saved, capsys):
    result, path = saved
    assert main(["show", path, "--metric", "cka"]) == 0
    out = capsys.readouterr().out
    for words in ("clipped at quantile 0.95 (auto), rows of unit length", "kernel=linear", "2 layers x 8-9", "seed 0"):
        assert words in out
    assert "4 random orders" in out and "\u202e" not in out and "safe<U+202E>gnp.exe" in out
    for value in result.scores("cka").values.ravel():
        assert f"{value:.4f}" in out


def test_show_as_json(saved, capsys):
    result, path = saved
    result.dataset["cka"][:2, 3] = np.nan
    result.save(path, overwrite=True)
    assert main(["show", path, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["protocol"]["n"] == 100 and shown["null"]["null"]["seed"] == 0
    table = shown["metrics"]["cka"]
    assert table["models_x"] == EVIL and table["models_y"] == ["c", "d"] and table["score"][0][1] is None
    expected = result.scores("cka").values.astype(float)
    np.testing.assert_array_equal(np.array(table["score"], float), expected)
    assert table["layer_y"][0] == [result.best("cka")["layer_y"].values[0, 0], ""]
    np.testing.assert_allclose(table["calibration"]["q_bh"], [[(i + 1) / 40] * 2 for i in range(10)])


def test_the_self_test_holds_values_of_independent_programs():
    values = json.loads((SELF_TEST / "values.json").read_text())["values"]
    assert [entry["metric"] for entry in values] == prh_jax.SUPPORTED_METRICS
    inputs = np.load(SELF_TEST / "features.npz")
    known = {}
    for file in ("prh.json", "consensus.json"):
        for entry, x, _ in golden_values(file):
            if entry["pair"] == "corr":
                known.setdefault((entry["metric"], entry["rows"]), []).append((entry["settings"], entry["value"]))
                if entry["rows"] == "raw":
                    np.testing.assert_array_equal(x, inputs["x"])
    for entry in values:
        settings = {k: v for k, v in entry["settings"].items() if k not in ("normalize", "per_k")}
        if entry["metric"] == "svcca":
            sides = (inputs[name].astype(np.float64) for name in "xy")
            assert entry["value"] == pytest.approx(ORACLES["svcca"](*sides, **settings), abs=1e-12)
        else:
            assert (settings, entry["value"]) in known[entry["metric"], entry["rows"]]


def test_doctor_finds_a_wrong_metric(monkeypatch, capsys):
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["sound"] and len(report["self_test"]) == len(prh_jax.SUPPORTED_METRICS) and report["packages"]["jax"]
    right = doctor._test

    def wrong(entry, features):
        if entry["metric"] == "cka":
            return right(entry | {"value": entry["value"] + 1e-3}, features)
        if entry["metric"] == "svcca":
            return right(entry | {"settings": {"dim": 1000}}, features)
        return {"metric": entry["metric"], "score": 1.0, "expected": 1.0, "passed": True, "error": None}

    monkeypatch.setattr(doctor, "_test", wrong)
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert re.search(r"cka +0.616641 +0.617641 +1.0e-03  FAILED", out) and "FAILED ValueError" in out
    assert "2 of 8 metrics do NOT give" in out
