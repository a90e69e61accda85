"""The store keeps what it was given, to the bit, through kills, full disks and damage; and says so when it cannot."""

import io
import os
import signal
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import xarray as xr
from jaxtyping import TypeCheckError
from made_features import N, make_features, make_ids

from prh_jax.errors import StoreError
from prh_jax.stores.checks import check_ids, check_same_samples
from prh_jax.stores.inspect import inspect_store
from prh_jax.stores.layout import SAMPLES_PER_BLOCK, Layer, blocks_of, store_path
from prh_jax.stores.reader import finite_rows, open_store
from prh_jax.stores.writer import open_writer, write_features


@pytest.fixture
def store(tmp_path):
    return write_features(tmp_path / "m.zarr", make_features(), spec={"model": "m", "pool": "mean"}, ids=make_ids())


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_layers_come_back_as_written(tmp_path, dtype):
    features = make_features()
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
    store = write_features(tmp_path / "s.zarr", features, spec={"model": "m"}, ids=make_ids(), dtype=dtype)
    for i, x in enumerate(features):
        assert store.read_layer(i).dtype == kind
        np.testing.assert_array_equal(store.read_layer(i), x.astype(kind))
        blocks = np.concatenate([store.read_rows(rows)[i] for rows in blocks_of(store.n)])
        np.testing.assert_array_equal(blocks, x.astype(kind))
    assert store.ids == make_ids() and store.complete
    report = inspect_store(store.path)
    assert report.intact and report.blocks_done == report.blocks == 3


def test_xarray_opens_a_store_with_its_labels(tmp_path):
    features = make_features()[:1]
    path = write_features(tmp_path / "s.zarr", {"blocks.0": features[0]}, spec={}, ids=make_ids()).path
    opened = xr.open_zarr(path, consolidated=False)
    assert opened["features"].dims == ("layer", "sample", "feature")
    assert list(opened["layer"].values) == ["blocks.0"] and list(opened["sample"].values) == make_ids()
    np.testing.assert_array_equal(opened["features"].sel(sample="sample/0003", layer="blocks.0"), features[0][3])


def test_specs_are_told_apart_and_named(store):
    layers, common = store.layers, {"ids": make_ids(), "dtype": "float32"}
    assert open_writer(store.path, spec=store.spec, layers=layers, **common).complete
    with pytest.raises(StoreError, match="pool = 'mean'.*'cls'.*force-remake"):
        open_writer(store.path, spec={"model": "m", "pool": "cls"}, layers=layers, **common)
    with pytest.raises(StoreError, match="layers"):
        open_writer(store.path, spec=store.spec, layers=layers[:2], **common)
    with pytest.raises(StoreError, match="float32.*bfloat16"):
        open_writer(store.path, spec=store.spec, layers=layers, ids=make_ids(), dtype="bfloat16")
    ids = make_ids()
    ids[3], ids[4] = ids[4], ids[3]
    with pytest.raises(StoreError, match="another order: row 3 is sample 'sample/0003'.*'sample/0004'"):
        open_writer(store.path, spec=store.spec, layers=layers, ids=ids)
    assert inspect_store(store.path).intact


def test_overwrite_replaces_the_store(store):
    new = write_features(
        store.path, make_features()[:1], spec={"model": "new"}, ids=make_ids(), layer_names=["a"], overwrite=True
    )
    assert new.model == "new" and len(new.layers) == 1
    assert [p.name for p in store.path.parent.iterdir()] == ["m.zarr"]


def test_a_nan_is_refused_before_anything_is_written(tmp_path):
    writer = open_writer(tmp_path / "s.zarr", spec={"model": "m"}, ids=make_ids(), layers=[Layer("a", 4)])
    bad = np.ones((SAMPLES_PER_BLOCK, 4), np.float32)
    bad[7, 2] = np.nan
    with pytest.raises(StoreError, match=r"'a' of m gave NaN.*'sample/0007'"):
        writer.write_block(0, [bad])
    with pytest.raises(StoreError, match="shapes"):
        writer.write_block(0, [bad[:5]])
    assert writer.pending() == [0, 1, 2]
    with pytest.raises(StoreError, match="unfinished: 0 of 3"):
        open_store(writer.path).require_complete()
    with pytest.raises(StoreError, match=r"blocks \[0, 1, 2\]"):
        writer.finish()


@pytest.mark.parametrize("dtype", ["float32", "float16", ml_dtypes.bfloat16], ids=str)
def test_rows_that_are_not_finite_are_found(dtype):
    rows = np.random.default_rng(0).normal(size=(6, 3)).astype(dtype)
    rows[1, 2], rows[3, 0], rows[4, 1], rows[5, 1] = np.nan, np.inf, -np.inf, np.finfo(np.float16).max
    assert finite_rows(rows).tolist() == [True, False, True, False, False, True]


def test_overflow_of_a_two_byte_float_is_refused(tmp_path):
    with pytest.raises(StoreError, match="as float16"):
        write_features(tmp_path / "s.zarr", [np.full((300, 4), 1e6)], spec={}, ids=make_ids(300), dtype="float16")


@pytest.mark.parametrize("ids", [[], ["a", "b", "a"]])
def test_ids_must_be_unique_and_some(tmp_path, ids):
    with pytest.raises(StoreError, match="empty" if not ids else "'a' occurs twice"):
        write_features(tmp_path / "s.zarr", [np.ones((len(ids), 2))], spec={}, ids=ids)
    assert not list(tmp_path.iterdir())


def test_foreign_folders_are_refused(tmp_path, store):
    with pytest.raises(StoreError, match="no feature store at"):
        open_store(tmp_path / "nowhere.zarr")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(StoreError, match="not a feature store"):
        open_store(tmp_path / "empty.zarr")
    text = (store.path / "zarr.json").read_text()
    (store.path / "zarr.json").write_text(text.replace("prh-jax/features/1", "prh-jax/features/9"))
    with pytest.raises(StoreError, match="features/9.*features/1"):
        open_store(store.path)


def test_paths_stay_below_the_root_and_apart(tmp_path):
    assert store_path("r", "a/b", "s", "x/y", "mean").as_posix() == "r/a/b/s/x--y_pool-mean.zarr"
    assert store_path("r", "a", None, "a/b_c", "cls") != store_path("r", "a", None, "a_b/c", "cls")
    deep = [store_path("r", "a", None, f"/home/{'ü' * 80}/{a}/{'b' * 90}/model", "cls").name for a in "xy"]
    assert deep[0] != deep[1] and all(name.endswith("b--model_pool-cls.zarr") for name in deep)
    assert all(len(name.encode()) <= 245 for name in deep)
    assert store_path("r", "/etc/../a", "s", "/m", "cls", caption_index=2, prompt=True).as_posix() == (
        "r/etc/a/s/m_pool-cls_prompt-True_cid-2.zarr"
    )


TESTS = [os.path.dirname(__file__), os.path.dirname(os.path.dirname(__file__))]
WRITER = """
import sys, time
import numpy as np
from prh_jax.stores.layout import Layer
from prh_jax.stores.writer import open_writer
sys.path[:0] = {tests!r}
from made_features import make_features, make_ids
n = 256 * 12
layers = [Layer(f"l{{i}}", d) for i, d in enumerate((24, 16, 24))]
writer = open_writer({path!r}, spec={{"model": "m"}}, ids=make_ids(n), layers=layers,
                     sample_arrays={{"nats": "float64"}})
features = make_features(n=n)
print("ready", flush=True)
for block in writer.pending():
    rows = writer.blocks[block]
    writer.write_block(block, [f[rows] for f in features], nats=np.arange(rows.start, rows.stop) / 3)
    print(block, flush=True)
    time.sleep(0.005)
writer.finish({{"loss": float(writer.sample_array("nats").mean())}}, {{}})
"""


def contents(path):
    """Every file of a store by its relative path: two stores with equal contents are the same store."""
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def test_a_killed_writer_resumes_to_the_same_bits(tmp_path):
    def start(name):
        code = WRITER.format(path=str(tmp_path / name), tests=TESTS)
        return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)

    whole = start("whole.zarr")
    assert whole.wait(60) == 0
    interrupted = 0
    for delay in (0.0, 0.004, 0.011, 0.03):
        process = start("killed.zarr")
        assert process.stdout.readline() == "ready\n"
        process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        interrupted += process.wait() == -signal.SIGKILL
        assert inspect_store(tmp_path / "killed.zarr").intact
    assert interrupted >= 2
    assert start("killed.zarr").wait(60) == 0
    assert contents(tmp_path / "killed.zarr") == contents(tmp_path / "whole.zarr")


def test_look_alike_and_missing_ids_are_told():
    composed, split = (["a", unicodedata.normalize(form, "é")] for form in ("NFC", "NFD"))
    with pytest.raises(StoreError, match="look alike.*row 1 is"):
        check_same_samples("a", composed, "b", split)
    assert check_ids([b"a", 7, np.str_("b"), np.int64(3)]) == ["a", "7", "b", "3"]
    for odd, words in ((b"\xe9", "no text in UTF-8"), ("\udce9.png", "no text in UTF-8"), (["a"], "is a list")):
        with pytest.raises(StoreError, match=f"id of row 1.*{words}"):
            check_ids(["a", odd])
    assert check_ids(np.array(["x", "null"])) == ["x", "null"] and check_ids(np.arange(2)) == ["0", "1"]
    for unordered in ("ab", {"a", "b"}):
        with pytest.raises(StoreError, match="give a list with the id of each sample"):
            check_ids(unordered)
    for wrong in (np.array("a"), io.StringIO("a")):
        with pytest.raises(StoreError, match="give a list with the id of each sample"):
            check_ids(wrong)
    for gap in (None, float("nan"), np.ma.masked, ""):
        with pytest.raises(StoreError, match="1 of 3 samples have no id, such as row 1"):
            check_ids(["a", gap, "b"])


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    """A write that fails with ENOSPC leaves the block undone and the blocks before it whole."""
    import errno

    import zarr

    writer = open_writer(tmp_path / "s.zarr", spec={"model": "m"}, ids=make_ids(), layers=[Layer("a", 4)])
    features = make_features()[0][:, :4]
    writer.write_block(0, [features[:SAMPLES_PER_BLOCK]])
    original = zarr.Array.__setitem__

    def full(self, *args):
        if self.basename == "features":
            raise OSError(errno.ENOSPC, "No space left on device")
        original(self, *args)

    monkeypatch.setattr(zarr.Array, "__setitem__", full)
    with pytest.raises(StoreError, match="disk is full.*run the same command again"):
        writer.write_block(1, [features[SAMPLES_PER_BLOCK : 2 * SAMPLES_PER_BLOCK]])
    monkeypatch.undo()
    again = open_writer(tmp_path / "s.zarr", spec={"model": "m"}, ids=make_ids(), layers=[Layer("a", 4)])
    assert again.pending() == [1, 2]
    np.testing.assert_array_equal(
        open_store(again.path).read_rows(slice(0, SAMPLES_PER_BLOCK))[0], features[:SAMPLES_PER_BLOCK]
    )


def test_other_features_under_the_same_name_are_refused(tmp_path):
    features, path = make_features(), tmp_path / "s.zarr"
    write_features(path, features, spec={"model": "m"}, ids=make_ids())
    write_features(path, features, spec={"model": "m"}, ids=make_ids())
    features[1] = features[1] + 1
    with pytest.raises(StoreError, match="other features for layer 'layer_1'.*overwrite=True"):
        write_features(path, features, spec={"model": "m"}, ids=make_ids())
    store = write_features(path, features, spec={"model": "m"}, ids=make_ids(), overwrite=True)
    np.testing.assert_array_equal(store.read_layer(1), features[1].astype(np.float32))


def test_only_feature_stores_are_overwritten(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("more work")
    for name in ("folder", "file"):
        with pytest.raises(StoreError, match="is not overwritten"):
            write_features(tmp_path / name, make_features(), spec={}, ids=make_ids(), overwrite=True)
    assert (tmp_path / "folder" / "thesis.tex").exists() and (tmp_path / "file").read_text() == "more work"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"layer_names": ["a"]}, "1 layer names were given for 3 layers"),
        ({"layer_names": ["a", "b", "a"]}, "named 'a'"),
        ({"spec": {"model": Path("x")}}, "plain JSON values"),
        ({"ids": None}, "ids"),
        ({"features": [np.full((N, 4), np.nan)]}, "nothing was written"),
        ({"features": [np.full((N, 4), 1j)]}, "real numbers"),
        ({"features": [np.full((N, 4), "a")]}, "real numbers"),
        ({"features": [np.zeros((N, 0))]}, "has no features"),
    ],
)
def test_what_cannot_be_stored_leaves_nothing_behind(tmp_path, arguments, message):
    arguments = {"features": make_features(), "spec": {}, "ids": make_ids()} | arguments
    with pytest.raises((StoreError, TypeCheckError), match=message):
        write_features(tmp_path / "s.zarr", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_checksum_names_the_contents(tmp_path):
    features = make_features()
    one, same = (
        write_features(tmp_path / f"{i}.zarr", features, spec={"model": "m"}, ids=make_ids()).checksum() for i in "ab"
    )
    features[2][-1, -1] += 1
    other = write_features(tmp_path / "c.zarr", features, spec={"model": "m"}, ids=make_ids()).checksum()
    assert one == same != other
