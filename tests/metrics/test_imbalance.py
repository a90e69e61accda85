"""Information imbalance: what its definition says of parts and of chance, its null, and its plane."""

import itertools
import json

import jax
import numpy as np
import pytest
from inputs import GOLDEN
from made_results import made_result
from oracles.lists import information_imbalance as oracle

import prh_jax
from prh_jax import Null, Preprocess, align, information_imbalance
from prh_jax.null.orders import make_orders

PLAIN = Preprocess(1.0, normalize=False)


def layers(seed, n=60):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5)).astype(np.float32)
    return [x, x[:, :2].copy()]


def test_a_part_is_predicted_by_the_whole_and_a_copy_is_the_floor():
    x, part = layers(0, 200)
    assert information_imbalance(x, part) < 0.5 * information_imbalance(part, x)
    for k in (1, 7):
        assert information_imbalance(x, 3 * x + 1, k=k) == pytest.approx((k + 1) / 200)
    # the mean over all orders is 1: each other sample is equally often the nearest
    n = 5
    x, y = layers(1, n)
    every = [information_imbalance(x, y[list(order)]) for order in itertools.permutations(range(n))]
    assert np.mean(every) == pytest.approx(1, abs=1e-6)


def test_values_are_those_of_dadapy():
    inputs = np.load(GOLDEN / "inputs.npz", allow_pickle=False)
    found = [entry for entry in json.loads((GOLDEN / "packages.json").read_text())["values"] if "metric" in entry]
    assert len(found) == 4
    for entry in found:
        x, y = (inputs[f"{entry['pair']}_{side}"] for side in "XY")
        for value, pair in ((entry["value"], (x, y)), (entry["swapped"], (y, x))):
            assert float(information_imbalance(*pair, **entry["settings"])) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("k", [1, 4])
def test_a_study_and_its_null_are_those_of_reordered_features(k, swapped):
    xs, ys = layers(2), layers(3)
    ys[0] += 2 * xs[0]
    metric = f"information_imbalance:k={k},swapped={swapped}"
    found = align({"x": xs}, {"y": ys}, [metric], preprocess=PLAIN, null=Null(4, cells=True), progress=False)
    name = found.metrics[0]
    null = found.calibration.dataset["null_cell"].sel(metric=name).values
    orders = [np.arange(60), *make_orders(60, 4, 0)]
    for order, cells in zip(orders, [found.layers(name).values, *null], strict=True):
        expected = [[oracle(x, y[order], k, swapped) for y in ys] for x in xs]
        np.testing.assert_allclose(cells, expected, atol=1e-6)
    assert found.calibration.pairs(name)["p"].item() == 1 / 5


@pytest.mark.parametrize("k", [3, 17])
def test_equally_near_samples_are_ranked_by_their_numbers(k):
    """Samples on a grid, two of them twice: the short way of a call, sketches, and a jitted call."""
    rng = np.random.default_rng(4)
    x = rng.integers(0, 4, size=(40, 2)).astype(np.float32)
    y = (x + rng.integers(0, 2, size=(40, 2))).astype(np.float32)
    expected = oracle(x, y, k)
    assert float(information_imbalance(x, y, k=k)) == pytest.approx(expected, abs=1e-6)
    assert float(jax.jit(lambda a, b: information_imbalance(a, b, k=k))(x, y)) == pytest.approx(expected, abs=1e-6)
    scored = prh_jax.layer_matrix([x], [y], prh_jax.InformationImbalance(k))
    assert float(np.asarray(scored).item()) == pytest.approx(expected, abs=1e-6)


def test_sums_of_ranks_may_pass_32_bits():
    """With all others as neighbours, every rank is met once: the score is 1, whatever the layers."""
    n, rng = 1700, np.random.default_rng(6)
    x, y = (rng.normal(size=(n, 2)).astype(np.float32) for _ in range(2))
    metric = prh_jax.InformationImbalance(n - 1)
    assert n * (n - 1) * n / 2 > 2**31
    assert float(metric(x, y)) == pytest.approx(1, abs=1e-6)
    assert float(np.asarray(prh_jax.layer_matrix([x], [y], metric)).item()) == pytest.approx(1, abs=1e-6)


def test_groups_are_no_neighbours():
    x, y = layers(5, 20)
    groups = np.repeat(np.arange(10), 2)
    found = align(
        {"x": [x]},
        {"y": [y]},
        "information_imbalance",
        preprocess=PLAIN,
        groups=groups,
        exclude_own_group=True,
        progress=False,
    )
    apart = groups[:, None] != groups[None, :]
    ranks = []
    for i in range(20):
        near, theirs = (np.sum((z - z[i]) ** 2, axis=1) for z in (x, y))
        nearest = min(np.flatnonzero(apart[i]), key=lambda j: (near[j], j))
        ranks.append(1 + sum(theirs[j] < theirs[nearest] for j in np.flatnonzero(apart[i])))
    assert found.layers("information_imbalance").item() == pytest.approx(2 * np.mean(ranks) / 20, abs=1e-6)


def test_the_plane_has_both_directions():
    plot = pytest.importorskip("prh_jax.plot")
    pytest.importorskip("matplotlib.figure")
    models = {"a": [layers(6)[0]], "b": layers(6)}
    together = align(models, metrics=["information_imbalance"], preprocess=PLAIN, progress=False)
    each = [f"information_imbalance:swapped={swapped}" for swapped in (False, True)]
    sides = align({"a": models["a"]}, {"b": models["b"]}, each, preprocess=PLAIN, progress=False)
    drawn = [plot.imbalance_plane(result, "a", "b").collections[0].get_offsets() for result in (together, sides)]
    expected = [[oracle(x, y), oracle(y, x)] for x in models["a"] for y in models["b"]]
    for points in drawn:
        np.testing.assert_allclose(points, expected, atol=1e-6)
    several = ["information_imbalance:k=1", "information_imbalance:swapped=True", "information_imbalance:k=10"]
    mixed = align({"a": models["a"]}, {"b": models["b"]}, several, preprocess=PLAIN, progress=False)
    np.testing.assert_allclose(plot.imbalance_plane(mixed, "a", "b").collections[0].get_offsets(), expected, atol=1e-6)
    with pytest.raises(ValueError, match="swapped=True"):
        plot.imbalance_plane(sides.sel(metric=sides.metrics[0]), "a", "b")
    with pytest.raises(ValueError, match="no scores by information_imbalance"):
        plot.imbalance_plane(made_result({"a": 1}, {"b": 1}), "a", "b")
