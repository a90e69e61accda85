"""Damage to a store is found: bits that flipped, chunks that were lost or changed places, records that were edited."""

import json

import numpy as np
import pytest
from made_features import chunk_files, forget_contents, make_features, make_ids

from prh_jax.cli.main import main
from prh_jax.errors import CorruptError, ExistsError, StoreError
from prh_jax.stores.inspect import inspect_store
from prh_jax.stores.layout import Layer
from prh_jax.stores.reader import open_store
from prh_jax.stores.writer import open_writer, write_features


@pytest.fixture
def store(tmp_path):
    return write_features(tmp_path / "m.zarr", make_features(), spec={"model": "m", "pool": "mean"}, ids=make_ids())


def test_a_flipped_byte_is_found(store):
    chunk = chunk_files(store)[1]
    data = bytearray(chunk.read_bytes())
    data[100] ^= 1
    chunk.write_bytes(data)
    store.read_layer(0)
    with pytest.raises(StoreError, match="corrupt.*features_16.*checksum"):
        open_store(store.path).read_layer(1)
    assert not inspect_store(store.path).intact


def test_a_missing_chunk_is_found(store):
    chunk_files(store)[2].unlink()
    with pytest.raises(StoreError, match="features_16/c/0/2/0 cannot be read"):
        open_store(store.path).read_layer(1)
    with pytest.raises(StoreError, match="88 samples are missing.*row 512.*'sample/0512'"):
        forget_contents(store).read_layer(1)
    assert not inspect_store(store.path).intact


def swap(one, other):
    held = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(held)


def link(one, other):
    one.unlink()
    one.symlink_to(other)


def edit(file, old, new):
    text = file.read_text()
    assert text.count(old) >= 1
    file.write_text(text.replace(old, new, 1))


DISPLACED = {
    "rows": lambda path: swap(path / "features_24/c/0/0/0", path / "features_24/c/0/1/0"),
    "layers": lambda path: swap(path / "features_24/c/0/0/0", path / "features_24/c/1/0/0"),
    "by link": lambda path: link(path / "features_24/c/0/0/0", path / "features_24/c/0/1/0"),
    "index": lambda path: edit(path / "zarr.json", '"index": 1', '"index": 0'),
    "dtype": lambda path: edit(path / "features_24/zarr.json", '"float16"', '"bfloat16"'),
    "result": lambda path: edit(path / "zarr.json", '"top1": 0.5', '"top1": 0.6'),
}


@pytest.mark.parametrize("change", DISPLACED.values(), ids=DISPLACED)
def test_chunks_that_changed_places_are_found(tmp_path, change):
    spec, result = {"model": "m", "pool": "mean"}, {"top1": 0.5}
    path = tmp_path / "m.zarr"
    made = write_features(path, make_features(), spec=spec, ids=make_ids(), dtype="float16", result=result)
    finished = made.contents_sha256
    assert inspect_store(path).intact
    change(path)
    for use in (lambda s: s.read_layer(0), lambda s: s.read_rows(slice(0, 9)), lambda s: s.checksum()):
        store = open_store(path)
        for _ in range(2):  # a refusal is not forgotten
            with pytest.raises(CorruptError, match="is corrupt"):
                use(store)
    assert not inspect_store(path).intact
    assert finished == open_store(path).contents_sha256 != open_store(path).contents()


def test_a_store_without_a_hash_of_its_contents_is_read_and_said_to_lack_it(store, capsys):
    before = store.checksum()
    assert main(["inspect", str(store.path)]) == 0 and "earlier version" not in capsys.readouterr().out
    assert forget_contents(store).checksum() == before
    assert main(["inspect", str(store.path)]) == 0
    assert "earlier version" in capsys.readouterr().out


def test_a_writer_whose_store_was_made_anew_stops(tmp_path):
    layers, ids = [Layer("a", 24)], make_ids()
    (one, two) = ([x] for x in make_features()[::2])
    old = open_writer(tmp_path / "m.zarr", spec={"k": 1}, ids=ids, layers=layers)
    old.write_block(0, [one[0][:256]])
    new = open_writer(tmp_path / "m.zarr", spec={"k": 2}, ids=ids, layers=layers, overwrite=True)
    assert old.complete is new.complete is False
    for block, rows in enumerate(new.blocks):
        new.write_block(block, [two[0][rows]])
        with pytest.raises(ExistsError, match="made again by another process"):
            old.write_block(block, [one[0][rows]])
    new.finish()
    with pytest.raises(ExistsError, match="made again"):
        old.finish()
    np.testing.assert_array_equal(open_store(tmp_path / "m.zarr").read_layer(0), two[0])


def test_a_writer_whose_store_another_has_finished_goes_on_if_its_features_are_the_same(tmp_path):
    (x,), layers = make_features()[:1], [Layer("a", 24)]
    one, two = (open_writer(tmp_path / "m.zarr", spec={}, ids=make_ids(), layers=layers) for _ in range(2))
    for writer in (one, two):
        for block, rows in enumerate(writer.blocks):
            writer.write_block(block, [x[rows]])
        writer.finish()
    with pytest.raises(StoreError, match="holds other features"):
        two.write_block(0, [x[:256] + 1])
    np.testing.assert_array_equal(open_store(tmp_path / "m.zarr").read_layer(0), x)
    assert inspect_store(tmp_path / "m.zarr").intact


def test_a_truncated_chunk_is_found(store):
    chunk = chunk_files(store)[0]
    chunk.write_bytes(chunk.read_bytes()[:50])
    with pytest.raises(StoreError, match="corrupt"):
        open_store(store.path).read_layer(1)


def test_changed_attributes_are_found(store):
    text = (store.path / "zarr.json").read_text()
    (store.path / "zarr.json").write_text(text.replace('"mean"', '"last"'))
    assert any("spec" in problem for problem in inspect_store(store.path).problems)


@pytest.mark.parametrize(
    "change",
    [
        {"layers": []},
        {"layers": None},
        {"spec": None},
        {"layers": [{"name": "layer_0", "array": "features_24", "index": 9, "dim": 24}]},
        {"layers": [{"name": "layer_0", "array": "features_24", "index": 0, "dim": 23}]},
        {"ids_sha256": "0"},
    ],
)
def test_attributes_that_do_not_fit_are_an_error(tmp_path, change):
    path = write_features(tmp_path / "s.zarr", make_features(), spec={"model": "m"}, ids=make_ids()).path
    attributes = json.loads((path / "zarr.json").read_text())
    attributes["attributes"].update(change)
    (path / "zarr.json").write_text(json.dumps(attributes))
    with pytest.raises(StoreError, match="corrupt"):
        open_store(path).require_complete()


def test_metadata_that_is_lost_or_cut_is_an_error(tmp_path):
    for i, name in enumerate(["features_24/zarr.json", "done/c/1", "sample/c/0"]):
        path = write_features(tmp_path / f"{i}.zarr", make_features(), spec={}, ids=make_ids()).path
        if name.endswith("json"):
            (path / name).write_text((path / name).read_text()[:200])
        else:
            (path / name).unlink()
        with pytest.raises(StoreError, match="corrupt"):
            open_store(path).require_complete()


def grid(chunk):
    return {"name": "regular", "configuration": {"chunk_shape": [chunk]}}


def layer_of(record, **changes):
    record["attributes"]["layers"][0] |= changes
    return record


@pytest.mark.parametrize(
    "record, change",
    [
        ("sample/zarr.json", lambda r: r | {"shape": [10**12]}),
        ("sample/zarr.json", lambda r: r | {"shape": [10**9], "chunk_grid": grid(10**9)}),
        ("done/zarr.json", lambda r: r | {"shape": [10**12]}),
        ("done/zarr.json", lambda r: r | {"fill_value": -1}),
        ("done/zarr.json", lambda r: r | {"chunk_grid": grid(0)}),
        ("zarr.json", lambda r: layer_of(r, index="0")),
        ("zarr.json", lambda r: layer_of(r, index=True)),
        ("zarr.json", lambda r: layer_of(r, dim=None)),
        ("zarr.json", lambda r: layer_of(r, array=["features"])),
        ("zarr.json", lambda r: r | {"attributes": r["attributes"] | {"spec": "m"}}),
    ],
)
def test_an_edited_record_is_named_before_room_is_made_for_it(tmp_path, record, change):
    path = write_features(tmp_path / "m.zarr", make_features(), spec={"model": "m"}, ids=make_ids()).path / record
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(CorruptError, match="is corrupt"):
        open_store(tmp_path / "m.zarr").require_complete()


def test_the_ids_of_many_samples_are_looked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("prh_jax.stores.reader.MANY", 10)
    store = write_features(tmp_path / "m.zarr", make_features(), spec={"model": "m"}, ids=make_ids())
    (store.path / "sample/c/0").unlink()
    with pytest.raises(CorruptError, match=f"the ids of {store.n} samples are gone"):
        open_store(store.path)
