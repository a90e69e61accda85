"""`prh bench`: throughput and accuracy, from the suite next to the package in a checkout."""

import argparse
from typing import NoReturn

from .siblings import ROOT, sibling

EPILOG = """\
examples:
  prh bench --size toy
  prh bench --size full --reference platonic-rep --each      the paper's study, against the reference's own functions
"""


def is_here() -> bool:
    """Whether this is a checkout; a `benchmarks` next to an installed package is another project's."""
    project = ROOT / "pyproject.toml"
    return (ROOT / "benchmarks" / "options.py").exists() and project.exists() and '"prh-jax"' in project.read_text()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prh bench`, where the suite is at hand."""
    if is_here():
        sibling("benchmarks")
        from benchmarks.options import add_arguments

        add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Measure, write JSON, print tables."""
    if not is_here():
        refuse()
    from benchmarks.run import run

    return run(args)


def refuse() -> NoReturn:
    """ImportError that says where the suite is."""
    raise ImportError(
        "The benchmarks are part of the repository, not of the installed package. Clone the repository of prh-jax, and "
        "run `make bench` in it."
    )
