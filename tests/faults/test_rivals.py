"""Several writers at one place, stale ones, other counts of workers, other clocks: one right result, or a refusal."""

import contextlib
import os

import pytest

from faults.damage import copy, files_of
from faults.subjects import IDS, NULL, layers_of, make_store, result_contents, scores_of, store_contents
from prh_jax import StoreError, align, calibrate, load_alignment
from prh_jax.results import calibration as calibrations
from prh_jax.results.null_grid import NullGrid
from prh_jax.results.score_grid import ScoreGrid
from prh_jax.stores.layout import Layer
from prh_jax.stores.writer import FeatureWriter, open_writer
from prh_jax.study.align import align_share

OTHER = ["mutual_knn:k=50"]


@contextlib.contextmanager
def in_the_middle(owner, name, number, act):
    """Patch a function so that `act` is called once, before call `number` of it."""
    patch, whole, seen = pytest.MonkeyPatch(), getattr(owner, name), []

    def method(*args, **options):
        seen.append(1)
        if len(seen) == number:
            patch.undo()
            act()
        return whole(*args, **options)

    patch.setattr(owner, name, method)
    yield
    patch.undo()
    assert len(seen) >= number, f"{name} was called {len(seen)} times"


def stopped(kind, what, call):
    """A stale writer stops with a StoreError."""
    try:
        call()
    except StoreError as error:
        return kind.note("refused" if "another process" in str(error) else "wrong", f"{what}: {error}")
    return kind.note("wrong", f"{what}: it went on")


def remade(subjects, path, **options):
    return align(subjects.a, subjects.b, OTHER, output=path, overwrite=True, progress=False, **options)


@pytest.mark.parametrize("put", [3, pytest.param(1, marks=pytest.mark.slow), pytest.param(6, marks=pytest.mark.slow)])
def test_tiles_of_a_result_that_was_remade(put, subjects, ledger, tmp_path):
    expected = scores_of(align(subjects.a, subjects.b, OTHER, progress=False))
    studies = {
        "align": lambda path: subjects.align(path),
        "align_share": lambda path: align_share(
            0, 2, subjects.a, subjects.b, ["mutual_knn:k=10", "cka"], output=path, progress=False
        ),
    }
    with ledger.kind("stale writer: result") as kind:
        for name, study in studies.items():
            path = tmp_path / f"{name}.zarr"
            with in_the_middle(ScoreGrid, "put", min(put, 4), lambda path=path: remade(subjects, path)):
                stopped(kind, f"{name}, tile {put}", lambda study=study, path=path: study(path))
            kind.judge(f"{name}, what was remade", lambda path=path: scores_of(load_alignment(path)), expected)


MOMENTS = [(NullGrid, "put", 2), (calibrations, "digest", 1), (calibrations, "write_inside", 1)]


@pytest.mark.parametrize("moments", [MOMENTS[:1], pytest.param(MOMENTS[1:], marks=pytest.mark.slow)])
def test_a_null_of_a_result_that_was_remade(moments, subjects, ledger, tmp_path):
    expected = result_contents(remade(subjects, tmp_path / "alone.zarr"))
    with ledger.kind("stale writer: null") as kind:
        for owner, name, number in moments:
            path = copy(subjects.growing if name != "put" else subjects.result, tmp_path / "copy")
            act = lambda path=path: remade(subjects, path)  # noqa: E731
            with in_the_middle(owner, name, number, act):
                options = {"overwrite": True, "sketch_cache": subjects.root / "cache", "progress": False}
                stopped(kind, f"{name} {number}", lambda path=path, options=options: calibrate(path, NULL, **options))
            kind.judge(f"after {name}", lambda path=path: result_contents(load_alignment(path)), expected)
            assert not [p for p in path.parent.rglob("*") if "partial" in p.name]


def other_store(path, *, blocks=None):
    """What replaces a store: features of another seed."""
    layers = [Layer(f"layer_{i}", 5) for i in range(3)]
    options = {"spec": {"model": "new"}, "ids": IDS, "layers": layers, "sample_arrays": {"loss": "float32"}}
    writer = open_writer(path, overwrite=True, **options)
    features = layers_of(50, [5, 5, 5])
    for block, rows in enumerate(writer.blocks[:blocks]):
        writer.write_block(block, [f[rows] for f in features], loss=features[0][rows, 0])
    return writer, features


@pytest.mark.parametrize("complete", [pytest.param(True, marks=pytest.mark.slow), False])
def test_blocks_of_a_store_that_was_remade(complete, subjects, ledger, tmp_path):
    writer, _ = other_store(tmp_path / "alone.zarr")
    writer.finish()
    expected = store_contents(tmp_path / "alone.zarr")
    with ledger.kind("stale writer: store") as kind:
        for number in range(1, 6):
            path = make_store(tmp_path / f"{number}.zarr", 7, [5, 5, 5], blocks=1)
            made = []

            def replace(path=path, made=made):
                made.append(other_store(path, blocks=None if complete else 1))
                if complete:
                    made[-1][0].finish()

            with in_the_middle(FeatureWriter, "_array", number, replace):
                stopped(kind, f"array {number}", lambda path=path: make_store(path, 7, [5, 5, 5]))

            def finished(path=path, made=made):
                writer, features = made[0]
                for block in writer.pending():
                    rows = writer.blocks[block]
                    writer.write_block(block, [f[rows] for f in features], loss=features[0][rows, 0])
                if not writer.complete:
                    writer.finish()
                return store_contents(path)

            assert kind.judge(f"what was remade at array {number}", finished, expected) == "unchanged"


@pytest.mark.slow
def test_two_writers_at_once_and_other_counts_of_workers(subjects, ledger, tmp_path):
    expected = scores_of(subjects.align(None))
    options = {"metrics": ["mutual_knn", "cka"], "progress": False}
    with ledger.kind("two writers, other counts") as kind:
        path = tmp_path / "both.zarr"
        with in_the_middle(ScoreGrid, "put", 3, lambda: subjects.align(path)):
            kind.judge("first of two", lambda: scores_of(subjects.align(path)), expected)
        kind.judge("both", lambda: scores_of(load_alignment(path)), expected)
        for first, then in [((0, 2), [(1, 3), (0, 3), (2, 3)]), ((1, 2), [(0, 1)]), ((2, 3), [(0, 1)])]:
            path = tmp_path / f"{first}.zarr"
            align_share(*first, subjects.a, subjects.b, output=path, **options)
            for share in then:
                align_share(*share, subjects.a, subjects.b, output=path, **options)
            kind.judge(f"{first}, then {then}", lambda path=path: scores_of(load_alignment(path)), expected)
        store = tmp_path / "store.zarr"
        with in_the_middle(FeatureWriter, "_array", 3, lambda: make_store(store, 7, [5, 5, 4])):
            make_store(store, 7, [5, 5, 4])
        alone = make_store(tmp_path / "alone.zarr", 7, [5, 5, 4])
        kind.judge("two of one store", lambda: chunks_of(store), chunks_of(alone))


def chunks_of(path):
    """The bytes of all chunks of a store, whatever it is named."""
    return [(str(p.relative_to(path)), p.read_bytes()) for p in files_of(path) if p.name != "zarr.json"]


@pytest.mark.slow
@pytest.mark.parametrize("when", [0, 4_000_000_000])
def test_clocks_set_back_or_ahead(when, subjects, ledger, tmp_path):
    with ledger.kind("clocks") as kind:
        for name, subject in subjects.all().items():
            expected = subject.used(tmp_path / "copy")
            damaged = copy(subject.path, tmp_path / "copy")
            for number, file in enumerate(files_of(damaged)):
                os.utime(file, (when + number, when - number if when > number else 0))
                assert int(file.stat().st_mtime) == (when - number if when > number else 0)
            found = kind.judge(name, lambda path=damaged, subject=subject: subject.use(path), expected)
            assert found == "unchanged", name
