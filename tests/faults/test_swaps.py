"""Sound files at wrong places, and records that say something else: refused, or without consequence."""

import itertools
import shutil

import numpy as np
import pytest

from faults.damage import copy, differing_pairs, edit, files_of, link, swap
from prh_jax import align, load_alignment

EDITS = [
    ('"index": 0', '"index": 1'),
    ('"index": 1', '"index": 0'),
    ('"array": "features_5"', '"array": "features_4"'),
    ('"layer_0"', '"layer_9"'),
    ('"model": "mixed"', '"model": "fixed"'),
    ('"status": "running"', '"status": "complete"'),
    ('"status": "complete"', '"status": "running"'),
    ('"float32"', '"int32"'),
    ('"float32"', '"float16"'),
    ('"float32"', '"bfloat16"'),
    ('"float64"', '"float32"'),
    ('"float64"', '"int64"'),
    ('"int64"', '"float64"'),
    ('"int32"', '"float32"'),
    ('"int32"', '"uint32"'),
    ('"uint32"', '"int32"'),
    ('"little"', '"big"'),
    ('"layer_x"', '"layer_y"'),
    ('"layer_y"', '"layer_x"'),
    ('"model_x"', '"model_y"'),
    ('"order"', '"metric"'),
    ('"attributes": {', '"attributes": {"scale_factor": 2.0, '),
    ('"fill_value": "NaN"', '"fill_value": 0.0'),
    ('"fill_value": 0', '"fill_value": 1'),
    ("mutual_knn", "mutual_ann"),
]
SUBJECTS = ["feature store", "result", "interrupted result", "interrupted null", "sketch cache"]


def chunk_swaps(path):
    """Pairs of files, or folders, that could be taken for one another: of one array, and of arrays side by side."""
    chunks = {}
    for file in files_of(path):
        if file.suffix == ".npz" or "c" in file.relative_to(path).parts:
            chunks.setdefault(file.stat().st_size, []).append(file)
    pairs = [pair for alike in chunks.values() for pair in differing_pairs(alike)]
    arrays = [folder for folder in path.rglob("c") if folder.is_dir()]
    for one, two in itertools.pairwise(arrays):
        shapes = [(len(files_of(folder)), files_of(folder)[0].stat().st_size) for folder in (one, two)]
        if shapes[0] == shapes[1]:
            pairs.append((one.parent, two.parent))
    pairs += [(c / "0", c / "1") for c in arrays if (c / "0").is_dir() and (c / "1").is_dir()]
    return [(one.relative_to(path), two.relative_to(path)) for one, two in pairs]


@pytest.mark.slow
@pytest.mark.parametrize("name", SUBJECTS)
def test_chunks_and_arrays_that_changed_places(name, subjects, ledger, tmp_path):
    subject = subjects.all()[name]
    expected = subject.used(tmp_path / "copy")
    with ledger.kind(f"swap: {name}") as kind:
        for one, two in chunk_swaps(subject.path):
            for change in (swap, link):
                damaged = copy(subject.path, tmp_path / "copy")
                change(damaged / one, damaged / two)
                what = f"{change.__name__} of {one} and {two}"
                kind.judge(what, lambda path=damaged: subject.use(path), expected)


def test_a_layers_chunks_in_another_layers_place(subjects, ledger, tmp_path):
    """The quick part: a layer, a block of samples and an array for another, in a store of small layers."""
    subject = subjects.all()["feature store"]
    expected = subject.used(tmp_path / "copy")
    with ledger.kind("swap: feature store (quick)") as kind:
        for one, two in (("0", "1"), ("0/0", "0/1"), ("0/0", "1/0")):
            damaged = copy(subject.path, tmp_path / "copy")
            swap(damaged / "features_5/c" / one, damaged / "features_5/c" / two)
            assert kind.judge(f"{one} and {two}", lambda path=damaged: subject.use(path), expected) == "refused"
        for old, new in EDITS[:5]:
            damaged = copy(subject.path, tmp_path / "copy")
            assert edit(damaged / "zarr.json", old, new)
            assert kind.judge(f"{old} as {new}", lambda path=damaged: subject.use(path), expected) == "refused"


@pytest.mark.slow
@pytest.mark.parametrize("name", SUBJECTS[:4])
def test_records_that_say_something_else(name, subjects, ledger, tmp_path):
    subject = subjects.all()[name]
    expected = subject.used(tmp_path / "copy")
    with ledger.kind(f"edited record: {name}") as kind:
        for file in files_of(subject.path):
            for old, new in EDITS if file.name == "zarr.json" else ():
                damaged = copy(subject.path, tmp_path / "copy")
                record = damaged / file.relative_to(subject.path)
                if edit(record, old, new):
                    what = f"{file.relative_to(subject.path)}: {old} as {new}"
                    kind.judge(what, lambda path=damaged: subject.use(path), expected)


@pytest.mark.slow
def test_a_block_and_its_mark_in_anothers_place(subjects, ledger, tmp_path):
    """Of tiles and of orders: numbers and mark, each sound, moved together."""
    with ledger.kind("swap with mark") as kind:
        for name, moved in {
            "interrupted result": ["mutual_knn/c", "done/mutual_knn/c"],
            "interrupted null": [f"calibration_growing/{part}/c" for part in ("null", "reached", "cells", "done")],
        }.items():
            subject = subjects.all()[name]
            expected = subject.used(tmp_path / "copy")
            damaged = copy(subject.path, tmp_path / "copy")
            for part in moved:
                whole = "0" if name == "interrupted result" else "0/0"
                other = "1" if name == "interrupted result" else "0/1"
                swap(damaged / part / whole, damaged / part / other)
            kind.judge(name, lambda path=damaged, subject=subject: subject.use(path), expected)


@pytest.mark.slow
def test_a_calibration_of_another_result(subjects, ledger, tmp_path):
    """Copied beside scores that it was not made for."""
    other = tmp_path / "other.zarr"
    align(subjects.b, subjects.a, ["mutual_knn", "cka"], output=other, progress=False)
    expected = load_alignment(other).dataset
    shutil.copytree(subjects.result / "calibration", other / "calibration")
    with ledger.kind("swap: calibration") as kind:
        kind.judge("of another result", lambda: load_alignment(other).dataset.equals(expected), "no result")
    assert np.isfinite(expected["cka"].values).all()
