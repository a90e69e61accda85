"""The documentation, without building it: nothing public is left out, nothing linked to is missing."""

import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import prh_jax
from prh_jax import plot
from prh_jax.metrics.registry import METRICS

ROOT = Path(__file__).parent.parent
MADE = {"metrics.md", "commands.md"}
"""Pages that the build writes from the table of metrics and the command line's help."""


def test_everything_public_is_in_the_reference():
    page = (ROOT / "docs" / "reference" / "index.md").read_text()
    named = {name.rsplit(".", 1)[1] for name in re.findall(r"^\.\. auto\w+:: (\S+\.\S+)$", page, flags=re.MULTILINE)}
    metrics = {*METRICS, *(metric.__name__ for metric in METRICS.values())}
    assert set(prh_jax.__all__) - metrics - {"__version__"} <= named
    assert plot.__all__ and "automodule:: prh_jax.plot" in page


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{p.name}" for p in sorted((ROOT / "docs").glob("*.md")))])
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", (ROOT / page).read_text())
    inside = [link for link in links if "://" not in link and Path(link).name not in MADE]
    for link in inside:
        assert ((ROOT / page).parent / link).exists(), link


def test_the_citation_is_of_this_version():
    assert re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)[1] == prh_jax.__version__


def test_every_page_is_in_the_table_of_contents():
    listed = re.findall(r"^(?:.*<)?([\w/]+)>?$", (ROOT / "docs" / "index.md").read_text(), flags=re.MULTILINE)
    assert {p.stem for p in (ROOT / "docs").glob("*.md")} - {"index"} <= set(listed)


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", *(f"docs/{p.name}" for p in sorted((ROOT / "docs").glob("*.md")))])
def test_what_code_imports_is_there(page):
    """Also in blocks that nothing runs, as the recipes for clusters."""
    text = (ROOT / page).read_text()
    found = re.findall(r"^ *from ((?:prh_jax|extractors)[\w.]*) import ([\w, ]+)$", text, re.MULTILINE)
    for module, names in found:
        needed = "torch" if module.startswith("extractors") else "flax" if module == "prh_jax.flax" else "jax"
        if find_spec(needed):
            for name in names.split(", "):
                assert hasattr(import_module(module), name) or find_spec(f"{module}.{name}"), f"{module}.{name}"
