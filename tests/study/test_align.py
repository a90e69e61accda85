"""All layers of all models: labels, reductions, preprocessing, results on disk, and refusals at the door."""

import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from inputs import IDS, N, correlated, counts, make_store
from jaxtyping import TypeCheckError
from oracles import ORACLES

import prh_jax
from prh_jax import Preprocess, StoreError, align, load_alignment, write_features
from prh_jax.engine import sketching, tiling
from prh_jax.results.reduce import best_layers, mean_layers
from prh_jax.results.score_grid import ScoreGrid
from prh_jax.sketches.base import SketchContext
from prh_jax.sketches.neighbors import NeighborSketcher


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    root = tmp_path_factory.mktemp("stores")
    xs = [make_store(root / "a.zarr", "org/a", (14, 14, 14)), make_store(root / "b.zarr", "b", (9, 12), seed=1)]
    ys = [make_store(root / "c.zarr", "c", (11,) * 4, seed=2), make_store(root / "d.zarr", "d", (16,), seed=3)]
    return xs, ys


def prepared(store, preprocess):
    """The reference's preprocessing, written from its description in float64."""
    layers = [store.read_layer(i).astype(np.float64) for i in range(len(store.layers))]
    q = preprocess.clip_quantile
    ragged = len({x.shape[1] for x in layers}) > 1
    groups = [[x] for x in layers] if ragged else [layers] * len(layers)
    out = []
    for x, group in zip(layers, groups, strict=True):
        rows = np.abs(np.concatenate(group, axis=1))
        exact = np.sort(rows.ravel())[min(int(q * rows.size), rows.size - 1)]
        limit = exact if preprocess.exact else np.quantile(rows, q, axis=1).mean()
        x = np.clip(x, -limit, limit) if q < 1 else x
        out.append(x / np.linalg.norm(x, axis=1, keepdims=True) if preprocess.normalize else x)
    return out


@pytest.mark.parametrize(
    "preprocess", [Preprocess(), Preprocess(exact=True), Preprocess(1.0), Preprocess(0.8, normalize=False)], ids=str
)
def test_every_cell_is_the_oracle_on_prepared_features(stores, preprocess):
    xs, ys = stores
    result = align(xs, ys, ["mutual_knn", "cka"], preprocess=preprocess)
    left = [x for s in xs for x in prepared(s, preprocess)]
    right = [y for s in ys for y in prepared(s, preprocess)]
    for name in result.metrics:
        expected = [[ORACLES[name](x, y) for y in right] for x in left]
        np.testing.assert_allclose(result.layers(name).values, expected, atol=2e-5)


def test_clipping_scopes(stores):
    (uniform, ragged), _ = stores
    assert len(set(Preprocess().thresholds(uniform))) == 1 and len(set(Preprocess().thresholds(ragged))) == 2
    assert len(set(Preprocess(scope="layer").thresholds(uniform))) == 3
    assert len(set(Preprocess(scope="tensor").thresholds(ragged))) == 1
    assert np.isinf(Preprocess(1.0).thresholds(uniform)).all()
    for bad in ({"clip_quantile": 0.0}, {"clip_quantile": 1.1}):
        with pytest.raises(ValueError, match="clip_quantile"):
            Preprocess(**bad)


def test_labels_and_reductions(stores):
    xs, ys = stores
    result = align(xs, ys, "cka")
    scores = result.scores("cka")
    assert scores.dims == ("model_x", "model_y") and scores.shape == (2, 2)
    assert list(scores["model_x"].values) == ["org/a", "b"] and list(scores["model_y"].values) == ["c", "d"]
    block = result.layers("cka", "b", "c")
    assert block.shape == (2, 4) and list(block["depth_y"].values) == [0, 1, 2, 3]
    best = result.best("cka").sel(model_x="b", model_y="c")
    row, column = np.unravel_index(block.values.argmax(), block.shape)
    assert (best["depth_x"], best["depth_y"]) == (row, column) and best["layer_y"] == f"layer_{column}"
    assert best["score"] == block.values.max() == scores.sel(model_x="b", model_y="c")
    assert mean_layers(result.layers("cka")).sel(model_x="b", model_y="c") == pytest.approx(block.values.mean())
    with pytest.raises(ValueError, match="no metric 'svcca'"):
        result.layers("svcca")
    with pytest.raises(ValueError, match="no model 'z'.*org/a"):
        result.layers("cka", "z")


def matrix(values, models_x, models_y):
    coords = {
        "model_x": ("layer_x", models_x),
        "model_y": ("layer_y", models_y),
        "layer_name_x": ("layer_x", [f"x{i}" for i in range(len(models_x))]),
        "layer_name_y": ("layer_y", [f"y{i}" for i in range(len(models_y))]),
    }
    return xr.DataArray(np.array(values, np.float32), dims=("layer_x", "layer_y"), coords=coords)


def test_first_best_wins_and_negative_scores_are_scores():
    scores = matrix([[-3, -1, 5], [-1, -2, np.nan], [0, 0, np.nan]], ["a", "a", "b"], ["c", "c", "d"])
    best = best_layers(scores)
    np.testing.assert_array_equal(best["score"], [[-1, 5], [0, np.nan]])
    np.testing.assert_array_equal(best["depth_x"], [[0, 0], [0, -1]])
    np.testing.assert_array_equal(best["depth_y"], [[1, 0], [0, -1]])
    assert best["layer_y"].values.tolist() == [["y1", "y2"], ["y0", ""]]
    assert best_layers(scores, larger_is_closer=False)["score"][0, 0] == -3


def test_one_side_with_itself(stores):
    xs, _ = stores
    for name in ("mutual_knn", "cycle_knn"):
        alone, both = align(xs, metrics=name), align(xs, xs, metrics=name)
        xr.testing.assert_equal(alone.dataset, both.dataset)
    assert np.diag(alone.dataset["cycle_knn"]).max() <= 1
    np.testing.assert_array_equal(np.diag(align(xs, metrics="mutual_knn").layers("mutual_knn")), 1)


def test_tiles_do_not_change_counts(stores, monkeypatch):
    xs, ys = stores
    names = [n for n, cls in prh_jax.METRICS.items() if counts(cls())]
    whole = align(xs, ys, names)
    for tile in (1, 2, 4):
        monkeypatch.setattr(tiling, "TILE", tile)
        xr.testing.assert_identical(align(xs, ys, names).dataset, whole.dataset)


def test_results_come_back_from_disk_and_tell_their_origin(stores, tmp_path):
    xs, ys = stores
    result = align(xs, ys, ["cka:kernel=rbf,sigma=2", "cka", "mutual_knn"])
    assert result.metrics == ["cka:kernel=rbf,sigma=2", "cka", "mutual_knn"]
    path = result.save(tmp_path / "r.zarr")
    again = load_alignment(path)
    assert again.metrics == result.metrics and again.protocol == json.loads(json.dumps(result.protocol))
    for name in result.metrics:
        np.testing.assert_array_equal(again.layers(name), result.layers(name))
        xr.testing.assert_identical(again.scores(name), result.scores(name))
    protocol = again.protocol
    assert protocol["n"] == N and protocol["preprocess"]["clip_quantile"] == 0.95
    assert protocol["metrics"]["cka:kernel=rbf,sigma=2"]["settings"]["sigma"] == 2.0
    assert [m["spec_sha256"] for m in protocol["models_y"]] == [s.spec_sha256 for s in ys]
    with pytest.raises(StoreError, match="already exists"):
        result.save(path)
    result.save(path, overwrite=True)
    chunk = next(p for p in (path / "mutual_knn").rglob("*") if p.is_file() and "c" in p.parts)
    chunk.write_bytes(b"\x00" + chunk.read_bytes()[1:])
    with pytest.raises(StoreError, match="could not be read"):
        load_alignment(path)
    with pytest.raises(StoreError, match="does not exist"):
        load_alignment(tmp_path / "none.zarr")


def test_the_same_study_gives_the_same_bytes(stores, tmp_path):
    xs, ys = stores
    files, metrics = [], [*(set(prh_jax.SUPPORTED_METRICS) - {"svcca"}), "svcca:dim=5"]
    for name in ("one", "two"):
        path = align(xs, ys, metrics).save(tmp_path / f"{name}.zarr")
        files.append({p.relative_to(path): p.read_bytes() for p in path.rglob("*") if p.is_file()})
    assert files[0] == files[1]


def test_the_references_file(stores, tmp_path):
    """Scores (x, y); index pairs (layer of y, layer of x), the first in that order among equal scores."""
    scores = matrix([[1, 2], [2, 1], [4, 3]], ["a", "a", "b"], ["c", "c"])
    dataset = xr.Dataset({"cka": scores})
    dataset = dataset.assign_coords(depth_x=("layer_x", [0, 1, 0]), depth_y=("layer_y", [0, 1]))
    result = prh_jax.Alignment(dataset, {"n": 9, "metrics": {"cka": {"larger_is_closer": True}}})
    path = result.save_npy(tmp_path / "sub" / "cka.npy", "cka")
    contents = np.load(path, allow_pickle=True).item()
    np.testing.assert_array_equal(contents["scores"], [[2], [4]])
    np.testing.assert_array_equal(contents["indices"], [[[0, 1]], [[0, 0]]])


def test_models_of_one_name_are_told_apart(tmp_path):
    one, two = make_store(tmp_path / "1.zarr", "m", (8,)), make_store(tmp_path / "2.zarr", "m", (8,), seed=5)
    assert len(set(align([one, two], metrics="cka").scores("cka")["model_x"].values)) == 2


def test_refusals(stores, tmp_path):
    xs, ys = stores
    swapped = IDS.copy()
    swapped[7], swapped[8] = swapped[8], swapped[7]
    cases = {
        "another order: row 7 is sample 's7'.*'s8'": make_store(tmp_path / "1.zarr", "m", (8,), ids=swapped),
        "other ids: row 0 is sample 's0'.*'t0'": make_store(
            tmp_path / "2.zarr", "m", (8,), ids=[f"t{i}" for i in range(N)]
        ),
        "60 samples but .* has 59": make_store(tmp_path / "3.zarr", "m", (8,), ids=IDS[:-1]),
    }
    for message, store in cases.items():
        with pytest.raises(StoreError, match=message):
            align(xs, store)
    constant = write_features(tmp_path / "4.zarr", [np.ones((N, 8))], spec={"model": "m"}, ids=IDS)
    with pytest.raises(StoreError, match="'layer_0' is constant"):
        align(xs, constant, "cka")
    with pytest.raises(ValueError, match="mutual_knn:k=60 cannot score .*a.zarr.*60 samples.*k = 60"):
        align(xs, ys, ["mutual_knn:k=60", "mutual_knn"])
    with pytest.raises(ValueError, match="svcca cannot score .*b.zarr, layer 'layer_0'.*10 singular vectors"):
        align(xs, ys, "svcca")
    with pytest.raises(ValueError, match="Unknown metric 'knn'"):
        align(xs, ys, "knn")
    with pytest.raises(StoreError, match="no feature store at .*nowhere"):
        align(xs, tmp_path / "nowhere.zarr")
    tiny = make_store(tmp_path / "5.zarr", "m", (8,), ids=IDS[:3])
    with pytest.raises(StoreError, match="3 samples; at least 4"):
        align(tiny, tiny, "cka")
    with pytest.raises(ValueError, match="No metric"):
        align(xs, ys, [])


def test_near_identical_layers_rank_as_in_float64():
    """Mean cosine 0.99 and more: the neighbours in float32 are those of float64."""
    x, y = correlated(n=300, dx=64, dy=48)
    shifted = x + 40
    unit = shifted / np.linalg.norm(shifted, axis=1, keepdims=True)
    assert (unit @ unit.T).mean() > 0.99
    assert float(prh_jax.mutual_knn(shifted, y)) == pytest.approx(ORACLES["mutual_knn"](shifted, y), abs=1e-7)


def test_changed_features_are_not_taken_for_scored_ones(tmp_path):
    store = make_store(tmp_path / "a.zarr", "m", (8, 8))
    first = align(store, metrics="cka", output=tmp_path / "r.zarr")
    again = align(store, metrics="cka", output=tmp_path / "r.zarr", progress=True)
    xr.testing.assert_identical(again.dataset, first.dataset)
    changed = make_store(tmp_path / "a.zarr", "m", (8, 8), seed=7, overwrite=True)
    with pytest.raises(StoreError, match="other features or settings"):
        align(changed, metrics="cka", output=tmp_path / "r.zarr")
    replaced = align(changed, metrics="cka", output=tmp_path / "r.zarr", overwrite=True)
    assert not np.array_equal(replaced.dataset["cka"], first.dataset["cka"])


def test_nothing_but_a_result_is_overwritten_by_one(stores, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    (tmp_path / "notes").write_text("more work")
    store = make_store(tmp_path / "s.zarr", "m", (8,))
    for path in ("thesis", "notes", "s.zarr"):
        with pytest.raises(StoreError, match="is not overwritten"):
            align(store, metrics="cka", output=tmp_path / path, overwrite=True)
        with pytest.raises(StoreError, match="is not overwritten"):
            align(store, metrics="cka").save(tmp_path / path, overwrite=True)
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "years of work"
    assert (tmp_path / "notes").read_text() == "more work" and store.read_layer(0).shape == (N, 8)


@pytest.mark.parametrize("lost", ["mutual_knn/c", "model_x/c", "depth_y/c"])
def test_a_result_that_lost_a_chunk_is_refused(stores, tmp_path, lost):
    path = tmp_path / "r.zarr"
    align(*stores, metrics="mutual_knn", output=path)
    shutil.rmtree(path / lost)
    for read in (load_alignment, lambda p: align(*stores, metrics="mutual_knn", output=p)):
        with pytest.raises(StoreError, match="damaged"):
            read(path)


@pytest.mark.parametrize("change", [{"protocol": "{}"}, {"protocol": None}, {"sha256": "0"}, {"status": "running"}])
def test_a_result_with_unusable_attributes_is_refused(stores, tmp_path, change):
    path = align(*stores, metrics="cka").save(tmp_path / "r.zarr")
    text = json.loads((path / "zarr.json").read_text())
    text["attributes"].update(change)
    (path / "zarr.json").write_text(json.dumps(text))
    with pytest.raises(StoreError, match="damaged|unfinished"):
        load_alignment(path)


def test_an_interrupted_study_goes_on_to_the_same_bits(stores, tmp_path, monkeypatch, capsys):
    xs, ys = stores
    monkeypatch.setattr(tiling, "TILE", 2)
    whole = align(xs, ys, ["cka", "mutual_knn", "svcca:dim=3"])
    put, count = ScoreGrid.put, []

    def stop_after_five(self, *args, **kwargs):
        count.append(args[:3])
        if len(count) == 6:
            raise KeyboardInterrupt
        return put(self, *args, **kwargs)

    monkeypatch.setattr(ScoreGrid, "put", stop_after_five)
    path = tmp_path / "r.zarr"
    with pytest.raises(KeyboardInterrupt):
        align(xs, ys, ["cka", "mutual_knn", "svcca:dim=3"], output=path)
    with pytest.raises(StoreError, match="unfinished"):
        load_alignment(path)
    resumed = align(xs, ys, ["cka", "mutual_knn", "svcca:dim=3"], output=path)
    assert "going on, 22 of 27 tiles are left" in capsys.readouterr().err
    assert len(count) == 6 + 22 - 0 and len(set(count[:5] + count[6:])) == 27
    xr.testing.assert_identical(resumed.dataset, whole.dataset)
    xr.testing.assert_identical(load_alignment(path).dataset, whole.dataset)
    assert [p.name for p in tmp_path.iterdir()] == ["r.zarr"]


def test_sketches_are_made_once_and_kept_in_a_cache(stores, tmp_path, monkeypatch):
    xs, ys = stores
    cache = tmp_path / "sketches"
    first = align(xs, ys, ["cka", "mutual_knn"], sketch_cache=cache)
    assert len(list(cache.iterdir())) == 2 * sum(len(store.layers) for store in (*xs, *ys))

    def refuse(*args, **kwargs):
        raise AssertionError("a sketch was made again")

    monkeypatch.setattr(sketching, "summary_program", refuse)
    xr.testing.assert_identical(align(xs, ys, ["cka", "mutual_knn"], sketch_cache=cache).dataset, first.dataset)
    with pytest.raises(AssertionError, match="made again"):
        align(xs, ys, "cka", sketch_cache=cache, preprocess=Preprocess(0.9))
    victim = next(iter(cache.iterdir()))
    victim.write_bytes(victim.read_bytes()[:-200] + bytes(200))
    with pytest.raises((AssertionError, StoreError)):
        align(xs, ys, ["cka", "mutual_knn"], sketch_cache=cache)


@pytest.mark.parametrize("memory", [1, "20kB", "8GiB"])
def test_scores_do_not_depend_on_the_budget(stores, memory):
    names = ["mutual_knn", "lcs_knn", "edit_distance_knn", "cycle_knn"]
    xr.testing.assert_identical(align(*stores, names, memory=memory).dataset, align(*stores, names).dataset)


def test_a_store_given_twice_is_refused(stores):
    with pytest.raises(StoreError, match="more than once"):
        align([stores[0][0].path, stores[0][0]], metrics="cka")


def test_layers_that_clipping_empties_are_refused(tmp_path):
    words = np.eye(N, 70, dtype=np.float32) * 3
    store = write_features(tmp_path / "w.zarr", [words], spec={"model": "words"}, ids=IDS)
    with pytest.raises(StoreError, match="constant.*clip-quantile 1"):
        align(store, metrics="cka")
    align(store, metrics="cka", preprocess=Preprocess(1.0))


def test_bfloat16_is_asked_for_recorded_and_near(stores):
    xs, ys = stores
    exact, fast = (align(xs, ys, ["cka", "svcca:dim=3"], precision=p) for p in ("float32", "bfloat16"))
    assert "bfloat16" in fast.protocol["precision"] and "bfloat16" not in exact.protocol["precision"]
    for name in exact.metrics:
        difference = np.abs(exact.dataset[name].values - fast.dataset[name].values)
        assert 0 < difference.max() < 0.01  # features keep 8 bits
    with pytest.raises((ValueError, TypeCheckError), match="precision"):
        align(xs, ys, "cka", precision="tf32")


@pytest.mark.parametrize("settings", [{}, {"normalize": False}])
def test_neighbours_by_blocks_are_the_same(settings, monkeypatch):
    """Many samples: blocks of rows, the last one overlapping, give the lists of the whole matrix."""
    from prh_jax.sketches import nearest

    x = jnp.asarray(np.random.default_rng(0).normal(size=(150, 12)) + 3, jnp.float32)
    groups = tuple(i // 3 for i in range(150))
    whole = NeighborSketcher(7, **settings)
    monkeypatch.setattr("prh_jax.sketches.base.MANY", 100)
    for size in (64, 150, 1000):
        monkeypatch.setattr(nearest, "ROWS_PER_BLOCK", size)
        blocked = whole.specialise(SketchContext(150))
        assert blocked != whole and whole.specialise(SketchContext(99)) == whole
        np.testing.assert_array_equal(blocked(x).neighbors, whole(x).neighbors)
        kept_out = whole.specialise(SketchContext(150, groups=groups))(x).neighbors
        one_go = NeighborSketcher(7, groups=groups, **settings)(x).neighbors
        np.testing.assert_array_equal(kept_out, one_go)
    assert (np.asarray(blocked(jnp.ones_like(x)).neighbors) == -1).all()
    with pytest.raises(ValueError, match="150 samples"):
        NeighborSketcher(150).specialise(SketchContext(150))(x)


def test_a_study_of_many_samples_goes_by_blocks(stores, monkeypatch):

    expected = align(*stores, ["mutual_knn", "cycle_knn"])
    monkeypatch.setattr("prh_jax.sketches.base.MANY", 8)
    xr.testing.assert_identical(align(*stores, ["mutual_knn", "cycle_knn"]).dataset, expected.dataset)
