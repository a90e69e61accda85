"""The face of the package: its names and signatures, what importing it loads, and what stands beside it."""

import importlib
import importlib.util
import inspect
import json
import os
import pkgutil
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import prh_jax
from prh_jax._names import METRIC_NAMES, PUBLIC
from prh_jax.analysis.describe import ESTIMATORS
from prh_jax.cli import arguments, describe
from prh_jax.metrics.registry import HOST_METRICS, METRICS
from prh_jax.null.settings import AGGREGATES
from prh_jax.results.reduce import HOW

ROOT = Path(prh_jax.__file__).parent
KNOWN = json.loads((Path(__file__).parent / "public_api.json").read_text())
"""Names, call signatures and methods of version 0.1.0, from `inspect`: [name, kind, default] of each parameter."""


def parameters(function):
    found = {}
    for place, p in enumerate(inspect.signature(function).parameters.values()):
        default = None if p.default is p.empty else p.default.__name__ if callable(p.default) else repr(p.default)
        found[p.name] = (p.kind.name, default, place)
    return found


def check_signature(function, known, name):
    """Every parameter is there, of the same kind, with the same default, and positional ones at the same place."""
    found = parameters(function)
    for place, (parameter, kind, default) in enumerate(known):
        assert parameter in found, f"{name} has lost {parameter}"
        assert found[parameter][:2] == (kind, default), f"{name}, {parameter}: {found[parameter]}"
        assert kind != "POSITIONAL_OR_KEYWORD" or found[parameter][2] == place, f"{name}: {parameter} has moved"


@pytest.mark.parametrize("module", KNOWN)
def test_public_names_and_signatures_stay(module):
    package = importlib.import_module(module)
    for name, known in KNOWN[module].items():
        found = getattr(package, name)
        if known.get("call") is not None:
            check_signature(found, known["call"], f"{module}.{name}")
        for method, signature in known.get("methods", {}).items():
            if method not in getattr(found, "__annotations__", {}):
                assert hasattr(found, method), f"{module}.{name} has lost {method}"
            if signature is not None:
                raw = inspect.getattr_static(found, method)
                check_signature(getattr(raw, "__func__", raw), signature, f"{module}.{name}.{method}")


def test_dir_shows_public_names_alone():
    assert dir(prh_jax) == sorted({"__version__", *(name for names in PUBLIC.values() for name in names)})
    assert not any(name.startswith("_") for name in dir(prh_jax) if name != "__version__")
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = prh_jax.nothing


def test_every_public_name_is_where_the_table_says():
    for module, names in PUBLIC.items():
        for name in names:
            assert getattr(prh_jax, name) is getattr(importlib.import_module(f"prh_jax.{module}"), name)


def test_editors_are_told_the_same_names():
    lines = (ROOT / "__init__.pyi").read_text().splitlines()
    expected = [f"from .{m} import {n} as {n}" for m, names in PUBLIC.items() for n in names]
    assert sorted(lines) == sorted([*expected, "from ._version import __version__ as __version__"])


def test_no_submodule_is_hidden_by_a_function_of_its_name():
    for found in pkgutil.walk_packages([str(ROOT)], "prh_jax."):
        parent, _, name = found.name.rpartition(".")
        if name != "__main__" and (name != "flax" or importlib.util.find_spec("flax")):
            module = importlib.import_module(found.name)
            assert getattr(importlib.import_module(parent), name) is module, found.name


def test_what_help_knows_without_loading_anything_is_true():
    assert METRIC_NAMES and set(METRIC_NAMES) == set(METRICS | HOST_METRICS)
    assert set(arguments.AGGREGATES) == set(AGGREGATES) and set(arguments.HOW) == set(HOW)
    assert describe.ESTIMATORS == ESTIMATORS


def test_importing_the_package_loads_nothing_heavy():
    """Nothing at all, in fact, beside the standard library."""
    code = (
        "import sys; before = set(sys.modules); import prh_jax; after = {name.partition('.')[0] for name in"
        " set(sys.modules) - before}; print(*(after - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["prh_jax"]


@pytest.mark.as_shipped
@pytest.mark.parametrize("words", [["--help"], ["completion", "bash"], ["align", "--help"]], ids=" ".join)
def test_help_and_completion_come_at_once(words):
    """Least of three runs: below 0.3 s of CPU."""

    def seconds():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "prh_jax", *words], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.3


@pytest.fixture
def traps(tmp_path):
    """A folder of somebody's own modules that happen to be called as packages beside prh_jax are."""
    (tmp_path / "benchmarks").mkdir()
    for name in ("benchmarks/__init__.py", "benchmarks/run.py", "benchmarks/options.py", "extractors.py"):
        (tmp_path / name).write_text('raise SystemExit("ran")\n')
    return tmp_path


@pytest.mark.parametrize("words", [["metrics"], ["--help"], ["bench", "--help"], ["extract", "--help"]], ids=" ".join)
@pytest.mark.parametrize("how", ["-m", "script"])
def test_what_lies_in_the_working_folder_is_not_run(traps, words, how):
    script = "import sys; sys.path.pop(0); from prh_jax.cli.main import main; sys.exit(main())"
    command = ["-m", "prh_jax"] if how == "-m" else ["-c", script]
    environment = os.environ | {"PYTHONPATH": str(ROOT.parent)}
    done = subprocess.run(
        [sys.executable, *command, *words], capture_output=True, text=True, cwd=traps, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "ran" not in done.stderr.split() and "ran" not in done.stdout.split()


def test_another_module_in_the_place_of_ours_is_named(traps):
    code = (
        "import sys; sys.modules['extractors'] = type(sys)('extractors')\n"
        "from prh_jax.cli.main import main; sys.exit(main(['metrics']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "prh needs its own package 'extractors'" in done.stderr and "Traceback" not in done.stderr


def test_bench_without_a_checkout_says_where_to_get_it(tmp_path):
    """A copy of the package alone, with somebody else's `benchmarks` beside it."""
    import shutil

    ignore = shutil.ignore_patterns("__pycache__", "emoji_1024")
    for name in ("prh_jax", "extractors"):
        shutil.copytree(ROOT.parent / name, tmp_path / name, ignore=ignore)
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "options.py").write_text('raise SystemExit("ran")\n')
    command = [sys.executable, "-m", "prh_jax", "bench", "--size", "toy"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2 and "Clone the repository" in done.stderr
