"""A full disk, one that may not be written, little memory: words, nothing lost, and the next run ends to the bit."""

import errno
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from faults.damage import copy
from faults.limits import Writes, largest_file
from faults.subjects import IDS, METRICS, layers_of, make_store, result_contents, scores_of, store_contents
from prh_jax import align, load_alignment
from prh_jax.results.merge import merge
from prh_jax.stores.archive import pack, unpack

CODES = [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO]


def jobs(subjects):
    """What is written: a call given an empty folder, and what it leaves there for the next."""

    def calibrated(out):
        return result_contents(subjects.calibrate(out / "growing.zarr"))

    def aligned(out):
        scores = scores_of(subjects.align(out / "r.zarr"))
        assert scores_of(load_alignment(out / "r.zarr")) == scores
        return scores

    def merged(out):
        merge([load_alignment(subjects.result)]).save(out / "m.zarr", overwrite=True)
        return result_contents(load_alignment(out / "m.zarr"))

    def imported(out):
        importing = pytest.importorskip("extractors.importing")
        who = {"model": "m", "pool": "mean", "modality": "language"}
        return store_contents(importing.import_features(out.parent / "features.npz", out / "i.zarr", **who).path)

    def cached(out):
        return scores_of(align(subjects.a, subjects.b, METRICS, sketch_cache=out / "cache", progress=False))

    return {
        "store": lambda out: store_contents(make_store(out / "mixed.zarr", 7, [5, 5, 4])),
        "align": aligned,
        "calibrate": calibrated,
        "merge": merged,
        "import": imported,
        "pack": lambda out: pack(subjects.mixed, out / "p.zip", overwrite=True).read_bytes(),
        "unpack": lambda out: store_contents(unpack(subjects.archive, out / "u.zarr", overwrite=True)),
        "sketch cache": cached,
    }


NAMES = ["store", "align", "calibrate", "merge", "import", "pack", "unpack", "sketch cache"]


def fresh(folder, subjects):
    """A folder with what the jobs begin with."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copytree(subjects.growing, folder / "growing.zarr")
    np.savez(folder.parent / "features.npz", *layers_of(3, [4, 4]), ids=np.array(IDS))
    return folder


def nothing_left(out):
    return [p.name for p in out.rglob("*") if "partial" in p.name]


def tried(kind, what, job, out, limit, expected):
    """The job within a limit, and again without: refused or done, then to the bit, with nothing left behind."""

    def limited():
        with limit:
            return job(out)

    found = kind.judge(what, limited, expected)
    kind.judge(f"{what}: the next run", lambda: job(out), expected)
    if nothing_left(out):
        kind.note("wrong", f"{what}: left {nothing_left(out)}")
    return found


def each_write(kind, name, subjects, out, count, codes):
    job = jobs(subjects)[name]
    expected = job(fresh(out, subjects))
    with Writes(fresh(out, subjects)).watched() as writes:
        assert job(out) == expected
    assert writes.count >= 1, f"{name} wrote nothing"
    places = sorted({int(place) for place in np.linspace(1, writes.count, count)})
    for number, place in enumerate(places):
        code = codes[number % len(codes)]
        limit = Writes(fresh(out, subjects), place, code).watched()
        what = f"{name}: {errno.errorcode[code]} at open {place} of {writes.count}"
        assert tried(kind, what, job, out, limit, expected) != "unchanged", what


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_disk_that_cannot_be_written_from_some_moment_on(name, subjects, ledger, tmp_path):
    with ledger.kind(f"disk fails: {name}") as kind:
        each_write(kind, name, subjects, tmp_path / "out", 10, CODES)


def test_a_full_disk_on_the_way(subjects, ledger, tmp_path):
    """The quick part."""
    with ledger.kind("disk fails (quick)") as kind:
        for name in ("store", "pack"):
            each_write(kind, name, subjects, tmp_path / "out", 2, CODES[:1])


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_files_that_end_halfway(name, subjects, ledger, tmp_path):
    job, out = jobs(subjects)[name], tmp_path / "out"
    expected, refused = job(fresh(out, subjects)), 0
    with ledger.kind(f"files end halfway: {name}") as kind:
        for size in (0, 40, 150, 700, 3000):
            found = tried(kind, f"{name}: {size} bytes", job, fresh(out, subjects), largest_file(size), expected)
            refused += found == "refused"
    assert refused


PROGRAM = """
import resource, sys
import jax.numpy
from prh_jax.cli.main import main
from prh_jax.study import align
used = int(next(line for line in open("/proc/self/status") if line.startswith("VmSize")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[1]) * 2**20,) * 2)
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("mebibytes", [30, 300, 1200])
def test_little_memory(mebibytes, subjects, ledger, tmp_path):
    """Too little for JAX to start is told before it does: it would end the process, or wait without end."""
    store = copy(subjects.mixed, tmp_path / "copy")
    output = tmp_path / "r.zarr"
    command = ["align", "--x", str(store), "--metric", "mutual_knn:k=5", "-o", str(output)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with ledger.kind("little memory") as kind:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(mebibytes), *command],
            capture_output=True,
            text=True,
            env=environment,
            timeout=120,
        )
        if done.returncode in (1, 2) and "Traceback" not in done.stderr:
            kind.note("refused", "")
        elif done.returncode == 0:
            kind.note("unchanged", "")
        else:
            kind.note("wrong", f"{mebibytes} MiB: {done.returncode}, {done.stderr[-300:]}")
        expected = scores_of(align(store, None, "mutual_knn:k=5", progress=False))
        again = lambda: scores_of(align(store, None, "mutual_knn:k=5", output=output, progress=False))  # noqa: E731
        kind.judge(f"{mebibytes} MiB: the next run", again, expected)
