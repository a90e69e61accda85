"""Subjects made once, small tiles, and the table at the end."""

import pytest

from faults.ledger import LEDGER
from faults.subjects import Subjects


def use_small_tiles(patch):
    """Tiles of one layer pair, so that a small study has several."""
    patch.setattr("prh_jax.study.study.fit_tile", lambda *args, **options: 1)


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    """Small tiles in every test of the battery, and in no other test of this process."""
    use_small_tiles(monkeypatch)


@pytest.fixture(scope="session")
def subjects(tmp_path_factory):
    """All that is damaged; tests damage copies."""
    with pytest.MonkeyPatch.context() as patch:
        use_small_tiles(patch)
        return Subjects(tmp_path_factory.mktemp("subjects"))


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
