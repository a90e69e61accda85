"""Features in memory are scored as those of stores are, to the bit."""

import ml_dtypes
import numpy as np
import pytest

import prh_jax
from prh_jax.errors import StoreError
from prh_jax.results.provenance import origin_lines

METRICS = ["mutual_knn", "cka", "svcca:dim=3"]
N = 40


def features(models=3, seed=0):
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(N, 6))
    made = {}
    for i in range(models):
        width = 12 + i
        made[f"m{i}"] = [(latent @ rng.normal(size=(6, width)) + rng.normal(size=(N, width))) for _ in range(2)]
    return made


def stored(folder, models, ids=None, dtype="float32"):
    return [
        prh_jax.write_features(
            folder / f"{name}.zarr",
            layers,
            ids=ids or [str(i) for i in range(N)],
            spec={"model": name, "modality": "vision", "pool": "none"},
            dtype=dtype,
        )
        for name, layers in models.items()
    ]


def same(a, b):
    for metric in a.metrics:
        np.testing.assert_array_equal(a.dataset[metric].values, b.dataset[metric].values)


def test_scores_and_null_are_those_of_stores(tmp_path):
    models = features()
    found = prh_jax.align(models, None, METRICS, null=20, output=tmp_path / "r.zarr")
    right = prh_jax.align(stored(tmp_path, models), None, METRICS, null=20)
    same(found, right)
    for metric in found.metrics:
        p = (result.calibration.pairs(metric)["p"].values for result in (found, right))
        np.testing.assert_array_equal(*p)
    assert found.models_x == found.models_y == ["m0", "m1", "m2"] and found.provenance.by_position
    assert found.self_pairs.values.tolist() == np.eye(3, dtype=bool).tolist()
    loaded = prh_jax.load_alignment(tmp_path / "r.zarr")
    assert loaded.provenance == found.provenance
    assert ("samples", f"{N}, ids {found.provenance.ids_sha256[:12]}, paired by position (row i with row i)") in (
        origin_lines(loaded.provenance, None)
    )
    told = origin_lines(found.assign(params=[5_700_000.0, 2.0, 1 / 3]).provenance, None)
    models_told = [text for word, text in told if word.startswith("model")]
    assert len(models_told) == 3  # once, though they are both sides
    for text, digits in zip(models_told, ("5,700,000", "2", "0.333333"), strict=True):
        assert text.endswith(f", params {digits}")
    same(prh_jax.align(models, None, METRICS, null=20, output=tmp_path / "r.zarr"), found)
    with pytest.raises(StoreError, match="other features|overwrite"):
        prh_jax.align(features(seed=1), None, METRICS, output=tmp_path / "r.zarr")


def test_forms_of_layers_and_sides(tmp_path):
    (name, layers), *_ = features(1).items()
    singles = [layer.astype(np.float32) for layer in layers]
    forms = {
        "list": singles,
        "stack": np.stack(singles),
        "named": {"early": singles[0], "late": singles[1]},
        "nested": [layer.tolist() for layer in singles],
    }
    result = prh_jax.align(forms, None, ["cka"])
    np.testing.assert_allclose(result.scores("cka").values, 1, atol=1e-6)
    assert result.dataset["layer_name_x"].values.tolist() == ["layer_0", "layer_1"] * 2 + ["early", "late"] + [
        "layer_0",
        "layer_1",
    ]
    store = stored(tmp_path, {name: layers})[0]
    both = prh_jax.align([store, {"one": singles[0]}], [str(store.path), {"two": singles[1]}], ["cka"])
    assert both.models_x == ["m0", "one"] and both.models_y == ["m0", "two"]
    half = {name: [layer.astype(ml_dtypes.bfloat16) for layer in layers]}
    same(
        prh_jax.align(half, None, METRICS),
        prh_jax.align(stored(tmp_path / "half", half, dtype="bfloat16"), None, METRICS),
    )


@pytest.mark.parametrize(("kind", "kept"), [(np.int16, "float32"), (np.float64, "float32"), (np.float16, "float16")])
def test_features_are_kept_in_types_that_stores_have(tmp_path, kind, kept):
    made = {name: [(100 * layer).astype(kind) for layer in layers] for name, layers in features(2).items()}
    found = prh_jax.align(made, None, METRICS)
    assert [model.dtype for model in found.provenance.models("x")] == [kept] * 2
    same(found, prh_jax.align(stored(tmp_path, made, dtype=kept), None, METRICS))


def test_equal_names_are_told_apart_by_contents():
    a, b = features(1), features(1, seed=1)
    assert prh_jax.align(a, b, ["cka"]).scores("cka").item() < 0.999
    assert prh_jax.align(a, features(1), ["cka"]).self_pairs.item()


def test_ids_pair_features_in_memory_with_stores(tmp_path):
    ids = [f"s{i}" for i in range(N)]
    models = features(2)
    (store, _) = stored(tmp_path, models, ids)
    with pytest.raises(StoreError, match="sample '0'.*'s0'"):
        prh_jax.align({"m1": models["m1"]}, store, ["cka"])
    found = prh_jax.align({"m1": models["m1"]}, store, ["cka"], ids=ids)
    assert not found.provenance.by_position
    some = prh_jax.align(
        {"m1": [layer[:30][::-1] for layer in models["m1"]]}, store, ["cka"], ids=ids[:30][::-1], pair="inner"
    )
    assert some.provenance.n == 30
    with pytest.raises(ValueError, match="ids= are of features in memory"):
        prh_jax.align(store, None, ["cka"], ids=ids)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"m": []}, "'m' has no layers"),
        ({"m": {}}, "'m' has no layers"),
        ({"m": np.ones(N)}, r"shape \(40,\); it must be \(n, d\) for one layer, or \(layers, n, d\)"),
        ({"m": [np.ones((N, 3)), np.ones((N - 1, 3))]}, "'layer_1' of 'm' has 39 rows, and there are 40 samples"),
        ({"m": [np.full((N, 3), np.nan)]}, "NaN or infinite features .* for 40 samples, the first is row 0"),
        ({"m": [np.full((N, 3), 1e300)]}, "NaN or infinite features"),
        ({"m": [np.ones((N, 3), complex)]}, "complex128 numbers"),
        ({"m": ["a.zarr"]}, "Features are real numbers"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_words(given, message):
    with pytest.raises(StoreError, match=message):
        prh_jax.align(given, None, ["cka"])


def test_processes_do_not_share_what_is_in_the_memory_of_one(tmp_path):
    with pytest.raises(StoreError, match="'m0' are in the memory of this process.*write_features"):
        prh_jax.align_share(0, 2, features(), None, ["cka"], output=tmp_path / "r.zarr")
    prh_jax.align(features(), None, ["cka"], output=tmp_path / "r.zarr")
    with pytest.raises(StoreError, match="does not say where they are.*stores_x="):
        prh_jax.calibrate(tmp_path / "r.zarr", 10)
    assert prh_jax.calibrate(tmp_path / "r.zarr", 10, stores_x=features()).calibration is not None
