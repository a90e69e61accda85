"""Models chosen by label, place or record: the same numbers as those of the whole, rates over what is left."""

import json

import numpy as np
import pytest
import xarray as xr
from made_results import EVIL, calibrated, edited, made_result
from scipy.stats import false_discovery_control

import prh_jax
from prh_jax import plot
from prh_jax.cli.main import main

SIZES = {"dino-s": 2, "dino-l": 3, "vit-s": 1, "vit-l": 2}


def vision_and_language():
    """A score of layers i of x and j of y is 100 i + j; families and sizes are recorded of x, seeds of y."""
    result = made_result(SIZES, {"bert": 2, "gpt": 1}, ("cka", "svcca"), lambda m, i, j: 100 * i + j)
    with edited(result) as protocol:
        for model, size in zip(protocol["models_x"], (1, 3, 1, 3), strict=True):
            model["spec"] |= {"family": model["label"].split("-")[0], "size": size, "random_init": None}
        for seed, model in enumerate(protocol["models_y"]):
            model["spec"] |= {"random_init": seed or None}
    return calibrated(result, lambda m, i, j: (1 + i + 4 * j) / 100)


@pytest.mark.parametrize(
    "models, expected",
    [
        ("vit-s", ["vit-s"]),
        (2, ["vit-s"]),
        (np.int64(-1), ["vit-l"]),
        (["vit-l", 0, "dino-s"], ["vit-l", "dino-s"]),
        (slice(1, 3), ["dino-l", "vit-s"]),
        ({"family": "dino", "size": 3}, ["dino-l"]),
        (lambda model: model.label.endswith("-l"), ["dino-l", "vit-l"]),
        (None, list(SIZES)),
    ],
    ids=lambda value: "test" if callable(value) else str(value),
)
def test_models_are_chosen_alike_everywhere(models, expected):
    result = vision_and_language()
    rows = [i for i, name in enumerate(result.dataset["model_x"].values) if name in expected]
    rows.sort(key=lambda i: expected.index(result.dataset["model_x"].values[i]))
    layers = result.layers("cka", models)
    np.testing.assert_array_equal(layers, [[100 * i + j for j in range(3)] for i in rows])
    whole, at = result.scores("cka"), {"model_x": expected}
    tables = [result.scores("cka", models), result.best("cka", models)["score"], result.reduce("cka", model_x=models)]
    for table in [*tables, result.sel(model_x=models).scores("cka")]:
        xr.testing.assert_equal(table, whole.sel(at))
    xr.testing.assert_equal(result.calibrated_pairs("cka", models), result.calibrated_pairs("cka").sel(at))
    assert result.scores("cka", models, "gpt").shape == (len(expected), 1)


def test_a_result_of_some_models_is_what_a_study_of_them_is(tmp_path):
    result = vision_and_language()
    cut = result.sel(model_x=["vit-l", "dino-s"], model_y=-1, metric="svcca")
    assert (cut.models_x, cut.models_y, cut.metrics) == (["vit-l", "dino-s"], ["gpt"], ["svcca"])
    assert cut.layers("svcca").values.tolist() == [[602], [702], [2], [102]]
    assert cut.dataset["layer_name_x"].values.tolist() == ["x0", "x1"] * 2
    assert [model.label for model in cut.provenance.models_x] == cut.models_x
    assert (cut.provenance.stores_x, cut.provenance.stores_y) == (["vit-l.zarr", "dino-s.zarr"], ["gpt.zarr"])
    assert list(cut.provenance.metrics) == ["svcca"] and cut.calibration.settings["metrics"] == ["svcca"]
    np.testing.assert_allclose(cut.calibration.cells("svcca")["p_cell"], cut.layers("svcca") / 2)
    assert cut.calibration.null("svcca").shape == (4, 2, 1)
    p = np.array([4 + 4, 1 + 4]) / 100
    np.testing.assert_allclose(cut.calibration.pairs("svcca")["p"].values.ravel(), p)
    for method in ("bh", "by"):
        found = cut.calibration.pairs("svcca")[f"q_{method}"].values.ravel()
        np.testing.assert_allclose(found, false_discovery_control(p, method=method))
    again = prh_jax.load_alignment(cut.save(tmp_path / "cut.zarr"))
    assert again.protocol == json.loads(json.dumps(cut.protocol))
    xr.testing.assert_equal(again.calibration.dataset, cut.calibration.dataset)
    assert len(result.models_x) == 4 and result.calibration.settings["metrics"] == ["cka", "svcca"]


def test_rates_of_one_side_with_itself_count_each_pair_once():
    names = dict.fromkeys("abcd", 1)
    p = {(0, 1): 0.01, (0, 2): 0.02, (0, 3): 0.03, (1, 2): 0.04, (1, 3): 0.05, (2, 3): 0.06}
    result = made_result(names, names, score=lambda m, i, j: 9 if i == j else i + j)
    with edited(result) as protocol:
        protocol["stores_y"] = None
    calibrated(result, lambda m, i, j: p.get((min(i, j), max(i, j)), 1.0))
    cut = result.sel(model_x=[0, 1, 3], model_y=["a", "b", "d"])
    assert cut.provenance.stores_y is None
    q = cut.calibration.pairs("cka")["q_bh"].values
    expected = false_discovery_control([p[0, 1], p[0, 3], p[1, 3]])
    np.testing.assert_allclose([q[0, 1], q[0, 2], q[1, 2]], expected)
    np.testing.assert_allclose([q[1, 0], q[2, 0], q[2, 1]], expected)
    assert np.isnan(np.diag(q)).all()
    part = result.sel(model_x="b")  # the sides now differ, and the pair of b with itself is still none
    assert part.provenance.stores_y == [f"{name}.zarr" for name in "abcd"]
    found = part.calibration.pairs("cka")["q_bh"].values[0]
    np.testing.assert_allclose(found[[0, 2, 3]], false_discovery_control([p[0, 1], p[1, 2], p[1, 3]]))
    assert part.counted_pairs("cka").values.tolist() == [[True, False, True, True]] and np.isnan(found[1])


def test_what_is_recorded_chooses():
    result = vision_and_language()
    for wanted, x, y in (
        ({"family": "dino"}, ["dino-s", "dino-l"], ["bert", "gpt"]),  # nothing is recorded of families of y
        ({"family": ["vit", "clip"]}, ["vit-s", "vit-l"], ["bert", "gpt"]),
        ({"family_x": "vit", "size": lambda size: size > 2}, ["vit-l"], ["bert", "gpt"]),
        ({"random_init_y": 1}, list(SIZES), ["gpt"]),
        ({"random_init": None}, list(SIZES), ["bert"]),
        ({"bits_per_byte": lambda bits: bits < 1.95}, ["dino-l", "vit-s", "vit-l"], ["gpt"]),  # 2.0, 1.9, 1.8, 1.7
        ({"model_x": ["vit-s", "dino-l", "dino-s"], "size": 1}, ["vit-s", "dino-s"], ["bert", "gpt"]),
    ):
        cut = result.sel(**wanted)
        assert (cut.models_x, cut.models_y) == (x, y), wanted


@pytest.mark.parametrize(
    "wanted, message",
    [
        ({"model_x": "dino-x"}, "Side x of this result has no model 'dino-x'; it has dino-s, dino-l, vit-s, vit-l"),
        ({"model_x": 4}, "has 4 models; none is at place 4"),
        ({"model_y": True}, "its label or its place, a whole number, not by True"),
        ({"model_x": []}, r"No model of side x is chosen by \[\]"),
        ({"metric": "cca"}, "no metric 'cca'; it has cka, svcca"),
        ({"metric": []}, "No metric is chosen"),
        ({"famly": "dino"}, "Nothing called 'famly' is recorded.*family"),
        ({"family_y": "dino"}, "Nothing called 'family' is recorded of the models of side y"),
        ({"family": "clip"}, "No model of side x is left by family='clip': family is 'dino', 'vit'"),
        ({"family": "dino", "size": 2}, "left by size=2: size is 1, 3"),
        ({"model_x": "vit-s", "size": 3}, "No model of side x is left"),
        ({"random_init": 1}, r"No model of side x is left by random_init=1.* random_init_y= chooses on the other"),
    ],
)
def test_what_is_not_there_is_refused(wanted, message):
    with pytest.raises(ValueError, match=message):
        vision_and_language().sel(**wanted)


def test_of_many_models_an_error_names_the_near_ones():
    names = {f"org/vit_{size}_patch{patch}": 1 for size in ("tiny", "small", "base") for patch in (8, 14, 16)}
    result = made_result(names, {"a": 1})
    with pytest.raises(ValueError, match="'org/vit_base_patch32'; near it are .*'org/vit_base_patch16'"):
        result.layers("cka", "org/vit_base_patch32")
    with pytest.raises(ValueError, match="near it are 'org/vit_tiny_patch8', .*14', .*16' \\(of 9\\)"):
        result.layers("cka", "TINY")
    with pytest.raises(ValueError, match="it has 9, such as"):
        result.layers("cka", "")


def test_figures_tables_and_commands_take_what_is_chosen(tmp_path, capsys):
    result = made_result(dict.fromkeys(EVIL, 2), {"c": 3, "d": 1})
    cut = calibrated(result, lambda m, i, j: 0.01).sel(model_x=slice(0, 4))
    assert len(cut.to_dataframe()) == 4 * 2 * 4 and cut.to_markdown("cka").count("\n") == 5
    assert [text.get_text() for text in plot.model_map(cut, "cka", cluster=False).get_xticklabels()] == ["c", "d"]
    assert len(prh_jax.trend(cut, "cka", [1, 2, 3, 4])["model"]) == 3
    path = str(cut.save(tmp_path / "cut.zarr"))
    assert main(["show", path]) == 0 and "4 x 2 models" in capsys.readouterr().out
    merged = prh_jax.merge([cut, result.sel(model_x=slice(4, None))])
    np.testing.assert_array_equal(merged.dataset["cka"], result.dataset["cka"])
    np.testing.assert_allclose(merged.calibration.dataset["q_bh"], 0.01)  # of 20 equal p: as large as each
