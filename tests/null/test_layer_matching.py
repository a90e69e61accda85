"""Layers matched one to one, in order, and by shares: against every match there is."""

import itertools

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from prh_jax import Null, align, match_layers
from prh_jax.null import layer_matching
from prh_jax.null.pvalues import calibrate_scores, still_open


def by_permutations(scores):
    """Of a matrix no wider than high."""
    nx, ny = scores.shape
    return max(np.mean([scores[i, j] for j, i in enumerate(p)]) for p in itertools.permutations(range(nx), ny))


def paths(nx, ny):
    """All order-preserving alignments, as pairs with their weights."""
    if (nx, ny) == (1, 1):
        yield [((0, 0), 2)]
    for dx, dy in ((1, 1), (1, 0), (0, 1)):
        if nx - dx > 0 and ny - dy > 0:
            for before in paths(nx - dx, ny - dy):
                yield [*before, ((nx - 1, ny - 1), dx + dy)]


def by_paths(scores):
    return max(sum(w * scores[at] for at, w in path) for path in paths(*scores.shape)) / sum(scores.shape)


def by_shares(scores):
    """A coupling of shares is a match of layers that are cut into equal parts (Birkhoff's theorem)."""
    nx, ny = scores.shape
    parts = np.repeat(np.repeat(scores, np.lcm(nx, ny) // nx, axis=0), np.lcm(nx, ny) // ny, axis=1)
    return parts[linear_sum_assignment(parts, maximize=True)].mean()


MATCHES = {"assignment": by_permutations, "dtw": by_paths, "transport": by_shares}


@pytest.mark.parametrize("way", ["pot", "scipy"])
@pytest.mark.parametrize("how", MATCHES)
def test_the_best_match_is_the_best_of_all(how, way, monkeypatch):
    if way == "scipy":
        monkeypatch.setattr(layer_matching.importlib.util, "find_spec", lambda name: None)
    elif how == "transport":
        pytest.importorskip("ot")
    rng = np.random.default_rng(3)
    for shape in ((4, 3), (3, 2), (4, 2), (3, 3), (4, 1), (2, 1), (1, 1)):
        scores = rng.normal(size=(3, *shape))
        found = Null(aggregate=how).reduce(scores)
        np.testing.assert_allclose(found, [MATCHES[how](one) for one in scores], atol=1e-12)
        turned = Null(aggregate=how).reduce(scores.transpose(0, 2, 1))
        np.testing.assert_allclose(turned, found, atol=1e-12)


@pytest.mark.parametrize("how", MATCHES)
def test_cells_without_a_score_are_avoided_and_left_out(how):
    scores = np.array([[np.nan, 0.2, 0.1], [0.9, 0.3, np.nan]])
    weights = layer_matching.layer_weights(scores, how)
    assert weights.sum() == pytest.approx(1) and not weights[np.isnan(scores)].any()
    found = Null(aggregate=how).reduce(np.stack([scores, np.full((2, 3), np.nan)]))
    np.testing.assert_allclose(found, [np.nansum(weights * scores), np.nan])
    if how == "assignment":
        assert found[0] == pytest.approx((0.2 + 0.9) / 2)


def layers(seed, count, n=30):
    rng = np.random.default_rng(seed)
    shared = np.random.default_rng(0).normal(size=(count, n, 4))
    return [np.float32(z + rng.normal(size=z.shape)) for z in shared]


@pytest.mark.parametrize("how", MATCHES)
def test_a_study_its_null_and_its_pairs_have_the_same_match(how):
    """A similarity, and a distance, whose best is the least; the null is that of the cells under each order."""
    metrics = ["cka", "procrustes_distance"]
    null = Null(19, aggregate=how, cells=True)
    result = align({"a": layers(1, 4)}, {"b": layers(2, 3)}, metrics, null=null, progress=False)
    for metric, sign in zip(metrics, (1, -1), strict=True):
        scores = result.layers(metric).values.astype(float)
        expected = sign * MATCHES[how](sign * scores)
        assert result.reduce(metric, how).item() == pytest.approx(expected, abs=1e-6)
        matched = match_layers(result, metric, how=how)
        assert matched.attrs["score"] == pytest.approx(expected, abs=1e-6)
        assert matched["weight"].sum().item() == pytest.approx(1)
        at = matched["depth_x"].values, matched["depth_y"].values
        np.testing.assert_array_equal(matched["score"].values, result.layers(metric).values[at])
        tables = result.calibration
        assert tables.pairs(metric)["score"].item() == pytest.approx(expected, abs=1e-6)
        cells = tables.dataset["null_cell"].sel(metric=metric).values.astype(float)
        np.testing.assert_allclose(
            tables.null(metric).values.ravel(), [sign * MATCHES[how](sign * each) for each in cells], atol=1e-6
        )


@pytest.mark.parametrize("how", ["mean", "row_max_mean", *MATCHES])
def test_equal_scores_in_another_order_are_equal(how):
    """Counts over k n, in many layers: p must count as reached what rounding alone would tell apart."""
    rng = np.random.default_rng(0)
    scores = (rng.integers(0, 30, size=(20, 5, 7)) / 30).astype(np.float32)
    rows, columns = rng.permutation(5), rng.permutation(7)
    again = scores.transpose(0, 2, 1) if how == "dtw" else scores[:, rows][:, :, columns]
    if how == "row_max_mean":  # the best of a row, whose order changes
        again = scores[:, rows]
    observed, null = (np.asarray(Null(aggregate=how).reduce(z)) for z in (scores, again))
    np.testing.assert_array_equal(calibrate_scores(observed, null[None], alpha=0.05, highest=1.0).p, 1)
    assert still_open(observed, null[None], 1).sum() == 0


def test_sizes_of_scores_do_not_matter():
    scores = np.random.default_rng(1).normal(size=(2, 5))
    for size in (1e30, 1e-30):
        assert Null(aggregate="transport").reduce(size * scores) == pytest.approx(size * by_shares(scores), rel=1e-9)


def test_what_cannot_be_matched_is_refused():
    result = align({"a": layers(1, 2)}, {"b": layers(2, 2)}, "cka", progress=False)
    with pytest.raises(ValueError, match="assignment, dtw, transport"):
        match_layers(result, "cka", how="best")
    with pytest.raises(ValueError, match="nobody"):
        match_layers(result, "cka", "nobody")
