"""The engine: the same bits on any number of devices and after a kill, no needless compiling, sizes in words."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import xarray as xr
from inputs import make_store

from prh_jax import SUPPORTED_METRICS, align, load_alignment
from prh_jax.engine.sketching import shape_of
from prh_jax.engine.stacks import layer_mesh
from prh_jax.engine.tiling import fit_tile
from prh_jax.metrics import Cka, ProcrustesDistance
from prh_jax.runtime.memory import parse_bytes

TESTS = Path(__file__).parent.parent
NAMES = [name if name != "svcca" else "svcca:dim=3" for name in SUPPORTED_METRICS]
NAMES += ["knn_jaccard", "linear_regression", "procrustes_distance"]  # of each further way to score a tile, one


def run(code, *arguments, devices=1, wait=True):
    environment = os.environ | {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(TESTS),
    }
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], env=environment)
    if wait:
        assert process.wait(timeout=300) == 0
    return process


DEVICES = """
import dataclasses, sys, jax
from prh_jax import align
from prh_jax.engine import tiling
from prh_jax.numerics import backends
tiling.TILE = 2
path, out, names = sys.argv[1], sys.argv[2], sys.argv[3].split(";")
assert len(jax.devices()) == 4
for count in (1, 4):
    # of four devices, the first finds the thresholds
    backends.CPU = dataclasses.replace(backends.CPU, device_thresholds=count == 4)
    align(path, metrics=names, output=f"{out}/{count}.zarr", devices=jax.devices()[:count])
"""


@pytest.mark.as_shipped
def test_any_number_of_devices_gives_the_same_bits(tmp_path):
    store = make_store(tmp_path / "a.zarr", "m", (14, 9, 14, 20, 12, 14, 9))
    names = [name for name in NAMES if name not in ("lcs_knn", "unbiased_cka")]  # as edit_distance_knn and cka
    run(DEVICES, store.path, tmp_path, ";".join(names), devices=4)
    one, four = (load_alignment(tmp_path / f"{count}.zarr").dataset for count in (1, 4))
    assert len(one) == len(names) and not any(one[name].isnull().any() for name in one)
    xr.testing.assert_identical(one, four)


KILLED = """
import sys, time
from prh_jax import align
from prh_jax.engine import tiling
from prh_jax.results import score_grid
tiling.TILE = 2
put = score_grid.ScoreGrid.put
def slow(self, key, x, y, *args, **kwargs):
    with open(sys.argv[3], "a") as log:
        log.write(f"{key} {x} {y}\\n")
    done = put(self, key, x, y, *args, **kwargs)
    time.sleep(float(sys.argv[4]))
    return done
score_grid.ScoreGrid.put = slow
align(sys.argv[1], metrics=["cka", "mutual_knn", "cycle_knn"], output=sys.argv[2])
"""


def test_a_killed_study_scores_at_most_one_tile_twice(tmp_path):
    store = make_store(tmp_path / "a.zarr", "m", (14,) * 7)
    log, path = tmp_path / "log", tmp_path / "r.zarr"
    process = run(KILLED, store.path, path, log, 0.2, wait=False)
    deadline = time.monotonic() + 120
    while not (log.exists() and len(log.read_text().splitlines()) >= 5):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    run(KILLED, store.path, path, log, 0)
    tiles = log.read_text().splitlines()
    assert len(set(tiles)) == 10 + 10 + 16  # symmetric metrics score tiles on and above the diagonal
    assert len(tiles) <= len(set(tiles)) + 1
    run(KILLED, store.path, tmp_path / "alone.zarr", tmp_path / "other", 0)
    xr.testing.assert_identical(load_alignment(path).dataset, load_alignment(tmp_path / "alone.zarr").dataset)


@pytest.mark.as_shipped
def test_a_second_study_compiles_nothing_but_the_products_of_new_widths(tmp_path, caplog):
    align(make_store(tmp_path / "a.zarr", "a", (14, 14, 14)), make_store(tmp_path / "b.zarr", "b", (19,)), NAMES)
    ids = [f"s{i}" for i in range(60)]
    wide = [
        make_store(tmp_path / f"{name}.zarr", name, widths, ids=ids) for name, widths in (("c", (23, 31)), ("d", (14,)))
    ]
    jax.config.update("jax_log_compiles", True)  # not the context manager, which other threads do not see
    try:
        with caplog.at_level(logging.WARNING):
            align(wide, metrics=NAMES)
    finally:
        jax.config.update("jax_log_compiles", False)
    compiled = [match[1] for record in caplog.records if (match := re.match(r"Compiling (\S+)", record.getMessage()))]
    assert len(compiled) == 2 and all("summarize_layer" in name for name in compiled), compiled


@pytest.mark.parametrize(
    "text, size",
    [("8GiB", 8 * 2**30), ("500 MB", 500_000_000), ("1.5kib", 1536), ("2000", 2000), (77, 77), ("1e9", 10**9)],
)
def test_sizes_in_words(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "-3GB", "8 pounds", "0", "1.2.3GB", "1e400", "nan", "0.1", "8EB", "٣"])
def test_sizes_that_are_none(text):
    with pytest.raises(ValueError, match="A size is written"):
        parse_bytes(text)


def test_a_study_of_one_side_is_that_of_both(tmp_path):
    a, b = make_store(tmp_path / "a.zarr", "a", (14, 9)), make_store(tmp_path / "b.zarr", "b", (11,), seed=3)
    alone, both = align([a, b], metrics=NAMES), align([a, b], [a, b], metrics=NAMES)
    for name in alone.metrics:
        np.testing.assert_allclose(alone.dataset[name], both.dataset[name], atol=2e-6)
    assert json.dumps(alone.protocol["metrics"]) == json.dumps(both.protocol["metrics"])


def test_metrics_whose_pairs_take_long_are_scored_in_small_tiles():
    for metric, size in ((ProcrustesDistance(), 8), (Cka(), 128)):
        assert fit_tile({"it": metric}, shape_of(metric.sketcher, 12, 5), layer_mesh(), 2**33, n=12, layers=200) == size


def test_tiles_of_few_layers_with_many_samples_are_no_larger_than_needed():
    for n, layers, size in ((1024, 5, 128), (4096, 5, 8), (4096, 64, 64), (4096, 300, 128)):
        assert fit_tile({"it": Cka()}, shape_of(Cka().sketcher, n, 5), layer_mesh(), 2**40, n=n, layers=layers) == size
