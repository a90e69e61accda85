"""Layers of a module by patterns of names, and poolings by name."""

import dataclasses
import difflib
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from .errors import ExtractionError


def named_layers(model: Any, patterns: Sequence[str]) -> list[str]:
    """Names of the submodules that patterns stand for, in the order of the patterns, and of the module within each.

    `*` and `?` stand for letters of one part of a name, between dots. ExtractionError for a pattern of none.
    """
    everything = [name for name, _ in model.named_modules()]
    names = [name for name in everything if name]
    if isinstance(patterns, str) or not patterns:
        raise ExtractionError(
            f'layers is a list of names, such as ["blocks.*"]; it is {patterns!r}. The model has {_some(names)}.'
        )
    found: dict[str, None] = {}
    for pattern in patterns:
        parts = pattern.split(".")
        matches = [pattern] if pattern in everything else [name for name in names if _matches(name.split("."), parts)]
        if not matches:
            there = (_near(pattern, names) if len(names) > 12 else "") or _some(names)
            raise ExtractionError(f"The model has no layer {pattern!r}; it has {there}.")
        found.update(dict.fromkeys(matches))
    return list(found)


def _matches(name: Sequence[str], pattern: Sequence[str]) -> bool:
    return len(name) == len(pattern) and all(map(fnmatchcase, name, pattern))


def _near(pattern: str, names: Sequence[str]) -> str:
    """Patterns that are spelled nearly like one of no layer, each with its layers in order."""
    forms: dict[str, list[str]] = {}
    for name in names:
        forms.setdefault(_form(name), []).append(name)
    near = difflib.get_close_matches(_form(pattern), forms, 3, 0.6)
    return ", ".join(form if forms[form] == [form] else f"{form!r} ({_ends(forms[form])})" for form in near)


def _form(name: str) -> str:
    """A name, or a pattern, with `*` in place of the parts that count."""
    return ".".join("*" if part.isdigit() or set(part) <= set("*?") else part for part in name.split("."))


def _ends(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) < 4 else f"{names[0]}, {names[1]} ... {names[-1]}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (" ..." if len(names) > 12 else "")


def _mean(x: Any) -> Any:
    return {2: lambda: x, 3: lambda: x.mean(dim=1), 4: lambda: x.mean(dim=(2, 3)), 5: lambda: x.mean(dim=(2, 3, 4))}[
        x.ndim
    ]()


def _max(x: Any) -> Any:
    return {2: lambda: x, 3: lambda: x.amax(dim=1), 4: lambda: x.amax(dim=(2, 3)), 5: lambda: x.amax(dim=(2, 3, 4))}[
        x.ndim
    ]()


_POOLS: dict[str, tuple[Callable[[Any], Any], tuple[int, ...], str]] = {
    "mean": (_mean, (2, 3, 4, 5), "(batch, tokens, d) or (batch, d, places ...)"),
    "max": (_max, (2, 3, 4, 5), "(batch, tokens, d) or (batch, d, places ...)"),
    "mean_channels_last": (
        lambda x: x.flatten(1, -2).mean(dim=1),
        (3, 4, 5),
        "(batch, tokens, d) or (batch, places ..., d)",
    ),
    "cls": (lambda x: x[:, 0], (3,), "(batch, tokens, d)"),
    "last": (lambda x: x[:, -1], (3,), "(batch, tokens, d)"),
    "flatten": (lambda x: x.flatten(1), (2, 3, 4, 5), "(batch, ...)"),
    "none": (lambda x: x, (2,), "(batch, d)"),
}


def named_pool(name: str) -> Callable[[Any], Any]:
    """The function of a pooling by name, in float32; ExtractionError for a name that is not known."""
    if name not in _POOLS:
        raise ExtractionError(f"Unknown pooling {name!r}; choose one of {', '.join(_POOLS)}, or give a function.")
    function, dimensions, shapes = _POOLS[name]

    def pool(output: Any) -> Any:
        tensor = first_tensor(output)
        if tensor.ndim not in dimensions:
            raise ValueError(f'the pooling "{name}" reads {shapes}, not {tuple(tensor.shape)}')
        return function(tensor.float())

    return pool


def first_tensor(output: Any) -> Any:
    """The output of a layer, or the first tensor in it where it is a tuple, a list, a mapping or a dataclass."""
    import torch

    if isinstance(output, torch.Tensor):
        return output
    if dataclasses.is_dataclass(output) and not isinstance(output, Mapping):
        output = vars(output)
    parts = output.values() if isinstance(output, Mapping) else output if isinstance(output, tuple | list) else ()
    for part in parts:
        if isinstance(part, torch.Tensor):
            return part
    raise TypeError("it holds no tensor")
