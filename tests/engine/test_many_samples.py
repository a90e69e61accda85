"""Many samples: no matrix of all pairs, and the scores of the usual way within float32 rounding; counts to the bit."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inputs import correlated

from prh_jax import align, write_features
from prh_jax.metrics.neighbors.lists import compact_lists
from prh_jax.metrics.registry import make_metric
from prh_jax.null import forms, low_rank
from prh_jax.numerics import backends
from prh_jax.sketches import nearest
from prh_jax.sketches.base import SketchContext
from prh_jax.sketches.gram_factor import GramFactor, GramFactorSketcher
from prh_jax.sketches.nearest import largest, query_rows
from prh_jax.sketches.neighbor_kernel import BlockedNeighborKernelSketcher
from prh_jax.sketches.neighbors import KnnGraph
from prh_jax.study import study

pytestmark = pytest.mark.as_shipped
N = 150
KERNELS = [{}, {"unbiased": False}, {"formula": "paper"}]


@pytest.fixture
def many(monkeypatch):
    monkeypatch.setattr("prh_jax.sketches.base.MANY", 100)
    monkeypatch.setattr(nearest, "ROWS_PER_BLOCK", 64)


@pytest.mark.parametrize("name, eps", [("cka", 1e-3), ("unbiased_cka", 0.0)])
def test_cka_in_feature_space(name, eps, x64, monkeypatch):
    x, y = correlated(n=N, dx=14, dy=11, dtype=np.float64)
    x = 1e6 * (x + 300)
    metric = make_metric(name, eps=eps)
    expected = float(jax.jit(metric)(x, y))
    sketch = metric.sketcher
    monkeypatch.setattr("prh_jax.sketches.base.MANY", 100)
    assert isinstance(sketch.specialise(SketchContext(N, (14,))), GramFactorSketcher)
    assert (
        sketch.specialise(SketchContext(N, (75,))) == sketch.specialise(SketchContext(N)) == sketch
    )  # features would be no smaller
    assert float(jax.jit(metric)(x, y)) == pytest.approx(expected, abs=1e-10)
    value, gradient = jax.jit(jax.value_and_grad(lambda a: metric(a, y)))(np.ones_like(x))
    assert np.isnan(value) and np.isfinite(np.asarray(gradient)).all()


@pytest.mark.parametrize("name", ["cka", "unbiased_cka"])
def test_null_of_factors_is_that_of_gram_matrices(name, x64, many):
    x, y = correlated(n=N, dx=14, dy=11, dtype=np.float64)
    metric = make_metric(name)
    orders = np.stack([np.random.default_rng(i).permutation(N) for i in range(3)])
    sketchers = metric.sketcher, metric.sketcher.specialise(SketchContext(N, (20,)))
    found = []
    for sketcher in sketchers:
        a, b = (jax.tree.map(lambda z: z[None], jax.jit(sketcher)(z)) for z in (x, y))
        found.append(np.asarray(jax.jit(metric.tile_kernel.orders)(a, b, orders)))
    assert isinstance(a, GramFactor)
    np.testing.assert_allclose(found[1], found[0], atol=1e-10, rtol=0)
    expected = [float(jax.jit(metric)(x, y[order])) for order in orders]
    np.testing.assert_allclose(found[1].ravel(), expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("settings", KERNELS, ids=str)
def test_cknna_by_blocks(settings, x64, monkeypatch):
    x, y = correlated(n=N, dx=14, dy=11, dtype=np.float64)
    metric = make_metric("cknna", k=7, **settings)
    expected = float(jax.jit(metric)(x, y))
    gradient = np.asarray(jax.jit(jax.grad(metric))(x, y))
    monkeypatch.setattr("prh_jax.sketches.base.MANY", 100)
    monkeypatch.setattr(nearest, "ROWS_PER_BLOCK", 64)
    assert isinstance(metric.sketcher.specialise(SketchContext(N)), BlockedNeighborKernelSketcher)
    again = jax.jit(lambda a, b: metric(a, b))
    assert float(again(x, y)) == pytest.approx(expected, abs=1e-12)
    np.testing.assert_allclose(np.asarray(jax.jit(jax.grad(again))(x, y)), gradient, atol=1e-12)


def test_lists_are_made_once_for_all_metrics_of_unit_rows(many):
    neighbors = make_metric("mutual_knn", normalize=False).sketcher.specialise(SketchContext(N))
    assert neighbors.summarizer == make_metric("cknna").sketcher.specialise(SketchContext(N)).summarizer


def test_a_study_of_many_samples(tmp_path, many, monkeypatch):
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(N, 5))
    stores = [
        write_features(
            tmp_path / f"{m}.zarr",
            [(latent @ rng.normal(size=(5, d)) + rng.normal(size=(N, d))).astype(np.float32) for d in widths],
            ids=[str(i) for i in range(N)],
            spec={"model": str(m)},
        )
        for m, widths in enumerate([(9, 12), (20, 7, 16)])
    ]
    metrics = ["mutual_knn", "cka", "unbiased_cka", "cknna"]
    monkeypatch.setattr(low_rank, "ROWS_PER_BLOCK", 64)
    monkeypatch.setattr(forms, "ENTRIES", 1000)
    with monkeypatch.context() as patch:
        # matrices of all pairs are out of reach of the memory, which is as large as usual for the tiles
        patch.setattr(forms, "MATRICES", 10**4)
        found = align(*stores, metrics, null=5, memory="1GiB")
    monkeypatch.setattr("prh_jax.sketches.base.MANY", 8192)
    expected = align(*stores, metrics, null=5)
    for key in metrics:
        tolerance = 0 if key == "mutual_knn" else 2e-6
        np.testing.assert_allclose(found.dataset[key], expected.dataset[key], atol=tolerance, rtol=0)
        np.testing.assert_allclose(found.calibration.null(key), expected.calibration.null(key), atol=tolerance, rtol=0)
    for key in metrics[:3]:  # in feature space, the moments of the matrices
        cells, others = (result.calibration.cells(key) for result in (found, expected))
        for name, tolerance in (("mean_cell", 2e-7), ("sd_cell", 2e-7), ("tail_cell", 1e-4)):
            np.testing.assert_allclose(cells[name], others[name], atol=tolerance, rtol=0)
    np.testing.assert_allclose(found.calibration.cells("mutual_knn")["mean_cell"], 10 / (N - 1), rtol=1e-12)
    assert np.isfinite(jnp.asarray(found.calibration.pairs("cka")["calibrated"].values)).all()


@pytest.mark.parametrize("name", ["mutual_knn", "lcs_knn", "edit_distance_knn", "knn_jaccard", "cknna"])
def test_tables_of_few_layers_hold_what_is_listed(name):
    """600 samples, 2 x 3 layers, k = 5: rows are numbered anew, and every pair scores as it does alone."""
    metric = make_metric(name, k=5)
    layers = [correlated(n=600, dx=14, dy=11, seed=s) for s in range(3)]
    sketch = jax.jit(metric.sketcher)
    a, b = ([sketch(pair[side]) for pair in layers] for side in (0, 1))
    stacks = [jax.tree.map(lambda *leaves: jnp.stack(leaves), *side) for side in (a[:2], b)]
    lists = stacks[0].neighbors, stacks[1].neighbors
    assert compact_lists(*lists)[2] == 2 * 5 + 1
    compare = jax.jit(metric.compare)
    expected = [[float(compare(p, q)) for q in b] for p in a[:2]]
    tolerance = 1e-6 if name in ("cknna", "knn_jaccard") else 0  # counts to the bit
    np.testing.assert_allclose(jax.jit(metric.tile_kernel.tile)(*stacks), expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("at_once", [1, 350, 2**18])
@pytest.mark.parametrize("always", [False, True])
def test_numbers_are_those_of_samples(monkeypatch, always, at_once):
    """In each row two entries of either side have one number where they are one sample; what a does not list has the
    last one. A few rows at a time, the last of them filled up; of a layer without neighbours (-1) nothing is asked."""
    monkeypatch.setattr(backends, "CPU", dataclasses.replace(backends.CPU, places_at_once=at_once))
    n, highest = 100, 10**6 if always else 100
    rng = np.random.default_rng(0)
    # entries of a row lie near each other: samples are listed by several layers, and others in the rows after
    low = rng.integers(0, highest - 12, (n, 1))
    a, b = (low + rng.random((count, n, 12)).argsort(axis=2)[..., :3] for count in (3, 4))
    a[1], b[2] = -1, -1
    numbers_a, numbers_b, size = compact_lists(jnp.asarray(a), jnp.asarray(b), always=always)
    assert size == 10 and numbers_a.min() >= 0 and numbers_a.max() < 9 and numbers_b.max() == 9
    sound_a, sound_b = np.delete(a, 1, axis=0), np.delete(b, 2, axis=0)
    numbers_a, numbers_b = np.delete(numbers_a, 1, axis=0), np.delete(numbers_b, 2, axis=0)
    for i in range(n):
        ours, theirs = sound_a[:, i].ravel(), sound_b[:, i].ravel()
        own, others = numbers_a[:, i].ravel(), numbers_b[:, i].ravel()
        np.testing.assert_array_equal(own[:, None] == own, ours[:, None] == ours)
        np.testing.assert_array_equal(own[:, None] == others, ours[:, None] == theirs)


@pytest.mark.parametrize("name", ["mutual_knn", "edit_distance_knn", "cycle_knn", "cknna"])
def test_a_degenerate_layer_among_others_spoils_only_its_pairs(name):
    """600 samples, so that lists are numbered anew: NaN for its pairs, and for the others what they give without it."""
    metric = make_metric(name, k=5)
    layers = [correlated(n=600, dx=14, dy=11, seed=s) for s in range(3)]
    sketch, tile = jax.jit(metric.sketcher), jax.jit(metric.tile_kernel.tile)
    good = [[sketch(pair[side]) for pair in layers] for side in (0, 1)]
    constant = sketch(np.ones((600, 14), np.float32))
    spoiled = [[side[0], constant, side[2]] for side in good]
    whole, holes = (
        np.asarray(tile(*(jax.tree.map(lambda *z: jnp.stack(z), *side) for side in pair))) for pair in (good, spoiled)
    )
    assert np.isnan(holes[1]).all() and np.isnan(holes[:, 1]).all()
    np.testing.assert_allclose(holes[::2, ::2], whole[::2, ::2], atol=1e-6 if name == "cknna" else 0, rtol=0)


@pytest.mark.parametrize("n, k", [(3000, 10), (2640, 10), (700, 1), (130, 3), (900, 3)])
def test_the_largest_of_long_rows_with_many_ties(n, k):
    values = np.random.default_rng(n).integers(0, 12, size=(40, n)).astype(np.float32)
    values[:3] = 7  # all equal
    values[3, : n - 2] = -np.inf
    got = np.asarray(jax.jit(largest, static_argnums=1)(values, k))
    np.testing.assert_array_equal(got, np.argsort(-values, axis=1, kind="stable")[:, :k])


LISTS = ["mutual_knn", "lcs_knn", "edit_distance_knn", "knn_jaccard", "rank_similarity", "joint_rank_jaccard"]


@pytest.mark.parametrize("name", LISTS)
def test_some_samples_asked_for_their_neighbours_among_all(name, many):
    """The score of 40 queries is that of their lists in the graphs of all samples: alone, in a tile, and by blocks."""
    x, y = correlated(n=N, dx=14, dy=11)
    metric, full = make_metric(name, k=5, queries=40), make_metric(name, k=5)
    rows = query_rows(N, 40)
    assert len(set(rows)) == 40 and (np.sort(rows) == rows).all() and set(rows) <= set(range(N))
    graphs_of_all = [jax.jit(full.sketcher)(z) for z in (x, y)]
    expected = float(full.compare(*(KnnGraph(graph.neighbors[rows]) for graph in graphs_of_all)))
    for sketcher in (metric.sketcher, metric.sketcher.specialise(SketchContext(N))):
        a, b = (jax.jit(sketcher)(z) for z in (x, y))
        np.testing.assert_array_equal(a.neighbors, graphs_of_all[0].neighbors[rows])
        assert float(metric.compare(a, b)) == expected
        stacks = [jax.tree.map(lambda z, w: jnp.stack([z, w]), *pair) for pair in ((a, b), (b, a))]
        tile = jax.jit(metric.tile_kernel.tile)(*stacks)
        tolerance = 0 if name in LISTS[:3] else 1e-6
        np.testing.assert_allclose([tile[0, 1], tile[1, 0]], 1, atol=tolerance, rtol=0)
        np.testing.assert_allclose([tile[0, 0], tile[1, 1]], expected, atol=tolerance, rtol=0)


def test_what_queries_and_many_samples_cannot_have(tmp_path, monkeypatch):
    x, y = correlated(n=N, dx=14, dy=11)
    with pytest.raises(ValueError, match="at most 150 can be queries"):
        make_metric("mutual_knn", queries=151)(x, y)
    with pytest.raises(ValueError, match="queries >= 0"):
        make_metric("lcs_knn", queries=-1)
    store = write_features(tmp_path / "x.zarr", [x], ids=[str(i) for i in range(N)], spec={"model": "x"})
    with pytest.raises(ValueError, match=r"mutual_knn has no null: .* \(queries=0\)"):
        align(store, metrics="mutual_knn:queries=40", null=5)
    assert align(store, metrics="mutual_knn:queries=40").scores("mutual_knn").item() == 1
    # 150 x 150 floats, 88 KiB: the matrix of all pairs does not fit; 14 columns of features do
    monkeypatch.setattr(study, "MODEST", 0)
    with pytest.raises(ValueError, match=r"rsa makes 0.1 MiB of a layer of 150 samples, and the budget is 0.1 MiB"):
        align(store, metrics="rsa", memory="80KiB")


def test_no_closed_form_where_matrices_of_all_pairs_do_not_fit(tmp_path, monkeypatch, capsys):
    x, y = correlated(n=N, dx=14, dy=11)
    stores = [
        write_features(tmp_path / f"{name}.zarr", [z], ids=[str(i) for i in range(N)], spec={"model": name})
        for name, z in (("x", x), ("y", y))
    ]
    full = align(*stores, "cka", null=5).calibration
    monkeypatch.setattr(forms, "MATRICES", 10**9)
    found = align(*stores, "cka", null=5, progress=True).calibration
    assert "cka: no closed form, as it takes 167638.1 GiB of 150 samples" in capsys.readouterr().err
    np.testing.assert_array_equal(found.null("cka"), full.null("cka"))
    assert np.isfinite(found.pairs("cka")["p"]).all()
    assert "z_cell" in full.dataset and "z_cell" not in found.dataset
