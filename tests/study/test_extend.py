"""A study that grows has the bits of one made at once, and scores only what it lacks."""

import numpy as np
import pytest
from study.test_in_memory import stored

import prh_jax
from prh_jax import Null, load_alignment
from prh_jax.errors import StoreError
from prh_jax.study import null as null_of_study
from prh_jax.study import part

N = 40
METRICS = ["mutual_knn", "cycle_knn", "cka"]


def models(count, layers=2, seed=0):
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(N, 6))
    return {
        f"m{i}": [latent @ rng.normal(size=(6, 12 + i)) + rng.normal(size=(N, 12 + i)) for _ in range(layers)]
        for i in range(count)
    }


def first(made, count):
    return dict(list(made.items())[:count])


def same(found, right):
    """Scores, null and labels to the bit, with one origin."""
    assert found.provenance.same_study(right.provenance)
    assert found.dataset.identical(right.dataset)
    assert (found.calibration is None) == (right.calibration is None)
    if right.calibration is not None:
        assert found.calibration.dataset.identical(right.calibration.dataset)
        assert found.calibration.settings == right.calibration.settings


@pytest.fixture
def scored(monkeypatch):
    """Model pairs that are scored, with the metrics they are scored by."""
    pairs, run = [], part.run_study

    def counted(study, *arguments, **options):
        models = [[store.model for store in side] for side in (study.xs, study.ys)]
        pairs.extend((x, y, key) for x in models[0] for y in models[1] for key in study.metrics)
        return run(study, *arguments, **options)

    monkeypatch.setattr(part, "run_study", counted)
    return pairs


def test_a_ninth_model_is_scored_with_the_eight_and_itself(tmp_path, scored, monkeypatch):
    made, null, known = models(9, layers=3), Null(20, cells=True), []
    fill = null_of_study.fill_null
    monkeypatch.setattr(null_of_study, "fill_null", lambda *a, **k: known.append(k["known"]) or fill(*a, **k))
    stores = stored(tmp_path, made)
    path = tmp_path / "study.zarr"
    prh_jax.align(stores[:8], None, METRICS, null=null, output=path)
    found = prh_jax.align(stores, None, METRICS, output=path, extend=True)
    assert known == [(0, 0)] * 3 + [(8, 8)] * 3
    for key in METRICS:
        pairs = {(x, y) for x, y, metric in scored if metric == key}
        new = {(x, "m8") for x in made} | (set() if key != "cycle_knn" else {("m8", y) for y in made})
        assert pairs == new and len(pairs) == (17 if key == "cycle_knn" else 9)
    assert len(scored) == 17 + 9 + 9
    right = prh_jax.align(stores, None, METRICS, null=null)
    same(found, right)
    same(load_alignment(path), right)
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []
    scored.clear()
    same(prh_jax.align(stores[8], None, None, output=path, extend=True), right)  # the others where they were
    assert not scored


def test_either_side_and_metrics_are_added(tmp_path, scored):
    made, more = models(3), models(3, seed=1)
    begun = prh_jax.align(first(made, 2), first(more, 2), ["mutual_knn", "cka"], null=Null(30, stop_after=3))
    found = begun.extend(made, more, ["svcca:dim=3"])
    right = prh_jax.align(made, more, ["mutual_knn", "cka", "svcca:dim=3"], null=Null(30, stop_after=3))
    same(found, right)
    assert len([1 for *_, key in scored if key == "cka"]) == 5 and len([1 for *_, key in scored if key == "svcca"]) == 9
    some = prh_jax.align(made, None, ["cka"]).sel(model_x="m0", model_y="m1")
    same(some.extend(made, made), prh_jax.align(first(made, 1) | first(made, 3), {"m1": made["m1"]} | made, ["cka"]))
    only_y = begun.extend(first(made, 2), more)
    same(only_y, prh_jax.align(first(made, 2), more, ["mutual_knn", "cka"], null=Null(30, stop_after=3)))


def test_metrics_that_keep_features_are_scored_again_where_widths_grow(scored):
    """Their sketches are as wide as the widest layer of a study, which another model may change."""
    made = models(3)
    begun = prh_jax.align(first(made, 2), None, ["hard_correlation_match", "cka"])
    same(begun.extend(made), prh_jax.align(made, None, ["hard_correlation_match", "cka"]))
    assert len([1 for *_, key in scored if key == "hard_correlation_match"]) == 9
    assert len([1 for *_, key in scored if key == "cka"]) == 3


def test_an_interrupted_extension_goes_on(tmp_path, monkeypatch):
    stores, path = stored(tmp_path, models(4)), tmp_path / "study.zarr"
    begun = prh_jax.align(stores[:3], None, ["mutual_knn", "cycle_knn"], null=30, output=path)
    run = part.run_study
    for place in ("part.run_study", "extend.calibrate_study"):
        left = iter([True])  # one part is scored before the first stop

        def stop(*arguments, left=left, place=place, **options):
            if place.startswith("part") and next(left, False):
                return run(*arguments, **options)
            raise KeyboardInterrupt

        with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
            broken.setattr(f"prh_jax.study.{place}", stop)
            prh_jax.align(stores, None, ["mutual_knn", "cycle_knn"], output=path, extend=True)
        same(load_alignment(path), begun)
    found = prh_jax.align(stores, None, ["mutual_knn", "cycle_knn"], output=path, extend=True)
    same(found, prh_jax.align(stores, None, ["mutual_knn", "cycle_knn"], null=30))


def test_samples_partners_and_groups_are_those_of_the_result(tmp_path):
    made, path = models(3), tmp_path / "study.zarr"
    stores = stored(tmp_path, made)
    settings = {"exclude": ["0", "1", "2", "3"], "groups": np.arange(N) // 4, "null": Null(30, exchange="whole")}
    begun = prh_jax.align(stores[:2], None, ["cka"], **settings)
    same(begun.extend(stores[2], output=path), prh_jax.align(stores, None, ["cka"], **settings))
    pair, images = {"x": np.arange(N) // 2}, {"vision": [np.eye(20, 7) + np.arange(7)]}
    begun = prh_jax.align(first(made, 2), images, ["cka"], pair=pair, null=30)
    same(begun.extend(made, images), prh_jax.align(made, images, ["cka"], pair=pair, null=30))


def test_what_cannot_be_added(tmp_path):
    made, path = models(3), tmp_path / "study.zarr"
    begun = prh_jax.align(first(made, 2), None, ["cka"], output=path)
    with pytest.raises(StoreError, match="'m0', which the result has, were in memory: give them too"):
        begun.extend({"m2": made["m2"]})
    with pytest.raises(StoreError, match="'m1' holds other features now"):
        begun.extend(made | {"m1": made["m0"]})
    with pytest.raises(StoreError, match="cannot be extended: its n is 40"):
        prh_jax.align(made, None, ["cka"], output=path, extend=True, samples=slice(30))
    with pytest.raises(StoreError, match="cannot be extended: its preprocess"):
        prh_jax.align(made, None, ["cka"], output=path, extend=True, preprocess=prh_jax.Preprocess(1.0))
    with pytest.raises(StoreError, match="no side y"):
        begun.extend(made, made)
    with pytest.raises(StoreError, match="already exists"):
        begun.extend(made, output=path)
    with pytest.raises(ValueError, match="does not overwrite"):
        prh_jax.align(made, None, ["cka"], output=path, extend=True, overwrite=True)
    same(load_alignment(path), begun)
