"""Contents of a file of features: arrays by name, the ones that were asked for, in an order that people expect."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from prh_jax.arrays import NotRealError, real_numbers

from ..errors import ExtractionError, MissingExtraError

IDS = "ids"
"""Name of the array of the samples' ids in files that hold arrays by name."""


@dataclass(frozen=True)
class Found:
    """Contents of a file.

    arrays  an array (n, d) a layer, or one array of all layers, by name; "" is a file's only array, without a name
    ids     of the samples, where the file has some
    result  numbers of the model next to its features
    axes    the order of the axes of an array of all layers, where the kind of file says so
    """

    arrays: dict[str, np.ndarray]
    ids: Sequence[Any] | None = None
    result: dict[str, Any] = field(default_factory=dict)
    axes: str | None = None


def natural(names: Iterable[str]) -> list[str]:
    """Names in the order that people count in: layer_2 before layer_10."""
    return sorted(names, key=lambda name: [int(part) if part.isdigit() else part for part in _PARTS.split(name)])


_PARTS = re.compile("([0-9]+)")


def choose(source: Path, there: Sequence[str], keys: Sequence[str] | None) -> list[str]:
    """The names that were asked for, by themselves or by patterns (`block_*`); all of them where None was asked for.

    ExtractionError for one that is not there.
    """
    if keys is None:
        return list(there)
    chosen: dict[str, None] = {}
    for key in keys:
        matching = [key] if key in there else [name for name in there if fnmatchcase(name, key)]
        if not matching:
            some = ", ".join(there[:12]) + (" ..." if len(there) > 12 else "")
            raise ExtractionError(f"{source} has no {key!r} (--key); it has {some or 'nothing that could be read'}.")
        chosen |= dict.fromkeys(matching)
    return list(chosen)


def as_array(source: Path, name: str, value: Any) -> np.ndarray:
    """The real numbers of what a file holds; ExtractionError where it holds others, or none."""
    try:
        return np.asarray(real_numbers(value))
    except NotRealError as error:
        raise ExtractionError(not_numbers(source, name, str(error))) from error


def not_numbers(source: Path, name: str, what: str) -> str:
    """Say that an array of a file holds something else than numbers."""
    called = f" in {name!r}" if name else ""
    return (
        f"{source} holds{called} {what}. Features are real numbers; choose the arrays of features with --key (keys=)."
    )


def ids_of(source: Path, values: Any) -> list[Any]:
    """Ids as a list; ExtractionError where they are no list of them."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise ExtractionError(f"{source} has ids of shape {array.shape}; they are (n,), one for each sample.")
    return array.tolist()


def library(name: str, source: Path, extra: str = "import") -> Any:
    """A library that reads a kind of file; MissingExtraError where it is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f"{source} is read by {name.partition('.')[0]}, which is not installed. Install the extra: "
            f'pip install "prh-jax[{extra}]"'
        ) from error


def unreadable(source: Path, kind: str, error: BaseException) -> ExtractionError:
    """The error for a file that its library cannot read."""
    line = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return ExtractionError(
        f"{source} cannot be read as {kind}: {line.rstrip('.')}. Copy it here again if it was cut off."
    )
