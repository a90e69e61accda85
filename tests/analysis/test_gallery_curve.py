"""Mutual kNN in growing galleries is that of lists sorted in float64, gallery by gallery."""

import numpy as np
import pytest

from prh_jax import Preprocess, align, curve_over_gallery, mutual_knn, plot, write_features
from prh_jax.analysis import nested_lists
from prh_jax.null.orders import group_codes

SIZES, K, QUERIES = [30, 60, 120], 4, 25


def draw(images=120, captions=3, seed=0):
    """Captions, their images, and the image of each caption, rows in no order; some captions are equal."""
    rng = np.random.default_rng(seed)
    image = rng.permutation(np.repeat(np.arange(images), captions))
    y = rng.normal(size=(images, 9))
    x = y[image] @ rng.normal(size=(9, 7)) + rng.normal(size=(len(image), 7))
    x[5::50] = x[3]
    return x.astype(np.float32), y.astype(np.float32), image


def neighbors(features, inside, row, group, k):
    """The k of some rows nearest to one by cosine, in float64; ties by number."""
    z = features.astype(float) / np.linalg.norm(features.astype(float), axis=1, keepdims=True)
    others = np.array([j for j in inside if group[j] != group[row]])
    apart = ((z[others] - z[row]) ** 2).sum(axis=1)
    return set(others[np.argsort(apart, kind="stable")[:k]])


def one_by_one(x, y, group, captions, seed):
    """Scores, standard errors and chance of each gallery."""
    place = np.random.default_rng(seed).permutation(group.max() + 1)
    used = [j for j in range(len(group)) if (group[:j] == group[j]).sum() < captions]
    found = []
    for size in SIZES:
        inside = [j for j in used if place[group[j]] < size]
        by_image = {}
        for row in (j for j in used if place[group[j]] < QUERIES):
            lists = [neighbors(z, inside, row, group, K) for z in (x, y)]
            by_image.setdefault(group[row], []).append(len(lists[0] & lists[1]) / K)
        means = [np.mean(values) for values in by_image.values()]
        chance = K / (len(inside) - captions)
        found.append((np.mean(means), np.std(means, ddof=1) / len(means) ** 0.5, chance))
    return np.array(found).T


@pytest.mark.parametrize("captions", [1, 3])
def test_scores_are_those_of_lists_sorted_one_by_one(captions, monkeypatch):
    """A few rows are read at a time. Of three equal captions and images, who is in a list is a matter of order."""
    monkeypatch.setattr(nested_lists, "PRODUCTS", 40 * QUERIES)
    x, y, image = draw()
    pair = {"x": image}
    found = curve_over_gallery(
        x, y, SIZES, k=K, queries=QUERIES, pair=pair, captions=[captions], seed=3, progress=False
    )
    group = np.array(group_codes([str(i) for i in image], len(image)))
    score, error, chance = one_by_one(x, y[image], group, captions, 3)
    np.testing.assert_allclose(found["score"][0], score, atol=1e-12)
    np.testing.assert_allclose(found["standard_error"][0], error, atol=1e-12)
    np.testing.assert_allclose(found["chance"][0], chance, atol=1e-12)
    reach = found["high"][0] - found["score"][0]
    np.testing.assert_allclose(reach, 1.959964 * error, atol=1e-6)


def test_of_many_rows_that_tie_the_first_are_neighbors():
    """Codes of nine bits, of which dozens are as near as one another: more than are kept as candidates."""
    rng = np.random.default_rng(0)
    x, y = (rng.choice([-1, 1], size=(400, 9)) for _ in range(2))
    y[:, :7] = x[:, :7]
    place = np.random.default_rng(0).permutation(400)
    found = curve_over_gallery(x, y, [100, 400], k=K, queries=QUERIES, progress=False)
    for size, score in zip((100, 400), found["score"][0].values, strict=True):
        shared = []
        for row in np.flatnonzero(place < QUERIES):
            others = np.array([j for j in np.flatnonzero(place < size) if j != row])
            first = [set(others[np.argsort(-(z[others] @ z[row]), kind="stable")[:K]]) for z in (x, y)]
            shared.append(len(first[0] & first[1]) / K)
        assert score == pytest.approx(np.mean(shared), abs=1e-12)


def test_the_whole_gallery_has_the_score_of_align_on_stores_and_of_mutual_knn_on_arrays(tmp_path):
    x, y, image = draw(captions=1)
    found = curve_over_gallery(x[:, :5], y[image], [120], k=K, queries=120, progress=False)
    assert found["score"].item() == pytest.approx(float(mutual_knn(x[:, :5], y[image], k=K)), abs=1e-6)
    stores = [
        write_features(tmp_path / f"{name}.zarr", [z, z**3], ids=[str(i) for i in range(120)], spec={"model": name})
        for name, z in (("x", x), ("y", y[image]))
    ]
    for preprocess in (None, Preprocess(clip_quantile=0.7, exact=True)):
        scores = align(*stores, f"mutual_knn:k={K}", preprocess=preprocess or Preprocess(), progress=False)
        found = curve_over_gallery(
            *stores, [120], k=K, queries=120, depths=(1, 0), preprocess=preprocess, progress=False
        )
        expected = scores.layers(scores.metrics[0]).values[1, 0]
        assert found["score"].item() == pytest.approx(expected, abs=1e-6)


def test_sizes_begin_where_chance_is_small_and_queries_are_in_every_gallery():
    x, _, _ = draw(images=1700, captions=1)
    found = curve_over_gallery(x, x, k=1, progress=False)
    assert found["n"].values.tolist() == [106, 425, 1700] and found.attrs["queries"] == 106
    np.testing.assert_array_equal(found["score"], 1)


def test_settings_out_of_range_are_refused_before_work_starts():
    x, y, image = draw()
    for settings, words in (
        ({"sizes": [30, 500]}, "from 4 to 120"),
        ({"queries": 31}, "from 2 to 30 samples"),
        ({"k": 90}, "leaves a query 87 rows"),
        ({"captions": [4]}, "from 1 to 3"),
        ({"depths": (0, 2)}, "no layer 2 of y"),
        ({"confidence": 1.0}, "between 0 and 1"),
        ({"sizes": [30.7]}, "sizes is made of whole numbers"),
        ({"captions": 3}, "captions is made of whole numbers"),
        ({"seed": -1}, "at least 0"),
    ):
        with pytest.raises(ValueError, match=words):
            curve_over_gallery(x, y, **{"sizes": SIZES, "k": K, "pair": {"x": image}, "progress": False} | settings)
    with pytest.raises(ValueError, match="captions="):
        curve_over_gallery(x, x, SIZES, k=K, captions=[1], progress=False)


def test_the_figure_has_a_line_and_a_band_for_each_curve():
    x, y, image = draw()
    curve = curve_over_gallery(x, y, SIZES, k=K, queries=9, pair={"x": image}, captions=[1, 3], progress=False)
    ax = plot.gallery_curve({"a": curve, "b": curve.sel(captions=[3])})
    scores = [line.get_ydata() for line in ax.lines[::2]]
    np.testing.assert_array_equal(scores, [*curve["score"].values, curve["score"].values[1]])
    assert [t.get_text() for t in ax.figure.legends[0].get_texts()] == [
        "a · 1 caption",
        "a · 3 captions",
        "b",
        "chance",
    ]
    assert len(ax.collections) == 3 and ax.get_xscale() == "log" and ax.get_ylim()[0] == 0
    with pytest.raises(ValueError, match="k = "):
        plot.gallery_curve({"a": curve, "b": curve.assign_attrs(k=9)})
    for wrong, words in (({}, "there is none"), ([curve], "got list"), ({"a": 3}, "got int")):
        with pytest.raises(ValueError, match=words):
            plot.gallery_curve(wrong)
