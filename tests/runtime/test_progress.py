"""Progress in a log: lines while something lasts, and none for what is quick."""

import re
import threading
import time

import pytest

from prh_jax.runtime import progress


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(progress, "SECONDS", 0.1)
    monkeypatch.setattr(progress._Lines, "ended", float("-inf"))


def lines(capsys):
    return capsys.readouterr().err.splitlines()


def test_a_step_that_takes_long_is_seen_to_go_on(capsys):
    with progress.progress_bar("scoring", "tiles", 4000, initial=1000) as bar:
        bar.update(1500)
        time.sleep(0.35)  # one step without an update
        bar.update(1500)
    printed = lines(capsys)
    assert 3 <= len(printed) <= 5
    assert all(re.fullmatch(r"scoring: 2,500 of 4,000 tiles in 0 s, about 0 s left", line) for line in printed[:-1])
    assert printed[-1] == "scoring: 4,000 of 4,000 tiles in 0 s"


def test_time_left_is_that_of_what_is_left(monkeypatch):
    bar = progress._Lines("null", "orders", 1000, 400)
    bar.start, bar.done = 0.0, 500
    monkeypatch.setattr(progress.time, "monotonic", lambda: 60.0)  # a hundred in a minute, five hundred left
    assert bar._state() == "500 of 1,000 orders in 60 s, about 5 min left"


@pytest.mark.parametrize("seconds, text", [(12.4, "12 s"), (180, "3 min"), (9000, "2.5 h")])
def test_times_in_words(seconds, text):
    assert progress._time(seconds) == text


def test_nothing_is_printed_of_what_is_quick_or_quiet(capsys):
    with progress.progress_bar("scoring", "tiles", 2) as bar:
        bar.update(2)
    with progress.waiting("loading"):
        pass
    assert list(progress.progress(range(3), "reading", "samples")) == [0, 1, 2]
    with progress.progress_bar("scoring", "tiles", 2, quiet=True):
        time.sleep(0.25)
    assert not lines(capsys)


def test_no_longer_is_silent_over_several_steps(capsys):
    for what in ("loading", "compiling", "scoring"):
        with progress.waiting(what):
            time.sleep(0.06)
    assert [line.split(":")[0] for line in lines(capsys)][:1] == ["compiling"]


def test_waiting_says_how_long(capsys):
    with progress.waiting("loading vit"):
        time.sleep(0.25)
    assert lines(capsys)[0] == "loading vit: 0 s so far"


def test_a_loop_that_fails_prints_no_more(capsys):
    running = threading.active_count()
    with pytest.raises(KeyError) as kept:
        for _ in progress.progress(range(10), "reading", "samples"):
            time.sleep(0.15)
            raise KeyError
    assert threading.active_count() == running
    lines(capsys)
    time.sleep(0.25)
    assert not lines(capsys) and kept.value is not None


def test_a_loop_prints_between_its_steps(capsys):
    for _ in progress.progress(iter(range(3)), "reading", "samples", total=3):
        time.sleep(0.12)
    assert lines(capsys)[-1] == "reading: 3 of 3 samples in 0 s"
