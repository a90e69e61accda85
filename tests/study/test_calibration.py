"""Calibrated studies: the same null whatever the tiles, after an interruption, on disk, within groups, by command."""

import itertools
import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
import zarr
from inputs import IDS, N, make_store
from oracles import ORACLES
from scipy.stats import false_discovery_control

import prh_jax
from prh_jax import Null, Preprocess, StoreError, align, calibrate, load_alignment, write_features
from prh_jax.cli.main import main
from prh_jax.engine import null_scores
from prh_jax.null.orders import make_orders, order_blocks
from prh_jax.results.null_grid import NullGrid
from prh_jax.sketches.neighbors import NeighborSketcher

METRICS = ["mutual_knn", "cka", "cycle_knn"]


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    root = tmp_path_factory.mktemp("stores")
    noise = [np.random.default_rng(70 + i).normal(size=(N, 12)).astype(np.float32) for i in range(2)]
    chance = write_features(root / "e.zarr", noise, spec={"model": "e"}, ids=IDS)
    xs = [make_store(root / "a.zarr", "a", (14, 14, 14)), make_store(root / "b.zarr", "b", (9, 12), seed=1)]
    return xs, [make_store(root / "c.zarr", "c", (11, 13), seed=2), chance]


@pytest.fixture(scope="module")
def whole(stores):
    return align(*stores, METRICS, null=Null(orders=23, seed=4, cells=True))


def test_the_null_is_that_of_reordered_features(stores, whole):
    """From the features: the samples of y in the order of the null, scored by the oracle."""
    xs, ys = stores
    orders = make_orders(N, 23, 4)
    plain = Preprocess(1.0)
    result = align(xs, ys, ["mutual_knn"], preprocess=plain, null=Null(orders=3, seed=4))
    unit = [
        [z / np.linalg.norm(z, axis=1, keepdims=True) for z in map(s.read_layer, range(len(s.layers)))]
        for s in (xs[1], ys[0])
    ]
    for i in range(3):
        best = max(ORACLES["mutual_knn"](x, y[orders[i]]) for x, y in itertools.product(*unit))
        assert float(result.calibration.null("mutual_knn").sel(model_x="b", model_y="c")[i]) == pytest.approx(
            best, abs=1e-6
        )
    # aggregates are those of the cells, and the cells' p-values count them
    null = whole.calibration.dataset["null_cell"].sel(metric="cka").values
    np.testing.assert_array_equal(whole.calibration.null("cka").values[:, 0, 1], null[:, :3, 2:].max(axis=(1, 2)))
    reached = (null >= whole.dataset["cka"].values).sum(axis=0)
    np.testing.assert_allclose(whole.calibration.cells("cka")["p_cell"], (1 + reached) / 24)


def test_what_chance_says_of_alignment_and_of_noise(whole):
    for key in METRICS:
        pairs = whole.calibration.pairs(key)
        assert (pairs["p"].sel(model_y="c") == 1 / 24).all() and (pairs["p"].sel(model_y="e") > 1 / 24).all()
        assert (pairs["calibrated"].sel(model_y="c") > 0.05).all()
        assert (pairs["q_by"] >= pairs["q_bh"]).all() and (pairs["q_bh"] >= pairs["p"]).all()
        np.testing.assert_array_equal(pairs["score"], whole.scores(key))
    z = whole.calibration.cells("cka")["z_cell"].values
    assert z[:, :2].min() > 4 and np.abs(z[:, 2:]).max() < 4
    assert np.isnan(whole.calibration.cells("cycle_knn")["z_cell"]).all()
    with pytest.raises(ValueError, match="no metric 'svcca'; it has mutual_knn, cka, cycle_knn"):
        whole.calibration.pairs("svcca")


def test_tiles_blocks_and_the_choice_of_models_do_not_change_the_null(stores, whole, monkeypatch):
    xs, ys = stores
    monkeypatch.setattr(null_scores, "LAYERS_X", 1)
    monkeypatch.setattr(null_scores, "FINE", 1)
    monkeypatch.setattr(null_scores, "LAYERS_Y", 2)
    monkeypatch.setattr("prh_jax.null.orders.ORDERS_PER_BLOCK", 10)
    small = align(xs, ys, METRICS, null=Null(orders=23, seed=4, cells=True))
    alone = align(xs[1], ys[0], METRICS, null=Null(orders=11, seed=4))
    for key in METRICS:
        tolerance = 2e-6 if key == "cka" else 0
        np.testing.assert_allclose(small.calibration.null(key), whole.calibration.null(key), atol=tolerance)
        part = whole.calibration.null(key).sel(model_x=["b"], model_y=["c"])[:11]
        np.testing.assert_allclose(alone.calibration.null(key), part, atol=tolerance)


def test_one_side_with_itself_is_mirrored(stores):
    xs = [stores[0][0], *stores[1]]
    result = align(xs, metrics=["mutual_knn", "cycle_knn"], null=19)
    pairs = result.calibration.pairs("mutual_knn")
    for name in ("p", "tau", "q_bh", "calibrated"):
        np.testing.assert_array_equal(pairs[name], pairs[name].T)
    assert np.isnan(np.diag(pairs["q_bh"])).all() and np.isfinite(pairs["q_bh"].values[np.triu_indices(3, 1)]).all()
    other = align(xs, xs, metrics=["mutual_knn", "cycle_knn"], null=19)
    upper = np.triu_indices(3)
    np.testing.assert_array_equal(pairs["p"].values[upper], other.calibration.pairs("mutual_knn")["p"].values[upper])
    np.testing.assert_array_equal(result.calibration.null("cycle_knn"), other.calibration.null("cycle_knn"))


def test_q_values_are_over_pairs_of_two_models(stores, tmp_path):
    """x = a, b, c against y = c, a: (c, c), (a, a) are no pairs, and (a, c) is (c, a), also of copies elsewhere."""
    (a, b), (c, _) = stores
    copy = shutil.copytree(c.path, tmp_path / "copy.zarr")
    for metric, counted in (("mutual_knn", [0, 2, 3]), ("cycle_knn", [0, 2, 3, 5])):
        result = align([a, b, c], [copy, a], metric, null=19)
        assert result.self_pairs.values.tolist() == [[False, True], [False, False], [True, False]]
        pairs = result.calibration.pairs(metric)
        p, q = pairs["p"].values.ravel(), pairs["q_bh"].values.ravel()
        np.testing.assert_array_equal(np.flatnonzero(result.counted_pairs(metric)), counted)
        np.testing.assert_allclose(q[counted], false_discovery_control(p[counted]))
        assert np.isnan(q[[1, 4]]).all() and np.isfinite(q[5])


def test_blocks_of_orders_are_all_orders_once():
    for count, stopping, most in itertools.product((1, 7, 20, 99, 100, 101, 523), (False, True), (1, 6, 30, 10**6)):
        blocks = order_blocks(count, stopping, most)
        assert [i for block in blocks for i in range(block.start, block.stop)] == list(range(count))
        first, sizes = blocks[0].stop, [block.stop - block.start for block in blocks]
        assert max(sizes) <= most and all(block.start % first == 0 for block in blocks)
        assert len(set(sizes[:-1])) <= 2


def test_clear_cases_of_chance_stop_early(stores):
    xs, ys = stores
    full = align(xs, ys, "mutual_knn", null=Null(orders=200)).calibration
    short = align(xs, ys, "mutual_knn", null=Null(orders=200, stop_after=5)).calibration
    used = short.pairs("mutual_knn")["orders_used"]
    assert (used.sel(model_y="c") == 200).all() and (used.sel(model_y="e") < 100).all()
    for model in ("a", "b"):
        null = full.null("mutual_knn").sel(model_x=model, model_y="e").values
        reached = np.flatnonzero(null >= float(full.pairs("mutual_knn")["score"].sel(model_x=model, model_y="e")))
        assert float(used.sel(model_x=model, model_y="e")) == reached[4] + 1
        p = float(short.pairs("mutual_knn")["p"].sel(model_x=model, model_y="e"))
        assert p == pytest.approx(5 / (reached[4] + 1))
        done = short.null("mutual_knn").sel(model_x=model, model_y="e").values
        assert np.isnan(done).any() and np.isfinite(done[: reached[4] + 1]).all()


def test_a_calibration_comes_back_from_disk_and_is_not_made_twice(stores, whole, tmp_path, monkeypatch):
    path = tmp_path / "r.zarr"
    null = Null(orders=23, seed=4, cells=True)
    align(*stores, METRICS, output=path)
    assert load_alignment(path).calibration is None
    calibrated = calibrate(path, null)
    xr.testing.assert_identical(calibrated.calibration.dataset, whole.calibration.dataset)
    assert calibrated.calibration.settings["null"] == null.settings
    again = load_alignment(path)
    xr.testing.assert_identical(again.calibration.dataset, whole.calibration.dataset)
    copy = load_alignment(again.save(tmp_path / "copy.zarr"))
    xr.testing.assert_identical(copy.calibration.dataset, whole.calibration.dataset)

    monkeypatch.setattr("prh_jax.study.null.fill_null", None)
    xr.testing.assert_identical(calibrate(path, null).calibration.dataset, whole.calibration.dataset)
    with pytest.raises(StoreError, match="other settings.*--force-null"):
        calibrate(path, Null(orders=23, seed=5, cells=True))
    monkeypatch.undo()
    assert calibrate(path, 9, overwrite=True).calibration.dataset.sizes["order"] == 9
    text = json.loads((path / "calibration" / "zarr.json").read_text())
    text["attributes"]["sha256"] = "0"
    (path / "calibration" / "zarr.json").write_text(json.dumps(text))
    for read in (load_alignment, lambda p: calibrate(p, 9)):
        with pytest.raises(StoreError, match="damaged.*--force-null"):
            read(path)
    assert calibrate(path, 9, overwrite=True).calibration.dataset.sizes["order"] == 9
    assert load_alignment(path).calibration is not None


def test_an_interrupted_null_goes_on_to_the_same_bits(stores, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("prh_jax.null.orders.ORDERS_PER_BLOCK", 6)
    whole = align(*stores, METRICS, null=Null(orders=23, seed=4, cells=True))
    put, count = NullGrid.put, []

    def stop_at_the_sixth(self, *args, **kwargs):
        count.append(args[:2])
        if len(count) == 6:
            raise KeyboardInterrupt
        return put(self, *args, **kwargs)

    monkeypatch.setattr(NullGrid, "put", stop_at_the_sixth)
    path, null = tmp_path / "r.zarr", Null(orders=23, seed=4, cells=True)
    with pytest.raises(KeyboardInterrupt):
        align(*stores, METRICS, output=path, null=null)
    assert load_alignment(path).calibration is None
    resumed = align(*stores, METRICS, output=path, null=null)
    assert "5 of 12 blocks are done" in capsys.readouterr().err
    assert len(set(count[:5] + count[6:])) == 12 and len(count) == 13
    xr.testing.assert_identical(resumed.calibration.dataset, whole.calibration.dataset)
    xr.testing.assert_identical(load_alignment(path).calibration.dataset, whole.calibration.dataset)
    assert [p.name for p in tmp_path.iterdir()] == ["r.zarr"] and not (path / "calibration_growing").exists()


def test_blocks_of_a_null_that_lost_or_exchanged_chunks_are_computed_again(tmp_path):
    blocks, shape = [slice(0, 4), slice(4, 8)], (1, 8, 2, 2)
    rng = np.random.default_rng(0)
    parts = [(rng.random((4, 2, 2), np.float32), rng.integers(1, 5, (3, 3), np.int32)) for _ in blocks]

    def begun():
        return NullGrid(shape, (3, 3), blocks, {"seed": 0}, cells=False, path=tmp_path, scores="of these")

    zarr.open_group(tmp_path, mode="w").attrs["sha256"] = "of these"
    grid = begun()
    for b, (null, reached) in enumerate(parts):
        grid.put(0, b, null, reached)
    assert begun().finished == 2
    np.testing.assert_array_equal(begun().reached[0], parts[0][1] + parts[1][1])
    growing = tmp_path / "calibration_growing"
    for array in growing.glob("*/zarr.json"):
        fill = json.loads(array.read_text())["fill_value"]
        assert fill == {"null": "NaN", "reached": -1, "done": 0}[array.parent.name]
    (growing / "reached/c/0/0/0/0").unlink()
    assert not begun().done(0, 0) and begun().done(0, 1)
    np.testing.assert_array_equal(begun().reached[0], parts[1][1])
    grid.put(0, 0, *parts[0])
    first, second = growing / "null/c/0/0/0/0", growing / "null/c/0/1/0/0"
    held = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(held)
    assert begun().finished == 0 and np.isnan(begun().null).all() and not begun().reached.any()


def test_features_that_moved_or_changed(stores, tmp_path):
    store = make_store(tmp_path / "a.zarr", "a", (8, 9))
    path = tmp_path / "r.zarr"
    align(store, stores[1], "cka", output=path)
    store.path.rename(tmp_path / "moved.zarr")
    with pytest.raises(StoreError, match="a.zarr is not there. Say where .* side x"):
        calibrate(path, 9)
    moved = calibrate(path, 9, stores_x=tmp_path / "moved.zarr", stores_y=stores[1])
    assert moved.calibration.pairs("cka")["p"].shape == (1, 2)
    make_store(tmp_path / "a.zarr", "a", (8, 9), seed=9)
    with pytest.raises(StoreError, match="other features or settings"):
        calibrate(path, 9, overwrite=True)


# --- groups

GROUPS = [i // 6 for i in range(N)]


def test_orders_and_neighbours_by_group(tmp_path):
    """Samples of a group share an offset: the groups alone align any two models, and within groups nothing does."""
    rng = np.random.default_rng(3)
    offsets = rng.normal(size=(10, 20))[GROUPS]
    paths = [
        write_features(
            tmp_path / f"{m}.zarr",
            [(offsets @ rng.normal(size=(20, 16)) * 2 + rng.normal(size=(N, 16))).astype(np.float32)],
            spec={"model": m},
            ids=IDS,
        )
        for m in "ab"
    ]
    metrics = ["mutual_knn:k=4", "cka"]
    free = align(*paths, metrics, null=99).calibration
    within = align(*paths, metrics, null=99, groups=GROUPS).calibration
    excluded = align(*paths, metrics, null=99, groups=GROUPS, exclude_own_group=True, output=tmp_path / "r.zarr")
    for key in ("mutual_knn", "cka"):
        assert free.pairs(key)["p"].item() == 0.01 and within.pairs(key)["p"].item() > 0.05
    assert "z_cell" in free.dataset and "z_cell" not in within.dataset
    assert excluded.calibration.pairs("mutual_knn")["p"].item() > 0.05
    assert excluded.dataset["mutual_knn"].item() < 0.5 * align(*paths, metrics).dataset["mutual_knn"].item()
    again = calibrate(tmp_path / "r.zarr", 99)
    xr.testing.assert_identical(again.calibration.dataset, excluded.calibration.dataset)


def test_no_neighbour_is_of_the_own_group():
    x = np.random.default_rng(0).normal(size=(N, 8)).astype(np.float32)
    found = np.asarray(NeighborSketcher(7, groups=tuple(GROUPS))(jnp.asarray(x)).neighbors)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    for i, listed in enumerate(found):
        others = [j for j in np.argsort(-(unit @ unit[i]), kind="stable") if GROUPS[j] != GROUPS[i]]
        assert listed.tolist() == others[:7]


def test_groups_that_do_not_fit_are_refused(stores):
    xs, ys = stores
    with pytest.raises(ValueError, match="60 samples but 59 group labels"):
        align(xs, ys, "cka", groups=GROUPS[:-1], null=9)
    with pytest.raises(ValueError, match="give the groups"):
        align(xs, ys, "mutual_knn", exclude_own_group=True)
    with pytest.raises(ValueError, match="largest group has 55 of 60 samples.*10 neighbours"):
        align(xs, ys, "mutual_knn", groups=[max(0, i - 54) for i in range(N)], exclude_own_group=True)
    with pytest.raises(ValueError, match="coarser groups"):
        align(xs, ys, "cka", groups=range(N), null=9)


def repeated(path, model, seed, changed=()):
    """A model of ten rows, each for six samples; some samples of the second layer have others."""
    rng = np.random.default_rng(seed)
    layers = [rng.normal(size=(10, d))[GROUPS].astype(np.float32) for d in (8, 9)]
    layers[1][list(changed)] += 1
    return write_features(path, layers, spec={"model": model}, ids=IDS)


def test_a_null_that_cannot_change_a_score_is_refused(stores, tmp_path, monkeypatch, capsys):
    (a, _), (c, _) = stores
    images = repeated(tmp_path / "i.zarr", "images", 0)
    for sides, side in (((images, a), "x"), ((a, [c, images]), "y")):
        monkeypatch.setattr("prh_jax.study.align.run_study", None)  # nothing is scored before
        with pytest.raises(ValueError, match=f"'images' .side {side}, .* all its 2 layers .* 10 groups are equal"):
            align(*sides, "mutual_knn:k=4", null=9, groups=GROUPS)
    for changed, words in (((0,), "make 6 different arrangements"), (range(N), "in all its 2 layers")):
        # one sample of the first group is not like the other five: it can stand at six places
        few = repeated(tmp_path / f"{len(changed)}.zarr", "few", 1, changed)
        with pytest.raises(ValueError, match=words):
            align(few, a, "mutual_knn:k=4", null=9, groups=GROUPS)
    monkeypatch.undo()
    some = repeated(tmp_path / "some.zarr", "some", 1, (0, 6))
    assert align(some, a, "mutual_knn:k=4", null=99, groups=GROUPS).calibration is not None
    assert "make 36 different arrangements" in capsys.readouterr().err  # six places in either of two groups
    with pytest.raises(ValueError, match="2 orders within groups, so p is never below 0.5"):
        align(a, c, "cka", null=9, groups=[max(0, i - 1) for i in range(N)])
    assert align(images, a, "mutual_knn:k=4", null=9).calibration is not None


# --- command line


def test_calibration_by_command(stores, tmp_path, capsys):
    (a, b), (c, e) = stores
    out, groups = str(tmp_path / "r.zarr"), tmp_path / "groups.txt"
    groups.write_text("\n".join(f"slide {g}" for g in GROUPS))
    argv = ["align", "--x", str(a.path), str(b.path), "--y", str(c.path), str(e.path), "-o", out]
    assert main([*argv, "--null", "23", "--null-seed", "4", "--groups", str(groups)]) == 0
    text = capsys.readouterr().out
    assert "calibrated max over layer pairs, 23 random orders within groups" in text and "model pairs beyond" in text
    expected = align(*stores, "mutual_knn", null=Null(23, seed=4), groups=GROUPS).calibration
    xr.testing.assert_identical(load_alignment(out).calibration.dataset, expected.dataset)
    assert main(["calibrate", out, "--null", "9"]) == 2
    err = capsys.readouterr().err
    assert "--force-null" in err and "Traceback" not in err
    assert main(["calibrate", out, "--null", "9", "--force-null", "--aggregate", "mean", "--stop-after", "3"]) == 0
    assert "calibrated mean over layer pairs, 9 random" in capsys.readouterr().out
    assert load_alignment(out).calibration.settings["null"]["stop_after"] == 3
    for bad, message in ((["--null", "0"], "orders"), (["--null", "5", "--alpha", "2"], "alpha")):
        assert main(["calibrate", out, *bad]) == 2
        assert message in capsys.readouterr().err
    assert main(["calibrate", str(tmp_path / "none.zarr")]) == 2


def test_public_names():
    assert prh_jax.Null(7).settings["orders"] == 7 and repr(prh_jax.Calibration)
