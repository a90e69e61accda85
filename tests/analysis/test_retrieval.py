"""Retrieval is what maps fitted one by one give, chance is that of all orders, and p-values hold."""

import itertools

import numpy as np
import pytest
from inputs import correlated, make_store
from scipy import linalg, stats

from prh_jax import retrieval
from prh_jax.metrics.out_of_sample.splits import halves
from prh_jax.null.gallery_ranks import chance_ranks, group_ranks
from prh_jax.numerics.ridge import left_out_errors, left_out_totals, ridge_fit

RIDGES = [1e-3, 0.1, 3.0, 100.0]
K = [1, 3, 8]


def regress(x, y, penalty, others):
    """Ridge regression with an intercept, by the normal equations."""
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    z = x - mean_x
    return (others - mean_x) @ np.linalg.solve(z.T @ z + penalty * np.eye(x.shape[1]), z.T @ (y - mean_y)) + mean_y


def by_ridge(x, y, others):
    """Predictions with the one penalty of least squared error, each sample left out and predicted anew."""
    unit = x.var(axis=0).sum()
    errors = [
        sum(
            np.sum((regress(np.delete(x, i, 0), np.delete(y, i, 0), ridge * unit, x[[i]])[0] - y[i]) ** 2)
            for i in range(len(x))
        )
        for ridge in RIDGES
    ]
    best = RIDGES[int(np.argmin(errors))]
    return regress(x, y, best * unit, others) - y.mean(axis=0), best


def by_rotation(x, y, others):
    """scipy's Procrustes rotation if widths are equal, or else the polar factor of the covariance."""
    a, b = x - x.mean(axis=0), y - y.mean(axis=0)
    left, _, right = np.linalg.svd(a.T @ b, full_matrices=False)
    turn = linalg.orthogonal_procrustes(a, b)[0] if a.shape[1] == b.shape[1] else left @ right
    return (others - x.mean(axis=0)) @ turn, None


def as_given(x, y, others):
    return others, None


def cosines(guess, gallery):
    return np.array([[g @ s / np.linalg.norm(g) / np.linalg.norm(s) for s in gallery] for g in guess])


def ranks_of(similarity):
    return np.diagonal(stats.rankdata(-similarity, method="max", axis=1))


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    "map, fitted, widths",
    [
        ("ridge", by_ridge, (6, 9)),
        ("ridge", by_ridge, (40, 5)),
        ("orthogonal", by_rotation, (7, 7)),
        ("orthogonal", by_rotation, (9, 5)),
        ("none", as_given, (7, 7)),
    ],
)
def test_ranks_are_those_of_maps_fitted_one_by_one(map, fitted, widths):
    x, y = (z.astype(float) for z in correlated(44, *widths, shared=4))
    layers = [[x, x[:, ::-1] ** 2], [y]]
    found = retrieval(*layers, map=map, k=K, fit=0.6, splits=3, seed=4, null=0, ridges=RIDGES).dataset
    for (i, a), (way, name) in itertools.product(enumerate(layers[0]), enumerate(["x_to_y", "y_to_x"])):
        source, target = (a, y) if way == 0 else (y, a)
        recalls, reciprocals, medians, penalties = [], [], [], []
        for train, held in halves(44, 0.6, 3, 4, np.arange(44)):
            guess, penalty = fitted(source[train], target[train], source[held])
            middle = 0 if map == "none" else target[train].mean(axis=0)
            ranks = ranks_of(cosines(guess, target[held] - middle))
            recalls.append([np.mean(ranks <= k) for k in K])
            reciprocals.append(np.mean(1 / ranks))
            medians.append(np.median(ranks))
            penalties.append(penalty)
        cell = found.sel(direction=name).isel(layer_x=i, layer_y=0)
        close(cell["recall"], np.mean(recalls, axis=0))
        close(cell["reciprocal_rank"], np.mean(reciprocals))
        close(cell["median_rank"], np.mean(medians))
        # 26 samples are fitted and 18 are held out
        close(cell["recall_error"], np.sqrt(1 / 3 + 18 / 26) * np.std(recalls, axis=0, ddof=1))
        if map == "ridge":
            close(cell["ridge"], stats.gmean(penalties))
    assert len(train) == 26
    close(found["chance_recall"], np.tile(np.array(K) / 18, (2, 1)))
    close(found["chance_reciprocal_rank"], sum(1 / r for r in range(1, 19)) / 18)


def test_totals_of_samples_left_out_are_the_sum_over_columns():
    x, y = (z.astype(float) for z in correlated(30, 12, 9))
    fit = ridge_fit(x @ x.T, np.arange(20), np.arange(20, 30))
    targets = [z - z.mean(axis=0) for z in (y[:20], y[:20, :1] ** 3)]
    expected = np.stack([left_out_errors(fit, z, np.array(RIDGES)).sum(axis=1) for z in targets], axis=1)
    np.testing.assert_allclose(left_out_totals(fit, targets, np.array(RIDGES)), expected, rtol=1e-10)


def rank_by_hand(row, codes, group):
    best = max(s for s, c in zip(row, codes, strict=True) if c == group)
    return 1 + sum(s >= best and c != group for s, c in zip(row, codes, strict=True))


def test_the_first_of_several_right_answers_counts_and_ties_count_against_it():
    rng = np.random.default_rng(0)
    similarity = rng.integers(0, 5, (8, 9)).astype(float)  # of few values: many ties
    for codes in ([0, 1, 2, 3, 4, 5, 6, 7, 8], [2, 0, 1, 2, 0, 0, 3, 3, 1]):
        expected = [[rank_by_hand(row, codes, g) for g in range(max(codes) + 1)] for row in similarity]
        assert group_ranks(similarity, np.array(codes)).tolist() == expected
    assert group_ranks(np.ones((1, 4)), np.arange(4)).tolist() == [[4, 4, 4, 4]]
    assert group_ranks(np.array([[0.2, np.nan, 0.1]]), np.arange(3)).tolist() == [[1, 3, 2]]


@pytest.mark.parametrize("right", [[1, 1], [2, 2], [1, 3]])
def test_chance_is_the_mean_over_all_orders_of_the_gallery(right):
    ranks = [[min(order[:g]) + 1 for g in right] for order in itertools.permutations(range(6))]
    recall, reciprocal = chance_ranks(right, 6, [1, 2, 6])
    np.testing.assert_allclose(recall, [np.mean(np.array(ranks) <= k) for k in (1, 2, 6)])
    assert reciprocal == pytest.approx(np.mean(1 / np.array(ranks)))


def test_p_is_the_share_of_all_pairings_of_the_held_out_samples():
    x, y = (z.astype(float) for z in correlated(10, 3, 3, shared=2, noise=0.5, seed=3))
    found = retrieval(x, y, map="orthogonal", k=2, splits=1, null=119).dataset.sel(direction="x_to_y")
    ((train, held),) = halves(10, 0.5, 1, 0, np.arange(10))
    guess = by_rotation(x[train], y[train], x[held])[0]
    ranks = stats.rankdata(-cosines(guess, y[held] - y[train].mean(axis=0)), method="max", axis=1)
    pairings = np.array([ranks[np.arange(5), order] for order in map(list, itertools.permutations(range(5)))])
    for name, scores in (("p_recall", (pairings <= 2).mean(axis=1)), ("p", (1 / pairings).mean(axis=1))):
        assert found[name].item() == pytest.approx(np.mean(scores >= scores[0] - 1e-9)) != 1
    assert found["p_best"].item() == found["p"].item()  # of one layer pair


def test_p_best_is_of_the_best_pair_against_the_best_under_each_permutation():
    """One layer pair as good as ten equal ones; ten of noise are more often good by chance than one."""
    rng = np.random.default_rng(0)
    noise, y = [rng.normal(size=(40, 4)) for _ in range(10)], rng.normal(size=(40, 4))
    settings = {"k": 3, "splits": 1, "null": 99}
    alike, one = (retrieval([noise[0]] * times, y, **settings).dataset for times in (10, 1))
    np.testing.assert_array_equal(alike["p_best"], one["p"].values.ravel())
    several = retrieval(noise, y, **settings).dataset
    assert (several["p_best"] > several["p"].min(["layer_x", "layer_y"])).all()


@pytest.mark.parametrize("groups", [None, np.repeat(np.arange(15), 2)])
def test_false_positives_are_no_more_than_the_level(groups):
    rng = np.random.default_rng(1)
    p, together = [], []
    for seed in range(60):
        size = 30 if groups is None else 15
        x, y = (np.repeat(rng.normal(size=(size, 4)), 30 // size, axis=0) for _ in "xy")
        x, y = (z + 0.1 * rng.normal(size=z.shape) for z in (x, y))
        settings = {"k": 3, "null": 19, "seed": seed, "groups": groups, "ridges": [1.0]}
        p.append(retrieval(x, y, splits=1, **settings).dataset["p"].values.ravel())
        together.append(retrieval(x, y, splits=3, **settings).dataset["p"].values.ravel())
    # the mean of 20 equally likely values or a little more, as ties count; the two directions are nearly independent
    assert 0.44 < np.mean(p) < 0.66
    # 12 of 120 are expected at 0.1, and the 99.9 % point of the binomial distribution is 23
    assert np.sum(np.array(p) <= 0.1) <= 23 and np.sum(np.array(together) <= 0.1) <= 23


def test_a_group_is_on_one_side_and_holds_the_right_answers():
    codes = np.random.default_rng(0).permutation(np.repeat(np.arange(12), 3))
    for train, held in halves(36, 0.5, 4, 0, codes):
        assert not set(codes[train]) & set(codes[held]) and len(train) == len(held) == 18
    rng = np.random.default_rng(2)
    # pictures with three captions each: a caption tells the picture, and of its own nothing
    pictures = rng.normal(size=(12, 5))[codes]
    captions = pictures + 0.01 * rng.normal(size=(36, 5))
    found = retrieval(pictures, captions, map="none", k=[1, 2], groups=codes, splits=2, null=99).dataset
    close(found["recall"], 1)
    # 6 pictures in the gallery of captions, each once; 3 of 18 captions are right for a picture
    close(found["chance_recall"].sel(direction="y_to_x"), [1 / 6, 2 / 6])
    close(found["chance_recall"].sel(direction="x_to_y"), [3 / 18, 1 - (15 * 14) / (18 * 17)])
    assert (found["p"] < 0.1).all()


def test_stores_keep_names_and_units_do_not_matter(tmp_path):
    stores = [make_store(tmp_path / f"{name}.zarr", name, widths) for name, widths in (("a", (5, 7)), ("b", (6,)))]
    found = retrieval(stores[0].path, stores[1], k=5, null=0)
    assert found.dataset["layer_x"].values.tolist() == [layer.name for layer in stores[0].layers]
    assert "between a and b, 2 x 1 layer pairs" in repr(found)
    x, y = correlated(40)
    plain = retrieval(x, y, null=9).dataset
    for other in (retrieval(1e20 * x, 1e-20 * y, null=9), retrieval(x + 64, y - 64, null=9)):
        np.testing.assert_allclose(other.dataset["reciprocal_rank"], plain["reciprocal_rank"], rtol=1e-3)


def test_the_result_names_the_best_pair_and_its_chance():
    x, y = correlated(40, shared=6, noise=0.3)
    found = retrieval([np.random.default_rng(0).normal(size=(40, 3)), x], [y], k=[1, 5])
    assert found.best() == found.best("x_to_y") == ("1", "0")
    cell = found.dataset.sel(direction="x_to_y", layer_x="1", layer_y="0")
    assert found.at("1")["recall"].sel(direction="x_to_y").equals(cell["recall"])
    assert f"recall at 5 {cell['recall'].values[1]:.3f} (chance 0.250)" in repr(found) and "p = 0.002" in repr(found)
    assert f"{cell['recall'].values[1]:.3f}</td>" in found._repr_html_()
    frame = found.to_dataframe()
    assert len(frame) == 2 * 2 * 2 and {"recall", "chance_recall", "p", "ridge"} <= set(frame)
    row = frame.query("direction == 'x_to_y' and layer_x == '1' and k == 5")
    assert row["recall"].item() == cell["recall"].values[1]
    with pytest.raises(ValueError, match="no layer 'z' on side y; the layers are 0"):
        found.at(layer_y="z")
    with pytest.raises(ValueError, match="'x_to_y' and 'y_to_x'"):
        found.best("z")
    assert np.isnan(retrieval(x, y, splits=1, null=0).dataset["recall_error"]).all()


def test_what_cannot_be_retrieved_is_refused():
    x, y = correlated(40)
    for words, more in {
        "maps are": {"map": "linear"},
        r"one width.*\[9, 12\]": {"map": "none"},
        "gallery has 20 samples, fewer than k = 21": {"k": 21},
        "at least 1, got": {"k": 0},
        "whole numbers": {"k": []},
        "between 0 and 1, got 1": {"fit": 1},
        "It needs 4 and 2": {"fit": 0.01},
        "splits is a whole number of at least 1": {"splits": 0},
        "null is a whole number of at least 0, got -1": {"null": -1},
        "above 0": {"ridges": [0.0]},
        "2 samples|one label per sample": {"groups": [0, 1]},
        "give null=0": {"groups": np.repeat(np.arange(4), [7, 8, 10, 15]), "k": 1},
    }.items():
        with pytest.raises(ValueError, match=words):
            retrieval(x, y, **more)
    with pytest.raises(ValueError, match=r"layers of \[39, 40\] samples"):
        retrieval(x[:39], y)
    with pytest.raises(ValueError, match="finite"):
        retrieval(np.where(x > 1, np.nan, x), y)
    with pytest.raises(ValueError, match="Layer '1' of x is the same"):
        retrieval([x, np.ones_like(x)], y)
    with pytest.raises(ValueError, match="same samples"):
        retrieval([], y)
