"""Counts and seeds that are no whole numbers are refused before work starts, by name and value."""

from inspect import unwrap as plain  # past the type checks of tests

import numpy as np
import pytest
from made_results import made_result

import prh_jax
from prh_jax.analysis import intervals

X = np.random.default_rng(0).normal(size=(32, 4))
TOKENS = ["a"] * 16 + ["b"] * 16
RESULT = made_result(dict.fromkeys("abcd", 1), dict.fromkeys("abcd", 1))
TABLE = np.abs(np.subtract.outer(np.arange(4.0), np.arange(4.0)))
ANY = {
    "interval": lambda **k: plain(prh_jax.interval)(X, X, "cka", **k),
    "difference": lambda **k: plain(intervals.difference)(X, [X], [X], "cka", **k),
    "split_half_reliability": lambda **k: plain(prh_jax.split_half_reliability)([X, X], "cka", **k),
    "ridge_prediction": lambda **k: plain(prh_jax.ridge_prediction)(X, X, **k),
    "retrieval": lambda **k: plain(prh_jax.retrieval)(X, X, **k),
    "within_samples": lambda **k: plain(prh_jax.within_samples)(X, X, groups=TOKENS, **k),
    "describe": lambda **k: plain(prh_jax.describe)(X, **k),
    "mantel": lambda **k: plain(prh_jax.mantel)(TABLE, TABLE, **k),
    "curve_over_gallery": lambda **k: plain(prh_jax.curve_over_gallery)(X, X, [16, 32], **k),
    "curve_over_n": lambda sizes: plain(prh_jax.curve_over_n)(X, -X[::-1], "cka", [8, sizes]),
    "curve_over_k": lambda ks: plain(prh_jax.curve_over_k)(X, X, "mutual_knn", [2, ks]),
    "trend": lambda **k: plain(prh_jax.trend)(RESULT, "cka", by=[1, 2, 3, 4], **k),
    "compare_groups": lambda **k: plain(prh_jax.compare_groups)(RESULT, dict(zip("abcd", "ppqq", strict=True)), **k),
    "plan": lambda **k: plain(prh_jax.plan)(32, [[4]], metrics="cka", **k),
    "soft_mutual_knn": lambda **k: plain(prh_jax.soft_mutual_knn)(X, X, **k),
}


@pytest.mark.parametrize(
    "name, setting",
    [
        ("interval", "splits"),
        ("interval", "seed"),
        ("difference", "splits"),
        ("split_half_reliability", "splits"),
        ("split_half_reliability", "seed"),
        ("ridge_prediction", "folds"),
        ("ridge_prediction", "null"),
        ("ridge_prediction", "seed"),
        ("retrieval", "splits"),
        ("retrieval", "null"),
        ("retrieval", "seed"),
        ("retrieval", "k"),
        ("within_samples", "null"),
        ("within_samples", "seed"),
        ("describe", "k"),
        ("describe", "splits"),
        ("describe", "seed"),
        ("mantel", "orders"),
        ("mantel", "seed"),
        ("curve_over_gallery", "k"),
        ("curve_over_gallery", "seed"),
        ("curve_over_n", "sizes"),
        ("curve_over_k", "ks"),
        ("trend", "orders"),
        ("trend", "seed"),
        ("compare_groups", "orders"),
        ("compare_groups", "seed"),
        ("plan", "null"),
        ("soft_mutual_knn", "k"),
    ],
)
def test_what_is_no_whole_number_is_refused(name, setting):
    for value in (2.5, 3.0, "3", True):
        with pytest.raises(ValueError, match="whole number") as refused:
            ANY[name](**{setting: value})
        assert repr(value) in str(refused.value)
