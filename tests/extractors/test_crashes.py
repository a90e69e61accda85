"""Killed, shared between workers, out of disk or memory: the store is, to the bit, that of a run left alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from extractors.datasets.loading import load
from extractors.errors import ExtractionError
from extractors.models import language
from extractors.pipeline.batches import BatchSize, extract_block
from extractors.pipeline.run import Settings, extract, extract_model
from prh_jax import inspect_store, open_store, write_features
from prh_jax.errors import StoreError
from prh_jax.runtime.workers import Worker
from prh_jax.stores.archive import pack, unpack


def contents(output):
    """Every file of the one store below a folder, without the seconds that the run took."""
    (path,) = Path(output).rglob("[!.]*.zarr")
    files = {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}
    store = open_store(path)
    files["zarr.json"] = repr((store.spec, store.spec_sha256, store.ids_sha256, store.result, store.complete)).encode()
    return files


@pytest.fixture(scope="module")
def crashes(tmp_path_factory, checkpoint):
    folder = tmp_path_factory.mktemp("crashes")
    driver = Path(__file__).with_name("crash_driver.py")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, str(driver), str(folder), checkpoint("llama")],
        capture_output=True,
        text=True,
        env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["whole"] == 0
    return folder, found


def test_ten_kills_at_random_moments_leave_no_trace(crashes):
    folder, found = crashes
    killed = found["killed"]
    assert killed["kills"] == 10 and killed["damaged"] == 0 and set(killed["statuses"]) == {0}
    whole = contents(folder / "whole")
    for i in range(killed["stores"]):
        assert contents(folder / f"killed-{i}") == whole


@pytest.mark.parametrize("count", [2, 4])
def test_workers_at_once_write_what_one_writes(crashes, count):
    folder, found = crashes
    assert found[f"workers-{count}"] == [0] * count
    assert contents(folder / f"workers-{count}") == contents(folder / "whole")


def test_a_killed_worker_is_made_up_for_by_the_next_run(crashes):
    folder, found = crashes
    assert found["lamed"] == [0, 0, -9, 0]
    assert found["finish"] == 2  # blocks are missing, and it says so
    assert found["next"] == 0
    assert contents(folder / "lamed") == contents(folder / "whole")


def test_the_last_worker_finishes_and_finish_does_it_too(tmp_path, checkpoint, few):
    from prh_jax.cli.main import main

    model, output = checkpoint("gpt2"), tmp_path / "out"
    paths = [
        extract_model(model, few, Settings(output_dir=output, worker=Worker(i, 2)), modality="language") for i in (1, 0)
    ]
    whole = extract_model(model, few, Settings(output_dir=tmp_path / "whole"), modality="language")
    assert open_store(paths[0]).complete and contents(output) == contents(tmp_path / "whole")
    # a worker killed between its last block and the end: all blocks done, nobody finished
    record = json.loads((whole / "zarr.json").read_text())
    result = record["attributes"]["result"]
    assert result["loss"] > 0 and result["params_total"] > 0
    known = {name: result[name] for name in ("params_total", "params_backbone", "weights")}  # before any sample is read
    record["attributes"] |= {"status": "running", "result": known}
    (whole / "zarr.json").write_text(json.dumps(record))
    assert main(["finish", str(tmp_path / "whole")]) == 0
    assert contents(tmp_path / "whole") == contents(output)


@pytest.fixture
def small_disk(tmp_path):
    """small_disk(kib): the folder of a file system of that size; again with another size to change it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = []

    def mount(kib):
        options = f"size={kib}k" if not mounted else f"remount,size={kib}k"
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True)
        if done.returncode:
            pytest.skip("mounting is not permitted here")
        mounted.append(kib)
        return folder

    yield mount
    if mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_loses_nothing(small_disk, tmp_path, checkpoint, capsys):
    data, model = load("emoji_1024", num_samples=800), checkpoint("llama")
    disk = small_disk(400)
    outcomes = extract([model], data, Settings(output_dir=disk), modality="language")
    assert "disk is full" in str(outcomes[model]) and "run the same command again" in str(outcomes[model])
    (path,) = disk.rglob("[!.]*.zarr")
    report = inspect_store(path)
    assert report.intact and 1 <= report.blocks_done < 4 and not report.store.complete
    kept = [open_store(path).read_rows(slice(0, 256))[layer].copy() for layer in range(4)]
    ids = list(map(str, range(3000)))
    archive = pack(write_features(tmp_path / "s.zarr", [np.ones((3000, 64))], spec={}, ids=ids).path)
    for write in (
        lambda: write_features(disk / "w.zarr", [np.ones((3000, 64))], spec={}, ids=ids),
        lambda: unpack(archive, disk / "u.zarr"),
        lambda: pack(tmp_path / "s.zarr", disk / "s.zip"),
    ):
        with pytest.raises(StoreError, match="disk is full|disk has 0 MiB free"):
            write()
    assert not (disk / "u.zarr").exists() and not (disk / "s.zip").exists() and inspect_store(path).intact
    small_disk(8000)
    again = extract_model(model, data, Settings(output_dir=disk), modality="language")
    whole = extract_model(model, data, Settings(output_dir=tmp_path / "whole"), modality="language")
    for layer in range(4):
        np.testing.assert_array_equal(open_store(again).read_layer(layer), open_store(whole).read_layer(layer))
        np.testing.assert_array_equal(open_store(again).read_layer(layer)[:256], kept[layer])


def prepared(extractor, data):
    return (extractor.prepare(data, i) for i in range(len(data)))


OUT_OF_MEMORY = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory."),
    "python": MemoryError(),
    "cpu": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried ..."
    ),
}


@pytest.mark.parametrize("error", OUT_OF_MEMORY.values(), ids=OUT_OF_MEMORY)
def test_out_of_memory_above_four_finishes_with_the_same_features(checkpoint, few, error, monkeypatch, capsys):
    extractor = language.load(checkpoint("llama"))
    forward, sizes = extractor.forward, []

    def limited(inputs):
        sizes.append(len(inputs))
        if len(inputs) > 4:
            raise error
        return forward(inputs)

    data = few.select(range(50))
    expected, numbers = extract_block(extractor, prepared(extractor, data), 50, BatchSize(4))
    whole, _ = extract_block(extractor, prepared(extractor, data), 50, BatchSize(16))
    monkeypatch.setattr(extractor, "forward", limited)
    batch = BatchSize(16)
    features, values = extract_block(extractor, prepared(extractor, data), 50, batch)
    assert sizes[:4] == [16, 8, 4, 4] and set(sizes[2:]) <= {4, 2} and batch.size == 4
    for got, same, other in zip(features, expected, whole, strict=True):
        np.testing.assert_array_equal(got, same)
        np.testing.assert_allclose(got, other, atol=1e-5 * abs(other).max())
    assert all((values[name] == numbers[name]).all() for name in values)
    assert "going on with batches of 4" in capsys.readouterr().err


def test_memory_that_one_sample_exceeds_is_an_error_and_others_pass(checkpoint, few, monkeypatch):
    extractor = language.load(checkpoint("llama"))

    def failing(message):
        def forward(inputs):
            raise RuntimeError(message)

        return forward

    monkeypatch.setattr(extractor, "forward", failing("CUDA error: out of memory"))
    with pytest.raises(ExtractionError, match="with a single sample.*--quantize"):
        extract_block(extractor, prepared(extractor, few), 9, BatchSize(8))
    monkeypatch.setattr(extractor, "forward", failing("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        extract_block(extractor, prepared(extractor, few), 9, BatchSize(8))
