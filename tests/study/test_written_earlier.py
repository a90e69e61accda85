"""What version 0.1.0 wrote opens, verifies and continues; `data/build_written_earlier.py` made it.

Numbers that were written are read to the bit. Where a study or a null goes on, what was done is kept to the bit, and
counts are those of then; other scores agree to rounding, as processors differ.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

import prh_jax
from prh_jax import IncompleteError, Null, align, load_alignment, open_store
from prh_jax.stores.archive import unpack
from prh_jax.stores.writer import open_writer

METRICS = ["mutual_knn", "cka", "cknna"]
NULL = Null(orders=20, seed=3, cells=True)


@pytest.fixture
def written(tmp_path):
    shutil.unpack_archive(Path(__file__).parent / "data" / "written_earlier.tar.gz", tmp_path, filter="data")
    return tmp_path / "written"


@pytest.fixture
def study(written):
    """x, y and the folder, with what the scores were then."""
    expected = np.load(written / "expected.npz", allow_pickle=False)
    return [written / "one.zarr", written / "two.zarr"], [written / "three.zarr", written / "two.zarr"], expected


def check_scores(result, expected):
    np.testing.assert_array_equal(result.dataset["mutual_knn"].values, expected["mutual_knn"])
    for name in METRICS:
        np.testing.assert_allclose(result.dataset[name].values, expected[name], atol=3e-6)


def test_feature_stores_open_and_are_intact(written):
    layers = {"one": [8, 8, 8], "two": [9, 12], "three": [5]}
    for name, widths in layers.items():
        report = prh_jax.inspect_store(written / f"{name}.zarr")
        assert report.intact and report.store.complete
        assert [layer.dim for layer in report.store.layers] == widths and report.store.n == 32
    store = open_store(written / "three.zarr.zip")
    np.testing.assert_array_equal(store.read_layer(0), open_store(written / "three.zarr").read_layer(0))
    assert store.checksum() == open_store(written / "three.zarr").checksum()
    assert prh_jax.inspect_store(unpack(written / "three.zarr.zip", written / "again.zarr")).intact


def test_an_unfinished_store_goes_on(written):
    path = written / "unfinished.zarr"
    with pytest.raises(IncompleteError, match="1 of 2 blocks"):
        open_store(path).require_complete()
    features = [np.load(written / "unfinished.npz")[name] for name in ("arr_0", "arr_1")]
    spec, layers = open_store(path).spec, open_store(path).layers
    writer = open_writer(path, spec=spec, ids=[f"s{i}" for i in range(260)], layers=layers)
    assert writer.pending() == [1]
    writer.write_block(1, [layer[256:] for layer in features])
    writer.finish()
    for i, layer in enumerate(features):
        np.testing.assert_array_equal(open_store(path).require_complete().read_layer(i), layer)


def test_a_result_and_its_calibration_are_read_to_the_bit(written, study):
    expected = study[2]
    result = load_alignment(written / "whole.zarr")
    for name in METRICS:
        np.testing.assert_array_equal(result.dataset[name].values, expected[name])
        pairs = result.calibration.pairs(name)
        for table in pairs.data_vars:
            np.testing.assert_array_equal(pairs[table].values, expected[f"{name}/{table}"])
        np.testing.assert_array_equal(result.calibration.cells(name)["null_cell"], expected[f"{name}/null_cell"])
    assert result.provenance.n == 32 and list(result.provenance.metrics) == METRICS
    assert [model.label for model in result.provenance.models_y] == ["three", "two [random init 0]"]


def test_a_finished_result_is_known_again(written, study, capsys):
    xs, ys, _ = study
    before = (written / "whole.zarr" / "zarr.json").read_bytes()
    result = align(xs, ys, METRICS, output=written / "whole.zarr", null=NULL)
    assert "already holds this result" in capsys.readouterr().err and result.calibration is not None
    assert (written / "whole.zarr" / "zarr.json").read_bytes() == before
    itself = align(xs, metrics=METRICS, output=written / "itself.zarr", null=Null(orders=20, seed=3), progress=False)
    assert itself.provenance.stores_y is None


def test_an_interrupted_study_goes_on(written, study):
    xs, ys, expected = study
    path = written / "tiles.zarr"
    group = zarr.open_group(path, mode="r")
    done = {name: np.asarray(group[f"done/{name}"][...]).astype(bool) for name in METRICS}
    kept = {name: np.asarray(group[name][...]) for name in METRICS}
    assert 0 < sum(marks.sum() for marks in done.values()) < sum(marks.size for marks in done.values())
    result = align(xs, ys, METRICS, output=path, progress=False)
    check_scores(result, expected)
    xr.testing.assert_allclose(result.dataset, align(xs, ys, METRICS, progress=False).dataset, atol=2e-6)
    for name in METRICS:
        were = np.repeat(np.repeat(done[name], 2, axis=0), 2, axis=1)[: kept[name].shape[0], : kept[name].shape[1]]
        np.testing.assert_array_equal(result.dataset[name].values[were], kept[name][were])
    assert not (written / ".tiles.zarr.sketches").exists()


def test_an_interrupted_null_goes_on(written, study):
    xs, ys, expected = study
    path = written / "null.zarr"
    assert (path / "calibration_growing").exists()
    result = align(xs, ys, METRICS, output=path, null=NULL, progress=False)
    check_scores(result, expected)
    assert not (path / "calibration_growing").exists()
    for name in METRICS:
        found = result.calibration.cells(name)["null_cell"].values
        np.testing.assert_allclose(found, expected[f"{name}/null_cell"], atol=3e-6)
        np.testing.assert_allclose(result.calibration.pairs(name)["p"], expected[f"{name}/p"], atol=1e-12)
    np.testing.assert_array_equal(result.calibration.cells("mutual_knn")["null_cell"], expected["mutual_knn/null_cell"])
