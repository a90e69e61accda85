"""Commands killed at random moments: the next run ends with what an undisturbed one gives, and nothing stays behind."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

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
