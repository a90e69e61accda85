"""Subjects made once, small tiles, and the table at the end."""

import pytest

from faults.ledger import LEDGER
from faults.subjects import Subjects

FIT = "prh_jax.study.study.fit_tile"


def one_layer(*args, **options):
    """The size of a tile: one layer pair, so that a small study has several."""
    return 1


@pytest.fixture(scope="session")
def whole_subjects(tmp_path_factory):
    """All that is damaged, made once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FIT, one_layer)
        return Subjects(tmp_path_factory.mktemp("subjects"))


@pytest.fixture
def subjects(whole_subjects, monkeypatch):
    """All that is damaged; tests damage copies, and score tiles of one layer pair as those were."""
    monkeypatch.setattr(FIT, one_layer)
    return whole_subjects


@pytest.fixture(scope="session")
def ledger():
    """Where outcomes are counted."""
    return LEDGER


def pytest_terminal_summary(terminalreporter):
    """The table, where anything was tried in this process."""
    if LEDGER.kinds:
        terminalreporter.section("faults")
        for line in LEDGER.table():
            terminalreporter.write_line(line)
