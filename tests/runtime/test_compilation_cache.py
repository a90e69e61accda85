"""Compiled programs outlive the process: a second command compiles nothing, and gives the same bits."""

import json
import os
import subprocess
import sys

import pytest
import xarray as xr
from inputs import make_store

from prh_jax import load_alignment

pytestmark = pytest.mark.as_shipped
COUNTED = """
import collections, json, sys
import jax
from prh_jax.cli.main import main
events = collections.Counter()
jax.monitoring.register_event_listener(lambda event, **_: events.update([event.rpartition("/")[2]]))
jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: events.update([event.rpartition("/")[2]]))
status = main(sys.argv[1:])
made = {"programs": events["backend_compile_duration"], "read": events["cache_hits"], "kept": events["cache_misses"]}
print(json.dumps({"status": status} | made))
"""


def not_told():
    """The environment without what it tells JAX of its cache."""
    return {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR" and "_CACHE_MIN_" not in k}


def command(cache, *arguments):
    environment = not_told() | {"XDG_CACHE_HOME": str(cache), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", COUNTED, *map(str, arguments)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def test_a_second_command_reads_what_the_first_compiled(tmp_path):
    store = make_store(tmp_path / "a.zarr", "a", (14, 9)).path
    found = [
        command(
            tmp_path / "cache", "align", "--x", store, "--metric", "cka", "svcca:dim=3", "-o", tmp_path / f"{i}.zarr"
        )
        for i in range(2)
    ]
    (first, _), (second, warned) = found
    assert first["status"] == second["status"] == 0
    assert first["kept"] > 0
    programs = first["kept"] + first["read"]
    assert first["programs"] == programs and second == {"status": 0, "programs": programs, "read": programs, "kept": 0}
    assert "Error" not in warned and "warning" not in warned.lower(), warned
    (folder,) = (tmp_path / "cache" / "prh_jax").iterdir()
    assert folder.name.startswith("compiled-")
    xr.testing.assert_identical(*(load_alignment(tmp_path / f"{i}.zarr").dataset for i in range(2)))


def test_a_folder_that_jax_was_told_stays(tmp_path):
    code = (
        "import jax, prh_jax; print(prh_jax.keep_compiled(), prh_jax.keep_compiled('mine'),"
        " jax.config.jax_persistent_cache_min_compile_time_secs)"
    )
    environment = not_told() | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "told")}
    for told, least in ((), "0.0"), ((("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "1.0"),), "1.0"):
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment | dict(told), capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == [str(tmp_path / "told"), "mine", least]
