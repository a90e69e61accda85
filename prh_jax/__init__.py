"""Alignment of neural representations: all layer pairs of all model pairs, many metrics, in JAX.

Public names are loaded when they are first used: importing the package imports neither JAX nor numpy.
"""

from importlib import import_module
from typing import Any

from ._names import HOME
from ._version import __version__

__all__ = ["__version__", *HOME]


def __getattr__(name: str) -> Any:
    if name not in HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{HOME[name]}"), name)
    globals()[name] = value  # the next time, Python finds it here
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
