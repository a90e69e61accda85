"""Local checkpoints and small data sets; no hub."""

from importlib.util import find_spec

import pytest

from extractors.datasets.loading import load
from extractors.models import tiny

EXTRA = ("torch", "torchvision", "timm", "transformers", "datasets", "skimage")
if any(find_spec(name) is None for name in EXTRA):
    collect_ignore_glob = ["test_*.py"]  # these are about the extra "extract"
else:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def emoji():
    return load("emoji_1024")


@pytest.fixture(scope="session")
def few():
    """300 samples: a whole block and a short one."""
    return load("emoji_1024", num_samples=300)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory, emoji):
    """checkpoint(kind): the folder of a tiny language model, made once."""
    root, made = tmp_path_factory.mktemp("checkpoints"), {}

    def make(kind):
        if kind not in made:
            made[kind] = str(tiny.tiny_language_model(kind, root / kind, emoji.captions()[:200]))
        return made[kind]

    return make
