"""Docstrings of public names: complete in numpydoc's form, and with examples that run."""

import doctest
import importlib
import inspect
from importlib.util import find_spec

import pytest

import prh_jax
import prh_jax.plot
from prh_jax._names import HOME, METRIC_NAMES, ON_HOST

DATA = {"HOST_METRICS", "METRICS", "PRH_METRICS", "SUPPORTED_METRICS"}
NAMES = {name: f"prh_jax.{HOME[name]}" for name in HOME if name not in DATA}
NAMES |= dict.fromkeys(prh_jax.plot.__all__, "prh_jax.plot")
if find_spec("torch"):
    NAMES |= {"extract_module": "extractors.module", "extract_modules": "extractors.module"}
    NAMES |= {"import_features": "extractors.importing.features", "Noised": "extractors.diffusion"}
    NAMES |= dict.fromkeys(("torchvision_model", "open_clip_model"), "extractors.adapters")

LEFT_OUT: dict[str, str] = {
    "ES01": "one line says all of many functions",
    "EX01": "metrics and losses have examples here; studies have theirs in the pages that the documentation runs",
    "PR04": "types are in the signature, where type checkers read them",
    "SA01": "related names are in the text, where the reason for looking there is too",
}
VERBS = {
    *(
        "Add",
        "Align",
        "Calibrate",
        "Compare",
        "Complete",
        "Compute",
        "Correlate",
        "Draw",
        "Estimate",
        "Extend",
        "Find",
        "Format",
        "Match",
        "Predict",
    ),
    *("Forget", "Keep", "List", "Load", "Make", "Merge", "Open", "Raise", "Read", "Register", "Return", "Run"),
    *("Score", "Allow", "Check", "Forbid", "Select", "Write"),
}
"""First words of functions and methods, which say what they do."""


def of(name):
    return getattr(importlib.import_module(NAMES[name]), name)


def own_methods(kind):
    for name, member in vars(kind).items():
        function = getattr(member, "__func__", member)
        if not name.startswith("_") and inspect.isfunction(function):
            yield name, inspect.getdoc(getattr(kind, name))


def imperative(text):
    return text.split()[0] in VERBS


@pytest.mark.parametrize("name", NAMES)
def test_the_form_is_complete(name):
    validate = pytest.importorskip("numpydoc.validate").validate
    errors = validate(f"{NAMES[name]}.{name}")["errors"]
    assert [error for error in errors if error[0] not in LEFT_OUT] == []


@pytest.mark.parametrize("name", NAMES)
def test_functions_say_what_they_do(name):
    found = of(name)
    if not inspect.isclass(found):
        assert imperative(inspect.getdoc(found))
    elif not issubclass(found, prh_jax.Metric) or found is prh_jax.Metric:
        assert [method for method, text in own_methods(found) if not text or not imperative(text)] == []


@pytest.mark.parametrize("name", [name for name in METRIC_NAMES if name not in ON_HOST])
def test_metrics_have_formula_source_and_example(name):
    text = inspect.getdoc(of(name)) or ""
    assert "score = " in text and "References\n----------\n" in text and ">>> " in text and "Raises\n------\n" in text


@pytest.mark.parametrize("module", sorted({NAMES[name] for name in NAMES} | {"prh_jax.flax"}))
def test_examples_run(module):
    if module == "prh_jax.flax":
        pytest.importorskip("flax")
    found = importlib.import_module(module)
    assert doctest.testmod(found, report=False).failed == 0
