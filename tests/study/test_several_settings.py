"""One metric with several values of k: one set of lists, and each k's own scores and null."""

import numpy as np
import pytest
from study.test_in_memory import features

import prh_jax
from prh_jax import Null
from prh_jax.engine.sketch_bank import SketchBank
from prh_jax.metrics.registry import each_setting, make_metrics

NAMES = ("mutual_knn", "cycle_knn", "rank_similarity")


def test_several_values_stand_for_several_metrics():
    assert each_setting("mutual_knn:k=5,20,normalize=true,false") == [
        f"mutual_knn:k={k},normalize={rows}" for k in (5, 20) for rows in ("true", "false")
    ]
    assert list(make_metrics(["mutual_knn:k=5,10,50", "cka"])) == [
        *("mutual_knn:k=5", "mutual_knn:k=10", "mutual_knn:k=50"),
        "cka",
    ]
    assert each_setting("cka") == ["cka"] and list(make_metrics("mutual_knn:k=5")) == ["mutual_knn"]
    with pytest.raises(ValueError, match="gives a setting twice"):
        make_metrics("mutual_knn:k=5,k=20")
    with pytest.raises(ValueError, match="a number such as 10"):
        make_metrics("mutual_knn:k=5,many")


def test_each_k_has_its_own_scores_from_the_longest_lists(monkeypatch):
    made, put = [], SketchBank.put

    def counted(self, sketcher, *arguments, **options):
        made.append(sketcher)
        put(self, sketcher, *arguments, **options)

    monkeypatch.setattr(SketchBank, "put", counted)
    null = Null(9)
    found = prh_jax.align(features(2), None, [f"{name}:k=3,20" for name in NAMES], null=null)
    assert {sketcher.k for sketcher in made} == {20} and len(made) == 4  # of each layer one
    for k in (3, 20):
        alone = prh_jax.align(features(2), None, [f"{name}:k={k}" for name in NAMES], null=null)
        for name in NAMES:
            np.testing.assert_array_equal(found.dataset[f"{name}:k={k}"], alone.dataset[name])
            one, other = (r.calibration.null(key) for r, key in ((found, f"{name}:k={k}"), (alone, name)))
            np.testing.assert_array_equal(one, other)
