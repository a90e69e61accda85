"""A hub of our own, and processes that run `prh` against it from an empty cache."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

EXTRA = ("torch", "torchvision", "timm", "transformers", "datasets", "skimage")
if any(find_spec(name) is None for name in EXTRA):
    collect_ignore_glob = ["test_*.py"]  # these are about the extra "extract"

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


@pytest.fixture(scope="session")
def hub():
    from server import Hub

    with Hub() as served:
        yield served


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """Where the hub's clients keep what they fetch."""
    return tmp_path_factory.mktemp("huggingface")


@pytest.fixture(scope="session")
def online(hub, home, tmp_path_factory):
    process = Commands(tmp_path_factory.mktemp("online"), hub.endpoint, home)
    yield process
    process.end()


@pytest.fixture
def commands(tmp_path, home):
    """commands(endpoint, **environment): another process with the same cache."""
    made = []

    def begin(endpoint, **environment):
        made.append(Commands(tmp_path, endpoint, home, **environment))
        return made[-1]

    yield begin
    for process in made:
        process.end()
