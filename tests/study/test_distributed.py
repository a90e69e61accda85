"""One study by several processes that each hold some of the samples: what one process finds."""

import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from zarr.storage import LocalStore

import prh_jax
from prh_jax import Preprocess
from prh_jax.cli.main import main
from prh_jax.engine.preprocess import RowRange

METRICS = ["mutual_knn", "cka", "unbiased_cka", "cknna"]
COUNTED = """
import sys
from prh_jax.cli.main import main
from test_distributed import count_bytes
read = count_bytes()
status = main(sys.argv[1:])
print("bytes read:", sum(read))
sys.exit(status)
"""
RING = """
import jax, numpy as np
from jax.sharding import NamedSharding
from prh_jax import Preprocess
from prh_jax.sketches.neighbor_kernel import BlockedNeighborKernelSketcher
from prh_jax.sketches.neighbors import BlockedNeighborSketcher
from prh_jax.sketches.nearest import query_rows
from prh_jax.engine.ring import SPREAD, sample_mesh, sketch_program

mesh, rng = sample_mesh(), np.random.default_rng(0)
assert mesh.size == 4
for n, sketcher in [
    (61, BlockedNeighborKernelSketcher(5, unbiased=False)),
    (9, BlockedNeighborSketcher(5, False, (0, 0, 1, 2, 2, 3, 4, 5, 6))),
    (61, BlockedNeighborSketcher(5, False, None, queries=20)),
]:
    x = rng.integers(0, 3, size=(n, 4))  # few values: many similarities are equal, and all are exact
    barred = np.zeros((n, n), bool) if sketcher.summarizer.with_self else np.eye(n, dtype=bool)
    if sketcher.groups:
        codes = np.array(sketcher.groups)
        barred = codes[:, None] == codes
    similar = np.where(barred, -np.inf, x @ x.T)
    expected = np.argsort(-similar, axis=1, kind="stable")[:, :5]
    size = -(-n // mesh.size)
    filled = np.full((mesh.size * size, 4), 7, np.float32)  # rows that stand for no sample
    filled[:n] = x
    program = sketch_program((sketcher,), sketcher.summarizer, Preprocess(normalize=False), n, mesh)
    (found,), degenerate = program(jax.device_put(filled, NamedSharding(mesh, SPREAD)), np.float32(np.inf))
    assert not degenerate
    np.testing.assert_array_equal(found.neighbors, expected[query_rows(n, sketcher.summarizer.queries)])
    if isinstance(sketcher, BlockedNeighborKernelSketcher):
        values = found.values / found.factor
        np.testing.assert_allclose(values, np.take_along_axis(similar, expected, axis=1), atol=1e-5)
"""


def count_bytes():
    """A list that grows by the bytes of all that Zarr reads of arrays of features, whole chunks, from folders."""
    get, read = LocalStore.get, []

    async def counting(self, key, *args, **options):
        value = await get(self, key, *args, **options)
        if key.startswith("features"):
            read.append(0 if value is None else len(value))
        return value

    LocalStore.get = counting
    return read


@pytest.fixture(scope="module", autouse=True)
def a_name_that_resolves():
    """Processes find each other by the name of the machine."""
    try:
        socket.gethostbyname(socket.gethostname())
    except OSError:
        pytest.skip("the name of this machine does not resolve")


def start(code, *arguments, devices=1):
    here = os.path.dirname(__file__)
    above = os.path.dirname(here)
    path = os.pathsep.join([here, above, os.path.dirname(above)])
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": path, "JAX_NUM_CPU_DEVICES": str(devices)}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def free_address():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


def member(i, address, *arguments):
    who = ["--distributed", "--coordinator", address, "--process-id", str(i), "--process-count", "2"]
    return start(COUNTED, "align", *arguments, *who)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Two models of three layers; 511 samples do not divide by two."""
    folder, rng, n = tmp_path_factory.mktemp("stores"), np.random.default_rng(0), 511
    latent = rng.normal(size=(n, 6))
    return [
        prh_jax.write_features(
            folder / f"{name}.zarr",
            [(latent @ rng.normal(size=(6, d)) + rng.normal(size=(n, d))).astype(np.float32) for d in widths],
            ids=[f"s{i}" for i in range(n)],
            spec={"model": name},
        )
        for name, widths in {"a": (160, 160), "b": (128,)}.items()
    ]


@pytest.fixture(scope="module")
def shared(stores, tmp_path_factory):
    """A study by two processes: its result, and what each has said."""
    output, address = tmp_path_factory.mktemp("results") / "shared.zarr", free_address()
    command = ["--x", *(str(s.path) for s in stores), "--metric", *METRICS, "-o", str(output)]
    both = [member(i, address, *command) for i in range(2)]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    return output, [out for out, _ in said]


def test_two_processes_give_the_scores_of_one(stores, shared):
    found, expected = prh_jax.load_alignment(shared[0]), prh_jax.align(stores, None, METRICS)
    assert found.metrics == expected.metrics
    for key in METRICS:
        tolerance = 0 if key == "mutual_knn" else 1e-6
        np.testing.assert_allclose(found.dataset[key], expected.dataset[key], atol=tolerance, rtol=0, err_msg=key)
    assert prh_jax.align(stores, None, METRICS, output=shared[0]).metrics == METRICS  # one process takes it as its own


def test_each_process_reads_its_rows(stores, shared):
    whole = sum(store.nbytes for store in stores)
    for said in shared[1]:
        read = int(said.rsplit("bytes read:", 1)[1])
        assert 0.45 * whole < read < 0.6 * whole
    assert "best score over layer pairs" in shared[1][0] and "best score" not in shared[1][1]


def test_the_ring_finds_the_lists_of_all_rows():
    """Of four devices whose rows are not equally many: ties, groups, and the sample itself among its neighbours."""
    process = start(RING, devices=4)
    assert process.communicate(timeout=120)[1] == "" and process.returncode == 0


def test_a_process_that_does_not_come_is_named(stores, tmp_path):
    command = ["--x", str(stores[0].path), "-o", str(tmp_path / "r.zarr"), "--timeout", "2"]
    _, err = (alone := member(1, free_address(), *command)).communicate(timeout=60)
    assert alone.returncode == 2 and not (tmp_path / "r.zarr").exists()
    assert "2 processes should have met at 127.0.0.1" in err and "within 2 s" in err


def test_what_cannot_be_spread_is_refused(stores, tmp_path, capsys):
    command = ["align", "--x", str(stores[0].path), "-o", str(tmp_path / "r.zarr")]
    for more, message in {
        ("--distributed", "--worker", "0/2"): "no --worker",
        ("--distributed", "--coordinator", "127.0.0.1:1"): "go together",
        ("--coordinator", "127.0.0.1:1"): "go with --distributed",
    }.items():
        assert main([*command, *more]) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"svcca, rsa: samples cannot be spread .* allow it: .*mutual_knn"):
        prh_jax.align_distributed(stores, None, ["mutual_knn", "svcca", "rsa"], output=tmp_path / "r.zarr")


def processes(count, work):
    """`work(i, stacked)` by as many threads, `stacked` bringing together what each has of an array."""
    barrier, given = Barrier(count), [None] * count

    def run(i):
        def stacked(array):
            given[i] = array
            barrier.wait()
            longest = max(map(len, given))
            filled = [np.pad(a, [(0, longest - len(a)), *[(0, 0)] * (a.ndim - 1)]) for a in given]
            barrier.wait()
            return np.stack(filled)

        return work(i, stacked)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("widths", [(9, 9), (7, 12)])
def test_thresholds_of_parts_are_those_of_all_rows(tmp_path, exact, dtype, widths):
    rng = np.random.default_rng(0)
    n = 700
    layers = [rng.normal(size=(n, d)).astype(np.float32) * 3.0 ** rng.integers(-4, 4, size=(n, 1)) for d in widths]
    ids = [str(i) for i in range(n)]
    store = prh_jax.write_features(tmp_path / "a.zarr", layers, ids=ids, spec={"model": "a"}, dtype=dtype)
    preprocess = Preprocess(0.9, exact=exact)
    expected = preprocess.thresholds(store)
    edges = [0, 300, 300, 513, n]  # one holds nothing

    def found(i, stacked):
        rows = slice(edges[i], edges[i + 1])
        held = [store.read_layer(layer, rows) for layer in range(len(widths))] if i % 2 else None
        return preprocess.thresholds(store, held, memory=1 << 12, part=RowRange(rows, stacked))

    for thresholds in processes(4, found):
        np.testing.assert_array_equal(thresholds, expected)
