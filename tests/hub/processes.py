"""Processes that run `prh` against a hub."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
NOBODY = "http://127.0.0.1:9"
"""An address where nothing answers."""


@dataclass(frozen=True)
class Outcome:
    """What came of a command."""

    status: int
    out: str
    err: str


class Commands:
    """A process that runs `prh` commands in a folder, whose hub is at `endpoint` and whose cache is below `home`."""

    def __init__(self, folder, endpoint, home, **more):
        self.folder = folder
        own = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        own |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "driver.py")],
            cwd=folder,
            env=own | {"PYTHONPATH": str(HERE.parent.parent), **more},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, line, **environment):
        """Begin a command, with some variables of the environment."""
        self.process.stdin.write(json.dumps([line.split(), environment]) + "\n")
        self.process.stdin.flush()

    def run(self, line, **environment):
        """What came of a command."""
        self.start(line, **environment)
        return Outcome(**json.loads(self.process.stdout.readline()))

    def end(self):
        self.process.kill()
        self.process.communicate()
