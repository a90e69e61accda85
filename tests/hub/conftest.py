"""A hub of our own, and processes that run `prh` against it from an empty cache."""

from importlib.util import find_spec

import pytest
from processes import Commands

EXTRA = ("torch", "torchvision", "timm", "transformers", "datasets", "skimage")
if any(find_spec(name) is None for name in EXTRA):
    collect_ignore_glob = ["test_*.py"]  # these are about the extra "extract"


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
