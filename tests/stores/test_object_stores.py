"""Results and sketches at URLs: workers without a shared folder, in a file system in memory."""

from pathlib import Path

import fsspec
import jax
import numpy as np
import pytest
import xarray as xr
from fsspec.implementations.memory import MemoryFileSystem
from inputs import make_store
from made_results import calibrated, made_result

import prh_jax
from prh_jax import align as align_function
from prh_jax.cli.main import main
from prh_jax.engine.sketch_bank import SketchBank
from prh_jax.errors import StoreError
from prh_jax.metrics.registry import METRICS
from prh_jax.results.calibration import save_calibration
from prh_jax.results.null_grid import NullGrid
from prh_jax.results.score_grid import ScoreGrid
from prh_jax.results.storage import create_result, digest
from prh_jax.stores.location import place
from prh_jax.stores.publish import publish
from prh_jax.stores.url import Url
from prh_jax.study.align import align_share

METRIC_NAMES = ["cka"]
URL = "memory://bucket/shared.zarr"
LAYERS, TILE = 6, 2
TILES = len(METRIC_NAMES) * (LAYERS // TILE) ** 2


@pytest.fixture(scope="module", autouse=True)
def small_tiles():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("prh_jax.study.study.fit_tile", lambda *_, **__: TILE)
        yield


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    MemoryFileSystem.store.clear()


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    return [make_store(folder / f"m{m}.zarr", f"m{m}", [8, 8, 8], seed=m) for m in range(4)]


@pytest.fixture(scope="module")
def whole(stores):
    return align_function(stores[:2], stores[2:], METRIC_NAMES)


def share(stores, index, count, **options):
    return align_share(index, count, stores[:2], stores[2:], METRIC_NAMES, output=URL, progress=False, **options)


def objects(url=URL):
    """What is at a URL, by name."""
    return {name: Url(url) / name for name in Url(url).below()}


def contents(url=URL):
    return {name: where.read_bytes() for name, where in objects(url).items()}


def same(one, other):
    assert one.metrics == other.metrics
    for key in one.metrics:
        np.testing.assert_array_equal(one.dataset[key].values, other.dataset[key].values)


def test_workers_in_any_order_give_the_result_of_one(stores, whole, monkeypatch):
    put, written, sketches = SketchBank.put, [], Url("memory://bucket/.shared.zarr.sketches")
    monkeypatch.setattr(SketchBank, "put", lambda self, *args: written.append(args[:2]) or put(self, *args))
    for index in (2, 0):
        assert not share(stores, index, 3)
        assert len(written) == len(set(written)) == len(sketches.below())
    assert share(stores, 1, 3)
    assert len(written) == len(set(written)) == len(METRIC_NAMES) * 2 * LAYERS and not sketches.exists()
    same(prh_jax.load_alignment(URL), whole)
    before = contents()
    assert share(stores, 0, 3) and contents() == before  # nothing left, and nothing harmed


def test_a_killed_worker_is_made_up_for(stores, whole, monkeypatch):
    put, puts = ScoreGrid.put, []

    def killed(self, *args, **options):
        if len(puts) == 3:
            raise KeyboardInterrupt
        puts.append(args)
        return put(self, *args, **options)

    monkeypatch.setattr(ScoreGrid, "put", killed)
    with pytest.raises(KeyboardInterrupt):
        share(stores, 0, 1)
    with pytest.raises(StoreError, match="unfinished"):
        prh_jax.load_alignment(URL)
    monkeypatch.setattr(ScoreGrid, "put", lambda *args, **options: puts.append(args) or put(*args, **options))
    same(prh_jax.finish_alignment(URL, progress=False), whole)
    same(prh_jax.load_alignment(URL), whole)
    assert len(puts) == TILES


def grid(path=URL, tile=TILE, **options):
    labels = made_result({"a": 4}, {"b": 4})
    empty = {key: (("layer_x", "layer_y"), np.full((4, 4), np.nan, np.float32)) for key in labels.metrics}
    dataset = labels.dataset.drop_vars(labels.metrics).assign(empty)
    return ScoreGrid(dataset, labels.provenance, dict.fromkeys(labels.metrics, tile), place(path), **options)


def test_who_creates_second_destroys_nothing(monkeypatch):
    exists = Url.exists
    first = grid()
    assert not [name for name in objects() if "/c/" in name and name.split("/")[0] in ("cka", "done")]
    first.put("cka", 0, 1, np.full((TILE, TILE), 0.5, np.float32))
    before, asked = contents(), []

    def nothing_yet(self):
        if self == Url(URL) and len(asked) < 3:
            asked.append(self)
            return False
        return exists(self)

    monkeypatch.setattr(Url, "exists", nothing_yet)
    with pytest.raises(StoreError, match="came to exist while"):
        create_result(first.dataset, first.provenance, Url(URL), overwrite=False, status="running", tile={"cka": 1})
    asked.clear()
    second = grid(tile=1)
    assert contents() == before
    assert second.tile == {"cka": TILE} and second.finished == 1 and second.done("cka", 0, 1)


def test_a_creator_that_died_after_the_root_is_made_up_for():
    labels = grid().dataset
    before = contents()
    for name, where in objects().items():
        if name != "zarr.json":
            where.remove()
    again = grid(tile=1)
    assert contents() == before
    for x, y in np.ndindex(2, 2):
        again.put("cka", x, y, np.full((TILE, TILE), x + 2.0 * y, np.float32))
    again.finish()
    found = prh_jax.load_alignment(URL).dataset
    assert list(found["layer_name_x"].values) == list(labels["layer_name_x"].values)
    np.testing.assert_array_equal(found["cka"], np.kron([[0, 2], [1, 3]], np.ones((2, 2))))


def test_a_tile_is_put_without_reading_and_one_of_nan_counts(monkeypatch):
    one, read = grid(), []
    one.put("cka", 1, 1, np.full((TILE, TILE), 3.0, np.float32))
    cat = MemoryFileSystem.cat_file
    monkeypatch.setattr(MemoryFileSystem, "cat_file", lambda self, path, **o: read.append(path) or cat(self, path, **o))
    one.put("cka", 0, 0, np.full((TILE, TILE), np.nan, np.float32))
    one.put("cka", 1, 1, np.full((TILE, TILE), 4.0, np.float32))
    assert all(path.endswith("zarr.json") for path in read)
    other = grid()
    assert other.done("cka", 0, 0) and other.finished == 2
    assert np.isnan(other._values["cka"][:2]).all() and (other._values["cka"][2:, 2:] == 4).all()


def test_a_result_is_replaced_whole_and_nothing_else_is(stores):
    large, small = made_result({"a": 3}, {"b": 2}, ["cka", "cca"]), made_result({"a": 2}, {"b": 2})
    assert large.save(URL) == Url(URL)
    with pytest.raises(StoreError, match="already exists"):
        small.save(URL)
    small.save(URL, overwrite=True)
    same(prh_jax.load_alignment(URL), small)
    small.save("memory://bucket/fresh.zarr")
    assert set(objects()) == set(objects("memory://bucket/fresh.zarr"))
    for name in ("notes.txt", "zarr.json"):
        there = Url("memory://bucket/mine") / name
        there.write_bytes(b'{"attributes": {"schema": "another"}}')
        for path in ("memory://bucket/mine", "memory://bucket"):
            with pytest.raises(StoreError, match="is not overwritten"):
                align_function(stores[0], None, "cka", output=path, overwrite=True)
        assert objects("memory://bucket/mine")
        with pytest.raises(StoreError, match="no result|schema|could not be read"):
            align_function(stores[0], None, "cka", output="memory://bucket/mine")
        there.remove()
    with pytest.raises(StoreError, match="does not exist"):
        prh_jax.load_alignment("memory://bucket/none.zarr")


def test_what_is_left_of_an_interrupted_removal_is_no_result(monkeypatch):
    made_result({"a": 2}, {"b": 2}).save(URL)
    (Url(URL) / "zarr.json").remove()
    with pytest.raises(StoreError, match="holds something, but no result"):
        prh_jax.load_alignment(URL)


def test_who_is_too_late_with_a_whole_result_is_told():
    def build(store):
        xr.Dataset({"a": ("i", [1])}).to_zarr(store, zarr_format=3, consolidated=False)

    publish(build, Url(URL), overwrite=False)
    with pytest.raises(StoreError, match="came to exist"):
        publish(build, Url(URL), overwrite=False)


def test_calibrations(tmp_path):
    result = calibrated(made_result({"a": 2, "b": 1}, {"c": 2}), lambda *_: 0.2)
    result.save(URL)
    result.save(URL, overwrite=True)
    found = prh_jax.load_alignment(URL).calibration
    assert found is not None and found.dataset.equals(result.calibration.dataset)
    scores, blocks, pairs = digest(result.dataset), [slice(0, 2), slice(2, 4)], (1, 4, 1, 1)
    one = NullGrid(pairs, (2, 2), blocks, {"orders": 4}, cells=True, path=Url(URL), scores=scores)
    one.put(0, 1, np.full((2, 1, 1), 0.5), np.ones((2, 2), int), np.full((2, 2, 2), 0.25))
    again = NullGrid(pairs, (2, 2), blocks, {"orders": 4}, cells=True, path=Url(URL), scores=scores)
    assert again.done(0, 1) and not again.done(0, 0) and again.reached.sum() == 4
    np.testing.assert_array_equal(again.null[0, :, 0, 0], [np.nan, np.nan, 0.5, 0.5])
    assert NullGrid(pairs, (2, 2), blocks, {"orders": 5}, cells=True, path=Url(URL), scores=scores).finished == 0
    save_calibration(result.calibration, Url(URL), scores)
    assert not [name for name in objects() if "growing" in name]


def test_sketches_that_are_damaged_or_gone():
    metric, sketch = METRICS["cka"](), np.arange(6.0)
    bank = SketchBank("memory://bucket/sketches", in_memory=False)
    assert not bank.has(metric.sketcher, "layer")
    bank.put(metric.sketcher, "layer", sketch)
    treedef = jax.tree.structure(sketch)
    np.testing.assert_array_equal(bank.get(metric.sketcher, "layer", treedef), sketch)
    (there,) = objects("memory://bucket/sketches").values()
    there.write_bytes(there.read_bytes()[:100])
    with pytest.raises(StoreError, match="is damaged and was removed"):
        bank.get(metric.sketcher, "layer", treedef)
    assert not bank.has(metric.sketcher, "layer")
    with pytest.raises(StoreError, match="is gone"):
        bank.get(metric.sketcher, "layer", treedef)


def test_commands_take_urls(stores, whole, tmp_path, capsys):
    fsspec.filesystem("memory").put(str(stores[0].path), "/bucket/m0.zarr", recursive=True)
    x, y = ["memory://bucket/m0.zarr", str(stores[1].path)], [str(s.path) for s in stores[2:]]
    command = ["align", "--x", *x, "--y", *y, "--metric", *METRIC_NAMES, "-o", URL]
    assert main([*command, "--npy"]) == 2 and "--npy" in capsys.readouterr().err and not objects()
    assert main([*command, "--worker", "1/2"]) == 0
    assert f"{URL}: not complete yet" in capsys.readouterr().out
    assert main(["show", URL]) == 2 and "unfinished" in capsys.readouterr().err
    assert main(["finish", URL]) == 0
    same(prh_jax.load_alignment(URL), whole)
    assert main(["export", URL, "-o", str(tmp_path / "r.csv")]) == 0
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 1 + len(METRIC_NAMES) * LAYERS**2
    assert main(["inspect", URL]) == main(["show", URL]) == 0
    assert main(["merge", URL, "-o", "memory://bucket/merged.zarr"]) == 0
    same(prh_jax.load_alignment("memory://bucket/merged.zarr"), whole)
    capsys.readouterr()
    for words in (["export", URL, "-o", "memory://bucket/r.csv"], ["report", URL, "-o", "memory://bucket/r.html"]):
        assert main([*words, *["--no-gallery"] * (words[0] == "report")]) == 2
        assert "written to disk only" in capsys.readouterr().err
    assert main(["finish", "memory://bucket/none.zarr"]) == 2
    assert "could not be read as a result" in capsys.readouterr().err


def test_what_file_systems_refuse_is_told_with_the_way_out(stores, monkeypatch, capsys):
    command = ["align", "--x", str(stores[0].path), "-o"]
    assert main([*command, "s3://bucket/r.zarr"]) == 2
    assert 'pip install "prh-jax[remote]"' in capsys.readouterr().err
    assert main([*command, "nowhere://bucket/r.zarr"]) == 2
    assert "nowhere" in capsys.readouterr().err

    class Refused(Exception):
        """Of a provider's own kind."""

    for error in (PermissionError("Access Denied"), FileNotFoundError("no such bucket"), Refused("no account")):
        monkeypatch.setattr(MemoryFileSystem, "pipe_file", lambda *_, error=error, **__: (_ for _ in ()).throw(error))
        assert main([*command, URL]) == 2
        told = capsys.readouterr().err
        assert f"could not be written: {error}" in told and "~/.config/fsspec" in told


def test_places():
    assert place("file:///a/r.zarr") == Path("/a/r.zarr") and place("a/r.zarr") == Path("a/r.zarr")
    url = place("s3://bucket/r.zarr/")
    assert url == Url("s3://bucket/r.zarr/") and url.name == "r.zarr" and url.stem == "r"
    assert str(url.with_name(".x")) == "s3://bucket/.x" and str(url / "zarr.json") == "s3://bucket/r.zarr/zarr.json"
