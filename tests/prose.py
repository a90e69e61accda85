"""Reads the rules of .vale/styles/prh as Vale does, and finds where the prose of this repository breaks them."""

import ast
import re
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).parent.parent
RULES = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((ROOT / ".vale/styles/prh").glob("*.yml"))}


class Paragraph(NamedTuple):
    path: str
    line: int
    text: str


def faults(found: Paragraph) -> Iterator[str]:
    """Each place where a paragraph breaks a rule, with the remedy."""
    for name, rule in RULES.items():
        for part in sentences(found.text) if rule.get("scope") == "sentence" else [found.text]:
            for message, around in _broken(rule, part):
                yield f"{found.path}:{found.line}: prh.{name}: {message} Here: ...{around}..."


def sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.!?:;])\s+(?=[A-Z\"'(`\[])", text)


def _broken(rule: dict, part: str) -> Iterator[tuple[str, str]]:
    flags = re.IGNORECASE if rule.get("ignorecase") else 0
    if rule["extends"] == "occurrence" and len(re.findall(rule["token"], part, flags)) > rule["max"]:
        yield rule["message"], part[:80]
    patterns = rule.get("swap") or dict.fromkeys(rule.get("raw", ()))
    for pattern, better in patterns.items():
        for match in re.finditer(pattern, part, flags):
            words = iter([match[0]] if better is None else [better, match[0]])
            around = part[max(0, match.start() - 40) : match.end() + 40]
            yield re.sub("%s", lambda _, words=words: next(words), rule["message"]), around


def of_page(path: Path) -> Iterator[Paragraph]:
    """Paragraphs, items and cells of Markdown; code, comments and addresses of links are left out."""
    text = re.sub(r"^( *)```.*?^\1```|<!--.*?-->|\A---\n.*?^---$", _blank, path.read_text(), flags=re.M | re.S)
    text = re.sub(r"\]\([^)]*\)", lambda match: "]" + _blank(match), text)
    yield from _paragraphs(path, 1, text, r"\n\s*\n|\n(?=\s*(?:[*-]|\d+\.) )|\n?\|")


def of_module(path: Path) -> Iterator[Paragraph]:
    """Docstrings without their examples, and the messages of errors."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            text = re.sub(r"^>>>.*?(?=\n\n|\Z)|^-+$", _blank, cleandoc(node.value.value), flags=re.M | re.S)
            # an indent begins or ends a description
            text = re.sub(r"^( *)(\S.*)\n(?!\1\S)", r"\1\2\0\n", text, flags=re.M)
            yield from _paragraphs(path, node.lineno, text, r"\0|\n\s*\n|\n(?=\s*- |.*\S {2,}\S)")
        elif isinstance(node, ast.Raise) and node.exc is not None:
            for message in _messages(node.exc):
                yield from _paragraphs(path, node.lineno, message, r"\n")


def _messages(node: ast.AST) -> Iterator[str]:
    """Texts in an expression, with X for the values in them."""
    if isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    else:
        for child in ast.iter_child_nodes(node):
            yield from _messages(child)


def _paragraphs(path: Path, line: int, text: str, ends: str) -> Iterator[Paragraph]:
    text = re.sub(r"(`+)[^`]+?\1", lambda match: "X" + _blank(match), text)
    start = 0
    for end in [*re.finditer(ends, text), None]:
        block = text[start : end.start() if end else len(text)]
        at = line + text.count("\n", 0, start + len(block) - len(block.lstrip()))
        if block.strip():
            yield Paragraph(str(path.relative_to(ROOT)), at, " ".join(block.split()))
        start = end.end() if end else start


def _blank(match: re.Match) -> str:
    return "\n" * match[0].count("\n")
