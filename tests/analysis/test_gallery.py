"""Neighbour galleries: lists and counts against a loop in float64, and the features that they come from."""

import shutil

import numpy as np
import pytest
from made_results import edited

import prh_jax
from prh_jax.results.gallery import thumbnail

N, K = 24, 4


def nearest(features, k):
    """Neighbour lists by cosine, one sample after another."""
    rows = features / np.linalg.norm(features, axis=1, keepdims=True)
    lists = []
    for i in range(len(rows)):
        others = [j for j in range(len(rows)) if j != i]
        lists.append(sorted(others, key=lambda j: (-(rows[i] @ rows[j]), j))[:k])
    return np.array(lists)


@pytest.fixture
def study(tmp_path):
    rng = np.random.default_rng(0)
    layers = {name: [rng.normal(size=(N, 8)).astype("float32") for _ in range(2)] for name in ("left", "right")}
    stores = [
        prh_jax.write_features(tmp_path / f"{name}.zarr", made, ids=[f"s{i}" for i in range(N)], spec={"model": name})
        for name, made in layers.items()
    ]
    raw = prh_jax.Preprocess(clip_quantile=1.0, normalize=False)
    metrics = [f"mutual_knn:k={K}", "cka"]
    return layers, stores, prh_jax.align(stores[0], stores[1], metrics, preprocess=raw)


def test_lists_and_counts_are_those_of_a_loop(study):
    layers, _, result = study
    gallery = prh_jax.neighbor_gallery(result, "left", "right", depths=(1, 0))
    lists = {"x": nearest(layers["left"][1].astype(float), K), "y": nearest(layers["right"][0].astype(float), K)}
    shared = np.array([len(set(a) & set(b)) for a, b in zip(lists["x"], lists["y"], strict=True)])
    for side, found in lists.items():
        np.testing.assert_array_equal(gallery.dataset[f"neighbors_{side}"].values, found)
    np.testing.assert_array_equal(gallery.dataset["shared"].values, shared)
    assert shared.mean() / K == pytest.approx(float(result.layers("mutual_knn", "left", "right")[1, 0]), abs=1e-6)
    assert list(gallery.most(N)) == sorted(range(N), key=lambda i: (-shared[i], i))
    assert list(gallery.least(3)) == sorted(range(N), key=lambda i: (shared[i], i))[:3]
    row = gallery.to_dataframe().iloc[5]
    assert row["id"] == "s5" and row["shared"] == shared[5]
    assert row["neighbors_y"] == [f"s{j}" for j in lists["y"][5]]


def test_the_best_layer_pair_is_shown_unless_told(study):
    _, _, result = study
    best = result.best("cka").sel(model_x="left", model_y="right")
    gallery = prh_jax.neighbor_gallery(result, "left", "right", metric="cka", k=3)
    assert gallery.place["depths"] == (int(best["depth_x"]), int(best["depth_y"]))
    assert gallery.dataset.sizes["rank"] == 3
    with pytest.raises(ValueError, match="no layer pair"):
        prh_jax.neighbor_gallery(result, "left", "right", depths=(0, 2))
    with pytest.raises(ValueError, match="24 samples, but 3 captions"):
        prh_jax.neighbor_gallery(result, "left", "right", captions=["a"] * 3)


def test_features_must_be_those_scored(study, tmp_path):
    layers, _, result = study
    moved = prh_jax.write_features(
        tmp_path / "moved.zarr", layers["left"], ids=[f"s{i}" for i in range(N)], spec={"model": "left"}
    )
    other = prh_jax.write_features(
        tmp_path / "other.zarr", layers["right"], ids=[f"s{i}" for i in range(N)], spec={"model": "left"}
    )
    same = prh_jax.neighbor_gallery(result, "left", "right", stores_x=moved)
    assert same.dataset.equals(prh_jax.neighbor_gallery(result, "left", "right").dataset)
    with pytest.raises(prh_jax.StoreError, match="none holds the features"):
        prh_jax.neighbor_gallery(result, "left", "right", stores_x=other)
    with edited(result) as protocol:
        protocol["stores_x"] = [None]  # as merged of results that did not say
    with pytest.raises(prh_jax.StoreError, match="does not say where they are"):
        prh_jax.neighbor_gallery(result, "left", "right")
    with edited(result) as protocol:
        protocol["stores_x"] = [str(tmp_path / "gone.zarr")]
    with pytest.raises(prh_jax.StoreError, match="is not there"):
        prh_jax.neighbor_gallery(result, "left", "right")


def test_of_a_study_with_itself_the_stores_of_the_pair_are_enough(study, tmp_path):
    layers, stores, _ = study
    ids = [f"s{i}" for i in range(N)]
    third = prh_jax.write_features(tmp_path / "third.zarr", layers["left"][:1], ids=ids, spec={"model": "third"})
    result = prh_jax.align([*stores, third], None, f"mutual_knn:k={K}")
    shutil.rmtree(tmp_path / "third.zarr")
    found = prh_jax.neighbor_gallery(result, "left", "right")
    shutil.move(tmp_path / "left.zarr", tmp_path / "moved.zarr")
    with pytest.raises(prh_jax.StoreError, match=r"left.zarr is not there.*stores_x="):
        prh_jax.neighbor_gallery(result, "left", "right")
    moved = tmp_path / "moved.zarr"
    assert prh_jax.neighbor_gallery(result, "left", "right", stores_x=moved).dataset.equals(found.dataset)
    both = [moved, shutil.move(tmp_path / "right.zarr", tmp_path / "also_moved.zarr")]
    assert prh_jax.neighbor_gallery(result, "left", "right", stores_x=both).dataset.equals(found.dataset)


def test_pictures_of_every_kind_become_thumbnails(tmp_path):
    image = pytest.importorskip("PIL.Image")
    picture = image.new("RGB", (300, 100), "red")
    picture.save(tmp_path / "red.png")
    kinds = [picture, tmp_path / "red.png", (tmp_path / "red.png").read_bytes(), np.asarray(picture)]
    assert len({thumbnail(kind) for kind in kinds}) == 1
