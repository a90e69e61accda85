"""One bit of any file flipped, or any file gone: refused, or without consequence."""

import numpy as np
import pytest

from faults.damage import copy, files_of, flip

NAMES = [
    "feature store",
    "result",
    "interrupted result",
    "interrupted null",
    "sketch cache",
    "archive, read",
    "archive, unpacked",
]
FLIPS = {"archive, read": 150, "archive, unpacked": 100, "sketch cache": 40, "feature store": 8}
"""In each file; of others fewer."""


def flips(subject, name, kind, folder, chosen, times):
    expected, rng = subject.used(folder), np.random.default_rng(len(name))
    for file in chosen:
        for _ in range(times):
            damaged = copy(subject.path, folder)
            where = flip(damaged / file if subject.path.is_dir() else damaged, rng)
            kind.judge(f"{file}: {where}", lambda path=damaged: subject.use(path), expected)


def relative(subject):
    return [file.relative_to(subject.path) for file in files_of(subject.path)]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_bits_flipped_in_every_file(name, subjects, ledger, tmp_path):
    subject = subjects.all()[name]
    with ledger.kind(f"bit flip: {name}") as kind:
        flips(subject, name, kind, tmp_path / "copy", relative(subject), FLIPS.get(name, 2))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_files_deleted(name, subjects, ledger, tmp_path):
    subject = subjects.all()[name]
    expected = subject.used(tmp_path / "copy")
    with ledger.kind(f"deletion: {name}") as kind:
        for file in relative(subject):
            damaged = copy(subject.path, tmp_path / "copy")
            gone = damaged / file if subject.path.is_dir() else damaged
            gone.unlink()
            assert not gone.exists()
            kind.judge(f"without {file}", lambda path=damaged: subject.use(path), expected)
