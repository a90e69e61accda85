"""What a result says in one sentence: counts, the closest pair and its numbers are those of the result."""

import numpy as np
import pytest
from made_results import calibrated, edited, made_result

from prh_jax.results.wording import finding, lead_metric, over_layers, quantity, value_words


def test_quantities_are_named_as_papers_name_them():
    result = made_result({"a": 1}, {"b": 1}, ("mutual_knn", "cka", "procrustes_distance", "my_measure"))
    with edited(result) as protocol:
        protocol["metrics"]["mutual_knn"]["settings"] = {"k": 10}
        protocol["metrics"]["cka"]["settings"] = {"kernel": "rbf"}
        protocol["metrics"]["procrustes_distance"]["larger_is_closer"] = False
    names = [quantity(result, metric) for metric in result.metrics]
    assert names == ["mutual kNN (k = 10)", "CKA (rbf kernel)", "Procrustes distance", "my_measure"]
    assert value_words(result, "procrustes_distance") == "Procrustes distance, smaller is closer"
    assert value_words(result, "procrustes_distance", "calibrated") == "calibrated Procrustes distance"
    assert lead_metric(["cka", "mutual_knn"]) == "mutual_knn" and lead_metric(["rtd", "cka"]) == "rtd"
    assert over_layers("max") == over_layers("best") == "best over layer pairs"
    assert over_layers(np.median) == "median over layer pairs"


def test_a_finding_has_the_numbers_of_the_result():
    # q is p / 2: of 2 x 3 pairs those with i + j <= 1 are at 0.05
    result = made_result({"a": 2, "b": 1}, {"c": 1, "d": 1, "e": 1}, score=lambda m, i, j: (1 + i + j) / 10)
    calibrated(result, lambda m, i, j: 0.02 if (i, j) in ((0, 0), (0, 1), (1, 2)) else 0.4)
    assert finding(result, "cka") == (
        "By CKA, 3 of 6 pairs of two models are closer than chance (q at most 0.05, Benjamini-Hochberg); the closest "
        "of them are b and e: 0.5000 (best over layer pairs), critical score 0.2500 at level 0.05, p = 0.02, q = 0.01."
    )
    with edited(result) as protocol:
        protocol["metrics"]["cka"] |= {"larger_is_closer": False, "symmetric": True}
    result.calibration.dataset["score"][0] = [[0.1, 0.2, 0.3], [0.3, 0.4, 0.5]]
    assert "3 of 6 pairs" in finding(result, "cka") and "of them are a and c: 0.1000" in finding(result, "cka")


def test_nothing_above_chance_is_said():
    result = calibrated(made_result({"a": 1}, {"b": 1, "c": 1}, score=lambda m, i, j: j / 10), lambda m, i, j: 0.8)
    assert finding(result, "cka").startswith("By CKA, none of 2 pairs of two models is closer than chance")
    assert "the closest are a and c: 0.1000" in finding(result, "cka")
    one = calibrated(made_result({"a": 1}, {"b": 1}), lambda m, i, j: 0.8)
    assert "the one pair of two models is not closer than chance" in finding(one, "cka")
    names = {"a": 1, "b": 1}
    one_way = made_result(names, names, score=lambda m, i, j: i)
    assert "the closest of 2 ordered pairs of two models are b (x) and a (y): 1.0000" in finding(one_way, "cka")


def test_a_model_with_itself_is_no_finding():
    names = {"a": 1, "b": 1, "c": 1}
    result = made_result(names, names, score=lambda m, i, j: 9 if i == j else (i + j) / 10)
    assert finding(result, "cka") == (
        "By CKA, the closest of 3 pairs of two models are b and c: 0.3000 (best over layer pairs), where the mean is "
        "0.2000; chance was not measured."
    )
    calibrated(result, lambda m, i, j: 0.01)
    assert "all 3 pairs of two models are" in finding(result, "cka") and "9.0" not in finding(result, "cka")
    alone = finding(made_result({"a": 2}, {"a": 2}), "cka")
    assert alone == "By CKA, nothing is compared: every pair is a model with itself."


@pytest.mark.parametrize("chance", [False, True])
def test_pairs_without_a_score_are_not_counted(chance):
    nothing = made_result({"a": 1}, {"b": 1, "c": 1}, score=lambda m, i, j: np.nan)
    partly = made_result({"a": 1}, {"b": 1, "c": 1}, score=lambda m, i, j: [np.nan, 0.5][j])
    if chance:
        nothing, partly = (calibrated(result, lambda m, i, j: 0.01) for result in (nothing, partly))
    assert finding(nothing, "cka") == "By CKA, no pair of two models has a score."
    three = made_result({"a": 1}, {"b": 1, "c": 1, "d": 1}, score=lambda m, i, j: [np.nan, 0.5, 0.25][j])
    three = calibrated(three, lambda m, i, j: 0.01) if chance else three
    assert "2 pairs of two models with a score" in finding(three, "cka")
    assert "with a score" not in finding(three.sel(model_y=["c", "d"]), "cka")
    assert "a and c: 0.5000" in finding(partly, "cka") and "one pair of two models" in finding(partly, "cka")
