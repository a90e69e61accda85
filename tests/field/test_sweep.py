"""No family has other states than its library: a tenth of them in each run, all of them in `make test-all`."""

import pytest

pytest.importorskip("transformers")
pytest.importorskip("timm")

from .sweep import jobs, judge, quiet

JOBS = sorted(jobs())
"""Of which every tenth is judged in each run."""


@pytest.fixture(scope="module", autouse=True)
def silence():
    quiet()


def wrong(chosen):
    found = [judge(*job) for job in chosen]
    assert {v.verdict for v in found} >= {"equal", "refused"}  # what would be judged as one thing alone is not judged
    return [v for v in found if v.verdict == "different"]


def test_a_tenth_of_the_families():
    assert wrong(JOBS[::10]) == []


@pytest.mark.slow
def test_all_families():
    assert wrong(JOBS) == []
