"""Several processes share one study: their blocks together are, to the bit, the result of one process alone."""

import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

import prh_jax
from prh_jax.cli.main import main
from prh_jax.engine.sketch_bank import SketchBank
from prh_jax.engine.stacks import layer_mesh
from prh_jax.engine.tiling import study_blocks
from prh_jax.metrics.registry import METRICS, make_metric
from prh_jax.results.score_grid import ScoreGrid
from prh_jax.runtime.workers import Worker
from prh_jax.study.align import align_share

METRIC_NAMES = ["mutual_knn:k=5", "cka", "cycle_knn:k=5"]
N = 48


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(N, 6))
    return [
        prh_jax.write_features(
            folder / f"model{m}.zarr",
            [(latent @ rng.normal(size=(6, 12)) + rng.normal(size=(N, 12))).astype(np.float32) for _ in range(layers)],
            ids=[f"s{i}" for i in range(N)],
            spec={"model": f"model{m}"},
        )
        for m, layers in enumerate([90, 70, 80, 60])
    ]


def same(one, other):
    assert one.metrics == other.metrics
    for key in one.metrics:
        np.testing.assert_array_equal(one.dataset[key].values, other.dataset[key].values)


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shares_are_all_blocks_once(count, half):
    metrics = {"cka": METRICS["cka"]()} | ({} if half else {"cycle_knn": METRICS["cycle_knn"]()})
    mesh = layer_mesh(jax.devices()[:1])
    parts = [study_blocks(metrics, 11, None, 2, mesh, Worker(i, count)) for i in range(count)]
    blocks = [(rows.start, column) for part in parts for rows, column in part]
    expected = {(row, column) for row in range(6) for column in range(6) if column >= row or not half}
    assert len(blocks) == len(expected) and set(blocks) == expected


def test_workers_in_any_order_give_the_result_of_one(stores, tmp_path):
    whole = prh_jax.align(stores[:2], stores[2:], METRIC_NAMES, output=tmp_path / "whole.zarr")
    shared = tmp_path / "shared.zarr"
    complete = [align_share(i, 3, stores[:2], stores[2:], METRIC_NAMES, output=shared) for i in (2, 0, 1)]
    assert complete == [False, False, True]
    same(prh_jax.load_alignment(shared), whole)
    assert align_share(0, 3, stores[:2], stores[2:], METRIC_NAMES, output=shared)  # nothing left, and nothing harmed
    assert not (tmp_path / ".shared.zarr.sketches").exists()


def test_another_study_is_refused(stores, tmp_path):
    align_share(0, 2, stores[:2], None, "cka", output=tmp_path / "shared.zarr")
    with pytest.raises(prh_jax.StoreError, match="other features or settings"):
        align_share(1, 2, stores[:2], None, "unbiased_cka", output=tmp_path / "shared.zarr")
    with pytest.raises(ValueError, match="no worker 2 of 2"):
        align_share(2, 2, stores[:2], None, "cka", output=tmp_path / "shared.zarr")
    with pytest.raises(prh_jax.StoreError, match="unfinished"):
        prh_jax.load_alignment(tmp_path / "shared.zarr")


def test_a_result_finished_while_a_worker_is_at_work(stores, tmp_path, monkeypatch):
    """`prh finish` comes after a worker's first block: the worker ends in peace, and the result is whole."""
    output, put, seen = tmp_path / "shared.zarr", ScoreGrid.put, []

    def interrupted(self, *args, **options):
        made = put(self, *args, **options)
        if not seen:
            seen.append(args)
            prh_jax.finish_alignment(output, progress=False)
        return made

    monkeypatch.setattr(ScoreGrid, "put", interrupted)
    assert align_share(0, 2, stores[:2], None, "cka", output=output, progress=False)
    same(prh_jax.load_alignment(output), prh_jax.align(stores[:2], None, "cka"))


def test_a_worker_whose_result_was_made_anew_stops(stores, tmp_path, monkeypatch):
    """The result is begun again with k = 20 after a worker's first tile of k = 10: its scores are nowhere in it."""
    output, put, seen = tmp_path / "shared.zarr", ScoreGrid.put, []
    (five, twenty) = (make_metric("mutual_knn", k=k) for k in (5, 20))

    def interrupted(self, *args, **options):
        made = put(self, *args, **options)
        if not seen:
            seen.append(args)
            prh_jax.align(stores[:2], None, twenty, output=output, overwrite=True, progress=False)
        return made

    monkeypatch.setattr(ScoreGrid, "put", interrupted)
    with pytest.raises(prh_jax.StoreError, match="made again by another process"):
        align_share(0, 2, stores[:2], None, five, output=output, progress=False)
    same(prh_jax.load_alignment(output), prh_jax.align(stores[:2], None, twenty))


def test_tiles_that_lost_or_exchanged_chunks_are_scored_again(stores, tmp_path):
    output = tmp_path / "shared.zarr"
    assert not align_share(0, 2, stores[:2], stores[2:], "cka", output=output, progress=False)
    chunks = sorted(path for path in (output / "cka" / "c").rglob("*") if path.is_file())
    assert chunks[0].read_bytes() != chunks[1].read_bytes()
    chunks[1].replace(chunks[0])
    finished = prh_jax.finish_alignment(output, progress=False)
    same(finished, prh_jax.align(stores[:2], stores[2:], "cka"))
    same(prh_jax.load_alignment(output), finished)


def test_two_workers_may_write_one_sketch_at_once(tmp_path, monkeypatch):
    """Of two machines the workers may even have one process id."""
    metric, savez, sketch = METRICS["cka"](), np.savez, np.arange(6.0)
    one, two = SketchBank(tmp_path), SketchBank(tmp_path)

    def meanwhile(file, *arrays, **named):
        monkeypatch.setattr(np, "savez", savez)
        two.put(metric.sketcher, "layer", sketch)
        savez(file, *arrays, **named)

    monkeypatch.setattr(np, "savez", meanwhile)
    one.put(metric.sketcher, "layer", sketch)
    found = SketchBank(tmp_path).get(metric.sketcher, "layer", jax.tree.structure(sketch))
    np.testing.assert_array_equal(found, sketch)
    next(tmp_path.glob("*.npz")).unlink()  # as who finishes the study does
    with pytest.raises(prh_jax.StoreError, match="another process has finished the study"):
        SketchBank(tmp_path).get(metric.sketcher, "layer", jax.tree.structure(sketch))


def test_finish_takes_folders_and_what_a_worker_cannot_do_is_refused(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for name in "ab":
        path, ids = tmp_path / f"{name}.zarr", [str(i) for i in range(30)]
        prh_jax.write_features(path, [rng.normal(size=(30, 9))], ids=ids, spec={"model": name})
    command = ["align", "--x", str(tmp_path / "a.zarr"), str(tmp_path / "b.zarr"), "-o", str(tmp_path / "r.zarr")]
    for option in (["--json"], ["--npy"], ["--plot", "map.png"]):
        assert main([*command, "--worker", "1/2", *option]) == 2
        assert "--worker" in capsys.readouterr().err and not (tmp_path / "r.zarr").exists()
    assert main([*command, "--worker", "1/2"]) == 0
    assert "not complete yet" in capsys.readouterr().out
    assert main(["finish", str(tmp_path)]) == 0
    assert prh_jax.load_alignment(tmp_path / "r.zarr").metrics == ["mutual_knn"]


def start(stores, output, worker):
    command = [sys.executable, "-m", "prh_jax", "align", "--x", *(str(s.path) for s in stores), "-o", str(output)]
    command += ["--metric", *METRIC_NAMES, "--worker", worker]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def killed_run(stores, folder, seed):
    """Four workers at once, one killed at a random moment; then `prh finish`."""
    rng = np.random.default_rng(seed)
    output = folder / f"shared{seed}.zarr"
    workers = [start(stores, output, f"{i}/4") for i in range(4)]
    time.sleep(rng.uniform(2, 10))
    victim = workers[rng.integers(4)]
    os.kill(victim.pid, signal.SIGKILL)
    for worker in workers:
        text, _ = worker.communicate(timeout=300)
        assert worker is victim or worker.returncode == 0, text
    finish = [sys.executable, "-m", "prh_jax", "finish", str(output)]
    subprocess.run(finish, check=True, capture_output=True, timeout=300)
    return prh_jax.load_alignment(output)


@pytest.mark.slow
def test_a_killed_worker_is_made_up_for(stores, tmp_path):
    same(killed_run(stores, tmp_path, 0), prh_jax.align(stores, None, METRIC_NAMES))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 10))
def test_many_killed_workers_are_made_up_for(stores, tmp_path, seed):
    same(killed_run(stores, tmp_path, seed), prh_jax.align(stores, None, METRIC_NAMES))
