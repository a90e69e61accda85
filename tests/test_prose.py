"""The prose of pages, docstrings, errors and help keeps the rules of .vale/styles/prh."""

import argparse
from collections.abc import Iterator

import pytest

pytest.importorskip("yaml")
import prose

from prh_jax.cli.main import make_parser

GENERATED = {"families.md"}
"""Tables of messages by other libraries."""
PAGES = [
    *(prose.ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "SECURITY.md")),
    *(page for page in sorted((prose.ROOT / "docs").glob("*.md")) if page.name not in GENERATED),
]
PACKAGES = ["prh_jax", "extractors"]
BAD = {
    "What": ["What a killed run left is removed.", "It is fast. What it keeps is small."],
    "Words": [
        "A mark tells which tile is done.",
        "It lies beside the result.",
        "Give the file anew.",
        "So many orders.",
    ],
    "Field": ["The samples are re-paired.", "This is what chance gives."],
    "Sentences": ["The " + "very " * 39 + "end."],
}
GOOD = [
    "What is a sketch?",
    "Run the command again: it resumes the study. A mark is next to each tile.",
    "The " + "very " * 20 + "end. The " + "very " * 20 + "end.",
    "NaN stands for an unknown score.",
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages(page):
    assert [fault for found in prose.of_page(page) for fault in prose.faults(found)] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings_and_errors(package):
    modules = sorted((prose.ROOT / package).rglob("*.py"))
    assert [fault for path in modules for found in prose.of_module(path) for fault in prose.faults(found)] == []


def test_help_of_the_command_line():
    found = [prose.Paragraph(command, 1, text) for command, text in _helps(make_parser(), "prh")]
    assert len(found) > 100 and [fault for text in found for fault in prose.faults(text)] == []


def _helps(parser: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, str]]:
    yield name, parser.description or ""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command, sub in action.choices.items():
                yield from _helps(sub, f"{name} {command}")
        elif action.help not in (None, argparse.SUPPRESS):
            yield f"{name} {action.dest}", action.help


@pytest.mark.parametrize(("rule", "text"), [(rule, text) for rule, texts in BAD.items() for text in texts])
def test_a_bad_sentence_breaks_its_rule(rule, text):
    assert any(f": prh.{rule}: " in fault for fault in prose.faults(prose.Paragraph("page.md", 7, text)))


@pytest.mark.parametrize("text", GOOD)
def test_a_good_one_breaks_none(text):
    assert list(prose.faults(prose.Paragraph("page.md", 7, text))) == []


def test_every_rule_has_a_bad_sentence():
    assert set(BAD) == set(prose.RULES)


def test_faults_are_found_where_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(prose, "ROOT", tmp_path)
    page, module = tmp_path / "page.md", tmp_path / "module.py"
    page.write_text("# Title\n\n```sh\nbeside\n```\n\nFine, `beside`.\n\n| a | it tells |\n|---|---|\n")
    lines = ['"""Fine."""', "", "", "def f(x):", '    """Fine.', "", "    x", "        Lies beside.", '    """']
    module.write_text("\n".join([*lines, '    raise TypeError(f"{x} tells.")', ""]))
    texts = [*prose.of_page(page), *prose.of_module(module)]
    found = [fault.split(" ")[0] for text in texts for fault in prose.faults(text)]
    assert sorted(found) == ["module.py:10:", "module.py:8:", "page.md:9:"]
