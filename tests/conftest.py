"""The strictest settings: no silent promotion of types or ranks, shapes checked at run time, no hub."""

import atexit
import gc
import os
import shutil
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    # What one worker, or a command in a process of its own, has compiled serves the others until the run ends.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="prh-jax-tests-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

from jaxtyping import install_import_hook

HOOK = install_import_hook("prh_jax", "typecheck.checker")

import jax  # noqa: E402
import pytest  # noqa: E402
from browser import browser, kept_open, opened  # noqa: E402, F401

from prh_jax.engine.null_scores import null_scorer  # noqa: E402
from prh_jax.engine.programs import summary_program, tile_scorer  # noqa: E402

TESTS = pytest.StashKey[list]()

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def x64():
    """Float64 for the duration of a test."""
    with jax.enable_x64(True):
        yield


def count_maps():
    """Memory maps of this process; 0 where the system does not tell."""
    maps = Path("/proc/self/maps")
    return maps.read_bytes().count(b"\n") if maps.exists() else 0


@pytest.fixture(autouse=True)
def let_go_of_programs(request):
    """A program takes some 20 memory maps, and beyond 65,530 of them compiling ends the process: let go in time."""
    yield
    tests = request.config.stash.setdefault(TESTS, [0])
    tests[0] += 1
    if tests[0] % 20 == 0 and count_maps() > 30_000:
        for cache in (tile_scorer, summary_program, null_scorer):
            cache.cache_clear()
        jax.clear_caches()
        gc.collect()
