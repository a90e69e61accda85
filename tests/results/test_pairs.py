"""What model pairs of a result count: none of a model with itself, two models once where both orders are one score."""

import json
import re

import numpy as np
import pytest
from made_results import calibrated, edited, made_result
from scipy.stats import false_discovery_control

import prh_jax
from prh_jax.cli.main import main
from prh_jax.cli.printing import print_calibration
from prh_jax.results.gallery import best_pair

ABC = dict.fromkeys("abc", 1)


def symmetric(metric, i, j):
    return 9 if i == j else i + j


def asymmetric(metric, i, j):
    return 9 if i == j else 10 * i + j


def test_a_model_that_stands_on_both_sides_is_a_self_pair():
    result = made_result({"a": 2, "b": 1, "c": 2}, {"c": 2, "d": 1})
    assert result.self_pairs.values.tolist() == [[False, False], [False, False], [True, False]]
    assert result.self_pairs.sel(model_x="c", model_y="c").item()
    assert result.counted_pairs("cka").values.tolist() == [[True, True], [True, True], [False, True]]
    own = result.layers("cka", with_self=False).isnull().values
    assert np.argwhere(own).tolist() == [[3, 0], [4, 1]]
    np.testing.assert_array_equal(result.scores("cka")["self_pair"], result.self_pairs)


def test_the_contents_tell_and_not_the_name():
    result = made_result({"a": 1, "b": 1}, {"a": 1, "c": 1})
    with edited(result) as protocol:
        protocol["models_y"][0]["contents"] = "other features"
        protocol["models_y"][1]["contents"] = "contents of b"
    assert result.self_pairs.values.tolist() == [[False, False], [False, True]]
    with edited(result) as protocol:
        protocol["models_x"][0]["contents"] = ""  # not recorded: names are all there is
    assert result.self_pairs.values.tolist() == [[True, False], [False, False]]


def test_two_models_in_both_orders_are_one_pair_where_the_metric_is_symmetric():
    upper, apart = np.triu(np.ones((3, 3), bool), 1), ~np.eye(3, dtype=bool)
    for score, expected in ((symmetric, upper), (asymmetric, apart)):
        result = made_result(ABC, ABC, score=score)
        np.testing.assert_array_equal(result.counted_pairs("cka"), expected)
        with edited(result) as protocol:  # recorded, it need not be seen from the scores
            protocol["metrics"]["cka"]["symmetric"] = score is not symmetric
        np.testing.assert_array_equal(result.counted_pairs("cka"), apart if score is symmetric else upper)
    lacking = made_result(ABC, ABC, score=lambda m, i, j: np.nan if (i, j) == (0, 2) else symmetric(m, i, j))
    assert np.argwhere(lacking.counted_pairs("cka").values).tolist() == [[0, 1], [1, 2], [2, 0]]


def test_tables_say_self(capsys, tmp_path):
    result = made_result({"a": 1, "b": 1}, {"b": 1, "c": 1}, score=lambda m, i, j: 0.5 + i / 4 + j / 8)
    calibrated(result, lambda m, i, j: (0.01, 0.9)[i])
    assert result.to_markdown("cka").splitlines()[2:] == ["| a | 0.5000 | 0.6250 |", "| b | self | 0.8750 |"]
    assert r"b & self & 0.8750 \\" in result.to_latex("cka")
    path = str(result.save(tmp_path / "r.zarr"))
    assert main(["export", path, "-o", str(tmp_path / "r.md")]) == 0
    assert (tmp_path / "r.md").read_text().count("| b | self |") == 3  # scores, calibrated scores, q-values
    frame = result.to_dataframe("cka", per="model")
    assert frame.self_pair.tolist() == [False, False, True, False] == (~frame.counted).tolist()
    assert result.to_dataframe("cka").self_pair.tolist() == frame.self_pair.tolist()
    capsys.readouterr()
    assert main(["show", path]) == 0
    out = capsys.readouterr().out
    assert len(re.findall(r"^b +self", out, re.M)) == 2 and "2 of 3 model pairs beyond chance" in out  # q is p / 2
    assert main(["show", path, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["cka"]["self_pair"] == [[False, False], [True, False]]


def test_the_printed_range_and_count_are_of_pairs_that_count(capsys):
    result = calibrated(made_result(ABC, ABC, score=symmetric), lambda m, i, j: 0.02 if i + j == 1 else 0.5)
    result.calibration.dataset["tau"][0] = np.where(np.eye(3), 0.9, 0.25)
    print_calibration(result, "cka")
    out = capsys.readouterr().out
    assert "critical score 0.2500 to 0.2500" in out and "1 of 3 model pairs beyond chance" in out
    alone = calibrated(made_result({"a": 2}, {"a": 2}), lambda m, i, j: 0.01)
    print_calibration(alone, "cka")
    out = capsys.readouterr().out
    assert "Every model pair is a model with itself" in out and "beyond chance" not in out
    with pytest.raises(ValueError, match="with itself is not counted"):
        best_pair(alone, "cka")


@pytest.mark.parametrize("score, once", [(symmetric, True), (asymmetric, False)])
def test_q_values_of_merged_parts_of_a_study_with_itself(score, once):
    p = np.array([[0.001, 0.01, 0.04], [0.01, 0.001, 0.2], [0.04, 0.2, 0.001]])
    names = list(ABC)
    whole = made_result(ABC, ABC, score=score)
    parts = []
    for i, name in enumerate(names):
        one = made_result({name: 1}, ABC, score=lambda m, _, j, i=i: score(m, i, j))
        with edited(one) as protocol:
            protocol["models_x"] = [whole.protocol["models_x"][i]]
        parts.append(calibrated(one, lambda m, _, j, i=i: p[i, j]))
    found = prh_jax.merge(parts).calibration.pairs("cka")["q_bh"].values
    counted = np.triu_indices(3, 1) if once else np.nonzero(~np.eye(3, dtype=bool))
    np.testing.assert_allclose(found[counted], false_discovery_control(p[counted]))
    np.testing.assert_array_equal(found, found.T)
    assert np.isnan(np.diag(found)).all()
