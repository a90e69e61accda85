"""Sphinx: pages in Markdown whose Python runs at the build, and a reference made from the docstrings."""

import os
import re
import sys
from pathlib import Path

from prh_jax import __version__
from prh_jax.cli.main import make_parser
from prh_jax.metrics.registry import HOST_METRICS, METRICS

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["COLUMNS"] = "110"
# pages run in processes of their own: they find `prh`, and share what JAX compiles
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(Path(__file__).parent / "_build" / "jax")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0"  # pages compile much, and compute little

project, author, copyright = "prh_jax", "The prh_jax developers", "The prh_jax developers"
version = release = __version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
html_theme = "furo"
html_title = "prh_jax"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["tables.css"]
exclude_patterns = ["_build"]
smartquotes = False

myst_heading_anchors = 3

nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = -1
nb_execution_show_tb = True
nb_merge_streams = True
nb_render_markdown_format = "gfm"
nb_output_stderr = "remove"

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_google_docstring = False
python_maximum_signature_line_length = 88

NAMES = re.compile(r"\*{0,2}\w+(, \*{0,2}\w+)*")
"""A line that names parameters, which napoleon escapes itself."""


def as_restructured_text(lines: list[str]) -> list[str]:
    """Turn a docstring of this project, which has code in single backticks, into one that napoleon reads."""
    made: list[str] = []
    in_code = False
    for line in lines:
        in_code = bool(line.strip()) and (in_code or line.lstrip().startswith(">>>"))
        made.append(line if in_code or NAMES.fullmatch(line) else _escape(line))
    return made


def _escape(text: str) -> str:
    """Code in double backticks; signs of formulas outside of it mean nothing to us, and much to reStructuredText."""
    parts = re.split(r"(`+[^`]+`+)", text)
    return "".join(f"``{p.strip('`')}``" if p.startswith("`") else re.sub(r"([*|_])", r"\\\1", p) for p in parts)


def _process_docstring(app, what, name, obj, options, lines):
    lines[:] = as_restructured_text(lines)


def _metrics_page() -> str:
    """A section a metric, from the table of metrics: a new metric needs no line here."""
    parts = ["# Metrics\n", "Each metric is a plain function, and an object with the same settings.\n"]
    for name, metric in METRICS.items():
        directives = f".. autofunction:: prh_jax.{name}\n\n.. autoclass:: prh_jax.{metric.__name__}\n"
        parts.append(f"## {name}\n\n```{{eval-rst}}\n{directives}```\n")
    parts.append(
        "## Metrics of numpy\n\n`align` takes them as all others. They have no gradient and do not work under `jit`.\n"
    )
    for metric in HOST_METRICS.values():
        parts.append(f"```{{eval-rst}}\n.. autoclass:: prh_jax.{metric.__name__}\n```\n")
    return "\n".join(parts)


def _commands_page() -> str:
    """The help of every command."""
    parser = make_parser()
    commands = next(action for action in parser._actions if action.dest == "command").choices
    helps = {"prh": parser} | {f"prh {name}": command for name, command in commands.items()}
    parts = [f"## {name}\n\n```text\n{command.format_help().rstrip()}\n```\n" for name, command in helps.items()]
    return "\n".join(["# Command line\n", *parts])


def _write_pages(app):
    for name, text in (("metrics", _metrics_page()), ("commands", _commands_page())):
        path = Path(app.srcdir) / "reference" / f"{name}.md"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def setup(app):
    app.connect("builder-inited", _write_pages)
    app.connect("autodoc-process-docstring", _process_docstring, priority=400)  # before napoleon
