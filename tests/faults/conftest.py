"""Subjects made once, small tiles, and the table at the end."""

import pytest

from faults.ledger import LEDGER
from faults.subjects import Subjects


@pytest.fixture(scope="session")
def small_tiles():
    """Tiles of one layer pair, so that a small study has several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("prh_jax.study.study.fit_tile", lambda *args, **options: 1)
        yield


@pytest.fixture(scope="session")
def subjects(tmp_path_factory, small_tiles):
    """All that is damaged; tests damage copies."""
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
