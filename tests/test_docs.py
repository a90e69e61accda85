"""The documentation, without building it: nothing public is left out, nothing linked to is missing."""

import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import prh_jax
from prh_jax import plot
from prh_jax.metrics.registry import HOST_METRICS, METRICS

ROOT = Path(__file__).parent.parent
MADE = {"metrics.md", "commands.md"}
"""Pages that the build writes from the table of metrics and the command line's help."""


def test_everything_public_is_in_the_reference():
    page = (ROOT / "docs" / "reference" / "index.md").read_text()
    named = {name.rsplit(".", 1)[1] for name in re.findall(r"^\.\. auto\w+:: (\S+\.\S+)$", page, flags=re.MULTILINE)}
    metrics = {*METRICS, *(metric.__name__ for metric in (METRICS | HOST_METRICS).values())}
    assert set(prh_jax.__all__) - metrics - {"__version__"} <= named
    assert plot.__all__ and "automodule:: prh_jax.plot" in page


PAGES = [
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "SECURITY.md", "CODE_OF_CONDUCT.md"),
    *(
        str(p.relative_to(ROOT))
        for p in sorted((ROOT / "docs").rglob("*.md"))
        if p.name not in MADE and "_build" not in p.parts
    ),
]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    """Files and headings; `make linkcheck` looks at addresses of others."""
    assert broken_links(ROOT / page) == []


def test_a_broken_link_is_found(tmp_path):
    page, other = tmp_path / "page.md", tmp_path / "other.md"
    other.write_text("# A title\n\n```sh\n# no heading\n```\n\n## `code` & more\n\n## A title\n")
    good = "[a](other.md) [b](other.md#a-title) [c](other.md#code--more) [d](other.md#a-title-1) [e](https://x.org/#y)"
    page.write_text(f"# Here\n\n{good} [f](#here) `[g](gone.md)`\n")
    assert broken_links(page) == []
    page.write_text("[a](gone.md) [b](other.md#no-heading) [c](#there) [d](other.md#a-title-2)\n")
    assert len(broken_links(page)) == 4


def broken_links(page):
    text = without_code(page.read_text())
    found = []
    for path, anchor in re.findall(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]+))?\)", re.sub(r"`[^`]*`(?!\])", "", text)):
        target = page.parent / path if path else page
        if target.name not in MADE and not (target.exists() and (not anchor or anchor in anchors(target))):
            found.append(f"{path}#{anchor}")
    return found


def anchors(page):
    """Of headings as GitHub and myst make them: lower case, no signs, hyphens for spaces, and numbers for repeats."""
    found = []
    for title in re.findall(r"^#+ (.+)$", without_code(page.read_text()), re.MULTILINE):
        name = re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")
        repeats = sum(re.fullmatch(rf"{re.escape(name)}(-\d+)?", other) is not None for other in found)
        found.append(f"{name}-{repeats}" if repeats else name)
    return found


def without_code(text):
    return re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.MULTILINE | re.DOTALL)


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
