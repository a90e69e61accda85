"""Commands killed at random moments: the next run ends with what an undisturbed one gives, and nothing stays behind."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from faults.damage import copy
from faults.subjects import scores_of
from prh_jax.stores import publish

KILLS = 5
"""Of each command."""


@pytest.mark.slow
@pytest.mark.skipif(find_spec("torch") is None or find_spec("transformers") is None, reason="needs the extra 'extract'")
def test_commands_killed_at_random_moments(ledger, tmp_path):
    driver, paths = Path(__file__).with_name("kill_driver.py"), os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, str(driver), str(tmp_path), str(KILLS)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for name in dict.fromkeys(name for name, _, _ in found):
        with ledger.kind(f"kill: {name}") as kind:
            for command, moment, problem in found:
                if command == name:
                    kind.note("wrong" if problem else "unchanged", f"{name}, killed at {moment}: {problem}")
    assert len(found) >= 5 * KILLS


def test_what_a_killed_write_left_is_removed_and_a_living_ones_is_not(subjects, ledger, tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    with publish.write_whole(tmp_path / "f.txt", replace=True) as building:
        building.write_text("whole")
        alive, numbers = building, building.name.split("-")
        left = building.with_name("-".join([numbers[0], str(dead.pid), numbers[2]]))
        left.write_text("half")
        with publish.write_whole(tmp_path / "f.txt", replace=True) as other:
            other.write_text("other")
        assert alive.exists() and not left.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["f.txt"] and (tmp_path / "f.txt").read_text() == "whole"
    running = copy(subjects.running, tmp_path / "copy")
    (running / "cka/c/0/0.1234.partial").write_text("half")  # as Zarr names what it writes
    with ledger.kind("leftovers") as kind:
        expected = scores_of(subjects.align(None))
        kind.judge("of a killed write of a tile", lambda: scores_of(subjects.align(running)), expected)
        left = [path.name for path in running.rglob("*.partial")]
        kind.note("wrong" if left else "unchanged", f"left {left}")
