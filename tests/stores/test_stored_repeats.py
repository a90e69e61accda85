"""Repeats in one store: rows, ids and means are those of the arrays; what is no store of repeats is refused."""

import numpy as np
import pytest
from inputs import make_store

import prh_jax
from prh_jax import MismatchError, StoreError, mean_repeats, read_repeats, write_repeats

RNG = np.random.default_rng(0)
V1, V2 = RNG.normal(size=(3, 20, 5)).astype(np.float32), RNG.normal(size=(3, 20, 7)).astype(np.float32)
IDS = [f"picture#{i}" for i in range(20)]


@pytest.fixture
def store(tmp_path):
    return write_repeats(tmp_path / "brain.zarr", {"V1": V1, "V2": V2}, spec={"model": "brain"}, ids=IDS)


def test_rows_are_repeats_of_samples(store, tmp_path):
    assert store.spec["repeats"] == 3 and [layer.name for layer in store.layers] == ["V1", "V2"]
    assert store.ids[21] == "picture#1#1"
    np.testing.assert_array_equal(store.read_layer(0)[21], V1[1, 1])
    for layer, expected in (("V1", V1), (0, V1), (-1, V2), ("V2", V2)):
        np.testing.assert_array_equal(read_repeats(store, layer), expected)
    np.testing.assert_array_equal(read_repeats(tmp_path / "brain.zarr"), V2)
    again = write_repeats(tmp_path / "brain.zarr", {"V1": list(V1), "V2": V2}, spec={"model": "brain"}, ids=IDS)
    assert again.checksum() == store.checksum()


def test_means_are_a_store_of_samples_for_a_study(store, tmp_path):
    means = mean_repeats(store, tmp_path / "mean.zarr")
    assert list(means.ids) == IDS and means.spec == {"model": "brain", "mean_of_repeats": 3}
    np.testing.assert_array_equal(means.read_layer(0), V1.astype(np.float64).mean(axis=0).astype(np.float32))
    model = make_store(tmp_path / "model.zarr", "model", (6,), ids=IDS)
    score = prh_jax.align(model, means, metrics="cka", progress=False).scores("cka").item()
    preprocessed = prh_jax.align(
        {"m": [model.read_layer(0)]}, {"b": [V1.mean(0), V2.mean(0)]}, metrics="cka", progress=False
    )
    assert score == pytest.approx(preprocessed.scores("cka").item(), abs=1e-6)
    with pytest.raises(MismatchError, match=r"brain.zarr holds 3 repeats of each sample, .*mean_repeats"):
        prh_jax.align(store, model, metrics="cka", progress=False)
    with pytest.raises(MismatchError, match=r"mean_repeats"):
        prh_jax.align([model, store], metrics="cka", progress=False)
    partners = [row.rpartition("#")[0] for row in store.ids]  # each repeat as a row of its own
    rows = prh_jax.align(store, model, metrics="cka", pair={"x": partners}, progress=False)
    assert rows.provenance.n == 60


def test_functions_of_repeats_take_a_store_of_one_layer(store, tmp_path):
    one = write_repeats(tmp_path / "one.zarr", [V1], spec={"model": "brain"}, ids=IDS)
    assert prh_jax.noise_ceiling(one, "cka").lower == prh_jax.noise_ceiling(V1, "cka").lower
    np.testing.assert_array_equal(prh_jax.crossnobis(tmp_path / "one.zarr"), prh_jax.crossnobis(V1))
    with pytest.raises(ValueError, match=r'has 2 layers.*read_repeats\(store, "V2"\)'):
        prh_jax.split_half_reliability(store, "cka")


def test_what_is_no_store_of_repeats_is_refused(store, tmp_path):
    plain = make_store(tmp_path / "plain.zarr", "plain", (5,))
    for function in (read_repeats, lambda found: mean_repeats(found, tmp_path / "m.zarr")):
        with pytest.raises(ValueError, match="plain.zarr are not repeats"):
            function(plain)
    odd = prh_jax.write_features(tmp_path / "odd.zarr", [V1[0]], ids=IDS, spec={"model": "m", "repeats": 2})
    with pytest.raises(ValueError, match="odd.zarr are not repeats"):
        read_repeats(odd)
    for layer in ("V3", 2, -3):
        with pytest.raises(ValueError, match=f"no layer {layer!r}; its layers are V1, V2"):
            read_repeats(store, layer)
    for features, fault in (
        ({"V1": V1[0]}, r"must be an array \(repeats, n, d\) .* shape is \(20, 5\)"),
        ({"V1": V1[:1]}, "at least 2 repeats"),
        ({"V1": V1[:, :9]}, "of 20 samples"),
        ({"V1": V1, "V2": V2[:2]}, r"same number of repeats, got \[2, 3\]"),
        ({}, "no layer"),
        ({"V1": [V1[0], V1[1, :9]]}, "repeats of layer 'V1' have different shapes"),
    ):
        with pytest.raises(StoreError, match=fault):
            write_repeats(tmp_path / "bad.zarr", features, spec={"model": "m"}, ids=IDS)
    with pytest.raises(TypeError, match="'V1' must hold real numbers"):
        write_repeats(tmp_path / "bad.zarr", {"V1": V1 + 1j}, spec={"model": "m"}, ids=IDS)
    assert not (tmp_path / "bad.zarr").exists()
