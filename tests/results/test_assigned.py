"""Numbers and texts that people give the models of a result: kept, saved, and found by name where one is asked for."""

import json

import numpy as np
import pandas as pd
import pytest
from made_results import EVIL, calibrated, edited, made_result
from scipy import stats

import prh_jax
from prh_jax import plot
from prh_jax.cli.main import main
from prh_jax.results.assigned import keep_assigned

XS, YS = ("a", "b", "c", "d"), ("c", "e")
PARAMS = {"a": 4, "b": 1, "c": 3, "d": 2}


def simple():
    """The mean score of model i of x with those of y but itself is i / 10, or i / 10 + 1 / 4 of the models but c."""
    result = made_result(dict.fromkeys(XS, 2), dict.fromkeys(YS, 1), score=lambda m, i, j: i // 2 / 10 + j / 4)
    return calibrated(result, lambda m, i, j: 0.01)


def assigned(result, name, side="x"):
    return [model.assigned.get(name) for model in result.provenance.models(side)]


@pytest.mark.parametrize(
    "given",
    [
        PARAMS,
        pd.Series(PARAMS),
        pd.Series([4, 1, 3, 2], index=list(XS), dtype="Int64"),
        lambda model: PARAMS.get(model.label),
    ],
    ids=["mapping", "series", "nullable", "function"],
)
def test_values_are_given_by_model(given):
    result = simple()
    told = result.assign(params=given)
    assert assigned(told, "params") == [4, 1, 3, 2] and assigned(told, "params", "y") == [3, None]
    assert assigned(result, "params") == [None] * 4 and told.calibration is result.calibration
    assert assigned(told.assign(params_x=[1, np.nan, None, 2.5]), "params") == [1, None, None, 2.5]
    assert assigned(told.assign(params_x=None), "params") == [None] * 4
    assert assigned(told.assign(params_x=None), "params", "y") == [3, None]
    for values in ([1, 2, 3, 4], np.arange(1, 5), pd.Series([1, 2, 3, 4])):
        assert assigned(result.assign(size_x=values), "size") == [1, 2, 3, 4]
    whole = result.assign(family="vision", kind_y="text")
    assert assigned(whole, "family") == ["vision"] * 4 and assigned(whole, "family", "y") == ["vision"] * 2
    assert assigned(whole, "kind") == [None] * 4 and assigned(whole, "kind", "y") == ["text"] * 2
    own = made_result(dict.fromkeys(XS, 1), dict.fromkeys(XS, 1)).assign(params=[4, 1, 3, 2])
    assert assigned(own, "params") == assigned(own, "params", "y") == [4, 1, 3, 2]


@pytest.mark.parametrize(
    "given, message",
    [
        ({"params": {"z": 1}}, "This result has no model 'z', for which params is given; it has a, b, c, d, e"),
        ({"params_y": {"a": 1}}, "Side y of this result has no model 'a'"),
        ({"params": [1, 2, 3, 4]}, "the sides have other models.*params_x= or params_y="),
        ({"params_x": [1, 2, 3]}, "Side x has 4 models, but params_x has 3 values"),
        ({"params": {"a": np.inf}}, "params of model 'a' is inf; a finite number or a text"),
        ({"params": {"a": [1]}}, r"is \[1\]; a finite number or a text"),
        ({"depth": 1}, "'depth' is what a result calls something else"),
        ({"layer_x": 1}, "'layer' is what a result calls something else"),
    ],
)
def test_values_that_fit_no_model_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        simple().assign(**given)


def test_what_was_assigned_is_saved_and_is_no_part_of_the_study(tmp_path):
    result = simple()
    told = result.assign(params=PARAMS, family_x=["one", "one", "two", "two"])
    plain, path = result.save(tmp_path / "plain.zarr"), told.save(tmp_path / "told.zarr")
    again = prh_jax.load_alignment(path)
    assert again.protocol == json.loads(json.dumps(told.protocol)) and assigned(again, "params") == [4, 1, 3, 2]
    assert "assigned" not in (plain / "zarr.json").read_text()
    assert told.provenance.same_study(result.provenance) and result.provenance.same_study(told.provenance)
    text = (path / "zarr.json").read_text()
    (path / "zarr.json").write_text(text.replace(r"\"params\": 4", r"\"params\": 5"))
    assert text != (path / "zarr.json").read_text()
    with pytest.raises(prh_jax.CorruptError, match="does not match its hash"):
        prh_jax.load_alignment(path)
    cut = again.sel(family="two", params=lambda count: count > 2)
    assert (cut.models_x, cut.models_y) == (["c"], ["c"]) and assigned(cut, "family") == ["two"]


def test_results_that_are_joined_keep_what_was_assigned():
    result = simple()
    one = result.sel(model_x=["a", "b"]).assign(params_x=[4, 1], kind_y=["p", "q"])
    two = result.assign(params_x={"b": 1, "c": 3})
    for parts in ([one, two], [two, one], [one, result, two]):
        merged = prh_jax.merge(parts, calibration=False).sel(model_x=list(XS))
        assert assigned(merged, "params") == [4, 1, 3, None] and assigned(merged, "kind", "y") == ["p", "q"]
    with pytest.raises(ValueError, match=r"params of model 'b' was assigned 1 in one .* and 7 in another.*params=None"):
        prh_jax.merge([one, result.assign(params_x={"b": 7})])
    known = result.assign(params=PARAMS).provenance
    with edited(result) as protocol:
        protocol["models_x"][1]["label"] = "b@step1"  # of another set of models, the label may be longer
    assert [m.assigned for m in keep_assigned(result.provenance, [known]).models_x] == [
        {"params": n} for n in (4, 1, 3, 2)
    ]


def test_a_trend_and_a_scatter_find_what_was_assigned_first():
    with edited(result := simple()) as protocol:
        for model in protocol["models_x"]:
            model["result"]["params"] = 7
    with pytest.raises(ValueError, match="not all equal; 4 of 4"):
        prh_jax.trend(result, "cka", by="params")
    told = result.assign(params=PARAMS)
    found = prh_jax.trend(told, "cka", by="params")["correlation"].sel(scores="raw", model="e")
    for kind, statistic in (("kendall", stats.kendalltau), ("spearman", stats.spearmanr)):
        assert found.sel(kind=kind).item() == pytest.approx(statistic([4, 1, 3, 2], [0, 1, 2, 3]).statistic)
    assert prh_jax.trend(result, "cka", pd.Series(PARAMS)).equals(prh_jax.trend(told, "cka", "params"))
    assert plot.covariate_scatter(told, "cka", "params", other="e").get_xlabel() == "params"
    with pytest.raises(ValueError, match="side x has a number 'size'; recorded are params, bits_per_byte. .*side='y'"):
        prh_jax.trend(told.assign(size_y=[1, 2]), "cka", by="size")
    for bad in ({}, {"covariate": "params", "by": "params"}):
        with pytest.raises(ValueError, match='along one covariate: by="params"'):
            prh_jax.trend(told, "cka", **bad)


def test_figures_have_the_colours_of_the_family():
    told = simple().assign(family={"a": "one", "b": "one", "c": "two", "d": "two", "e": "three"})
    for ax in (
        plot.model_map(told, "cka", cluster=False),
        plot.model_map(told, "cka", cluster=False, families="family"),
    ):
        strips = [tuple(p.get_facecolor()) for p in ax.patches if not p.get_hatch()]
        assert strips[0] == strips[1] != strips[2] == strips[3] == strips[4] != strips[5] and len(set(strips)) == 3
    legend = plot.covariate_scatter(told, "cka", {"a": 1, "b": 2, "c": 4, "d": 3}).figure.legends[0]
    assert [t.get_text() for t in legend.get_texts()][1:] == ["1  a · one", "2  b · one", "3  c · two", "4  d · two"]
    many = made_result({str(i): 1 for i in range(9)}, {"y": 1}).assign(family=lambda model: model.label)
    assert not plot.model_map(many, "cka").patches  # nine families have no nine colours
    assert not plot.model_map(told.assign(family_x={"a": "one"}, family_y=None), "cka", cluster=False).patches[1:]
    with pytest.raises(ValueError, match="No model has 'kind'"):
        plot.model_map(told, "cka", families="kind")
    with pytest.raises(ValueError, match=r"model 'b' \(3 of 4 have none\)"):
        plot.model_map(told.assign(kind={"a": "one"}), "cka", cluster=False, families="kind")


def test_frames_reports_and_commands_show_what_was_assigned(tmp_path, capsys):
    told = simple().assign(params=PARAMS, family_x=["one", "one", "two", None], top1_x=[0.5, None, 1, 2])
    for per, rows in (("layer", 2 * 2), ("model", 2)):
        frame = told.to_dataframe("cka", per=per)
        assert frame["params_x"].tolist() == np.repeat([4, 1, 3, 2], rows // 2 * 2 if per == "layer" else 2).tolist()
        assert frame["params_x"].dtype == np.int64 and frame["params_y"][:2].tolist()[0] == 3
        assert np.isnan(frame["params_y"][1]) and "family_y" not in frame
        assert frame["family_x"].isna().sum() == rows and set(frame["family_x"].dropna()) == {"one", "two"}
    np.testing.assert_array_equal(frame["top1_x"][::2], [0.5, np.nan, 1, 2])
    evil = made_result(dict.fromkeys(EVIL, 1), {"e": 1}).assign(family=EVIL[0], note_x=EVIL, size_x=range(len(EVIL)))
    path = str(evil.save(tmp_path / "evil.zarr"))
    assert main(["show", path]) == 0
    out = capsys.readouterr().out
    assert f"family {EVIL[0]}, note {EVIL[0]}, size 0" in out and "\u202e" not in out
    page = prh_jax.report(evil, tmp_path / "report.html").read_text("utf-8")
    content = json.loads(page.split('<script id="content"', 1)[1].split(">", 1)[1].split("</script>", 1)[0])
    assert content["covariates"][0]["name"] == "size" and EVIL[0] not in page
    assert {model["family"] for model in content["models"]["x"]} == {EVIL[0]}
