"""No family has other states than its library: a twentieth of them in each run, all of them in `make test-all`."""

import pytest

from .sweep import jobs, judge, quiet

pytest.importorskip("transformers")
pytest.importorskip("timm")


def wrong(chosen):
    quiet()
    found = [judge(*job) for job in sorted(jobs())[chosen]]
    assert {v.verdict for v in found} >= {"equal", "refused"}  # or else nothing was judged
    return [v for v in found if v.verdict == "different"]


def test_a_twentieth_of_the_families():
    assert wrong(slice(2, None, 20)) == []


@pytest.mark.slow
def test_all_families():
    assert wrong(slice(None)) == []
