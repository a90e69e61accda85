"""The oracles and the library against values that independent implementations agree on."""

import math

import numpy as np
import pytest
from inputs import golden_values, scored
from oracles import ORACLES

from prh_jax.metrics.registry import METRICS, make_metric

NAMES = {
    "cca_mean_yanai": ("cca", {}),
    "cca_mean_pillai": ("mean_cca", {}),
    "linear_regression_r2": ("linear_regression", {}),
    "procrustes_size_and_shape_distance": ("procrustes_distance", {"unit_norm": False}),
}
"""Metrics that are a setting of ours, or have another name with us."""


def renamed(entry, x, y):
    name, more = NAMES.get(entry["metric"], (entry["metric"], {}))
    return entry | {"metric": name, "settings": entry["settings"] | more}, x, y


pytestmark = pytest.mark.as_shipped
ENTRIES = [
    pytest.param(entry, x, y, id=f"{file}-{entry['metric']}-{entry['pair']}-{entry['rows']}-{i}")
    for file in ("prh.json", "consensus.json")
    for i, (entry, x, y) in enumerate(map(renamed, *zip(*golden_values(file), strict=True)))
    if entry["metric"] in METRICS
]
IN_FLOAT32 = ("mutual_knn", "cycle_knn")
"""What the reference accumulated in float32 whatever its input, says the file."""


WORDS = {"compare": "compare_by", "centred": "centered", "lambda": "ridge"}
"""Settings that are called otherwise in the files."""


COSINE = [p for p in ENTRIES if p.values[0]["rows"] == "unit" and p.values[0]["metric"].endswith("_knn")]


def settings_of(entry):
    """The golden files' settings in our words: the reference takes rows as given and does not divide lcs by k."""
    settings = {WORDS.get(key, key): value for key, value in entry["settings"].items() if key != "direction"}
    if entry["metric"].endswith("_knn"):
        settings["normalize"] = False
    if entry["metric"] == "lcs_knn":
        settings["per_k"] = False
    return settings


def tolerance(entry):
    return 1e-7 if entry["metric"] in IN_FLOAT32 else 1e-10


def test_normalized_bures_is_the_cosine_of_the_golden_angle(x64):
    entry, x, y = next(p.values for p in ENTRIES if p.values[0]["metric"] == "angular_shape_distance")
    assert float(scored(make_metric("normalized_bures"), x, y)) == pytest.approx(math.cos(entry["value"]), abs=1e-10)


def test_the_files_hold_what_they_should():
    assert len(ENTRIES) == 55
    unknown = {
        "normalized_bures",
        "svcca",
        "joint_rank_jaccard",
        "second_order_cosine",
        "rsm_norm_difference",
        "aligned_cosine",
        "pwcca",
        "hard_correlation_match",
        "permutation_procrustes",
        "magnitude_difference",
        "concentricity_difference",
        "uniformity_difference",
        "imd",
        "information_imbalance",
    }
    assert {p.values[0]["metric"] for p in ENTRIES} == set(METRICS) - unknown


@pytest.mark.parametrize("entry, x, y", ENTRIES)
def test_oracle(entry, x, y):
    assert ORACLES[entry["metric"]](x, y, **settings_of(entry)) == pytest.approx(entry["value"], abs=tolerance(entry))


@pytest.mark.parametrize("entry, x, y", ENTRIES)
def test_float64(entry, x, y, x64):
    score = scored(make_metric(entry["metric"], **settings_of(entry)), x, y)
    assert score.dtype == np.float64
    assert float(score) == pytest.approx(entry["value"], abs=tolerance(entry))


@pytest.mark.parametrize("entry, x, y", ENTRIES)
def test_float32(entry, x, y):
    score = scored(make_metric(entry["metric"], **settings_of(entry)), x.astype(np.float32), y.astype(np.float32))
    assert score.dtype == np.float32
    assert float(score) == pytest.approx(
        entry["value"], abs=2e-5, rel=3e-6
    )  # for those above 1: a few dozen float32 roundings
    if entry["metric"].endswith("_knn"):
        # The mean of integer counts over n k (cycle: over n): equal counts, not merely near ones.
        n, k = len(x), entry["settings"]["k"]
        assert round(float(score) * n * k) == round(entry["value"] * n * k)


@pytest.mark.parametrize("entry, x, y", COSINE)
def test_cosine_neighbours_of_raw_rows_are_those_of_unit_rows(entry, x, y):
    scale = np.random.default_rng(0).uniform(0.1, 10, size=(len(x), 1))
    settings = settings_of(entry) | {"normalize": True}
    score = make_metric(entry["metric"], **settings)((x * scale).astype(np.float32), y.astype(np.float32))
    assert float(score) == pytest.approx(entry["value"], abs=1e-6)


def test_reference_settings_are_in_their_table(x64):
    from prh_jax.metrics.registry import PRH_METRICS

    for entry, x, y in golden_values("prh.json"):
        metric = PRH_METRICS[entry["metric"]]
        wanted = settings_of(entry) | ({"swapped": True} if entry["metric"] == "cycle_knn" else {})
        if all(metric.settings[key] == value for key, value in wanted.items()) and (
            entry["metric"] != "cycle_knn" or entry["settings"].get("swapped")
        ):
            assert float(scored(metric, x, y)) == pytest.approx(entry["value"], abs=tolerance(entry))
