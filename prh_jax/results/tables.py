"""Model-by-model tables as text: Markdown, LaTeX, terminal. Names are shown as text, whatever they hold."""

import re
from typing import Any

import numpy as np
import xarray as xr

from ..stores.shown import plain_name

SELF = "self"
"""Replaces in a table the score of a model with itself."""
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    '"': r"\textquotedbl{}",
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
} | {sign: "\\" + sign for sign in "&%$#_{}"}


def escape_markdown(text: Any) -> str:
    """Text that Markdown (CommonMark, tables and links of GitHub) shows as it is."""
    shown = re.sub(r"[\\`*\[\]|~$@#^]", r"\\\g<0>", plain_name(text))
    shown = re.sub(r"(?<!\w)_+|_+(?!\w)", lambda run: "\\_" * len(run[0]), shown)
    shown = shown.replace("://", ":\\//").replace("www.", "www\\.")
    return re.sub("[&<>]", lambda sign: _HTML[sign[0]], shown)


def escape_latex(text: Any) -> str:
    """Text that LaTeX sets as it is (the signs ~ ^ < > | need no package; letters of other scripts need a font)."""
    return "".join(LATEX.get(sign, sign) for sign in plain_name(text))


def markdown_table(table: xr.DataArray, *, digits: int = 4, corner: str = "") -> str:
    """Rows and columns of a two-dimensional table in Markdown; NaN is a dash, a model with itself "self"."""
    rows, columns = (_names(table, dim) for dim in table.dims)
    lines = ["| " + " | ".join([escape_markdown(corner) if corner else "", *map(escape_markdown, columns)]) + " |"]
    lines.append("|---|" + "---:|" * len(columns))
    for name, cells in zip(rows, cell_texts(table, digits, "-"), strict=True):
        lines.append("| " + " | ".join([escape_markdown(name), *cells]) + " |")
    return "\n".join(lines)


def latex_table(table: xr.DataArray, *, digits: int = 4, corner: str = "") -> str:
    """The same as a LaTeX tabular with rules of booktabs; many column names are upright (graphicx)."""
    rows, columns = (_names(table, dim) for dim in table.dims)
    upright = len(columns) > 5
    heads = [rf"\rotatebox{{90}}{{{escape_latex(name)}}}" if upright else escape_latex(name) for name in columns]
    lines = [
        r"% needs \usepackage{booktabs}" + (r" and \usepackage{graphicx}" if upright else ""),
        rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
        r"\toprule",
        " & ".join([escape_latex(corner) if corner else "", *heads]) + r" \\",
        r"\midrule",
    ]
    for name, cells in zip(rows, cell_texts(table, digits, "--"), strict=True):
        lines.append(" & ".join([escape_latex(name), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def _names(table: xr.DataArray, dim: Any) -> list[str]:
    return [str(name) for name in table[dim].values]


def self_cells(table: xr.DataArray) -> np.ndarray:
    """Where a table of model pairs holds a model with itself: its coordinate `self_pair`, nowhere if it has none."""
    marked = "self_pair" in table.coords
    return table["self_pair"].transpose(*table.dims).values if marked else np.zeros(table.shape, bool)


def cell_texts(table: xr.DataArray, digits: int, unknown: str) -> list[list[str]]:
    """The cells of a table of model pairs as text."""
    rows = zip(table.values, self_cells(table), strict=True)
    return [[SELF if own else _number(v, digits, unknown) for v, own in zip(*row, strict=True)] for row in rows]


def _number(value: Any, digits: int, unknown: str) -> str:
    return unknown if np.isnan(value) else f"{float(value):.{digits}f}"
