"""Labels of models in a result, which distinguish every store of one side from the others."""

import re
from collections.abc import Mapping, Sequence, Set
from typing import Any

from .source import ModelSource


def label_stores(stores: Sequence[ModelSource]) -> list[str]:
    """The models' names, random weights marked; those of one name with what differs: revision, pooling, other settings.

    A local checkpoint has the name of its folder, or the end of its path where two folders have one name. So have
    stores that nothing in their specs distinguishes.
    """
    seeds = [store.spec.get("random_init") for store in stores]
    marks = ["" if seed is None else f" [random init {seed}]" for seed in seeds]
    names = short_names([store.model for store in stores])
    labels = [name + mark for name, mark in zip(names, marks, strict=True)]
    if len(set(labels)) == len(labels):
        return labels
    alike = [[other.spec for other, name in zip(stores, labels, strict=True) if name == label] for label in labels]
    if any(_differ(specs, "revision") for specs in alike):
        labels = [
            f"{label}@{_short(store.spec.get('revision'))}" if _differ(specs, "revision") else label
            for label, specs, store in zip(labels, alike, stores, strict=True)
        ]
    if len(set(labels)) < len(labels) or any(_differ(specs, "pool") for specs in alike):
        labels = [f"{label} ({store.spec.get('pool')})" for label, store in zip(labels, stores, strict=True)]
    if len(set(labels)) < len(labels):
        labels = [_with_settings(label, s.spec, specs) for label, s, specs in zip(labels, stores, alike, strict=True)]
    return labels if len(set(labels)) == len(labels) else _ends([str(store.path) for store in stores])


def short_names(names: Sequence[str]) -> list[str]:
    """Names of models, those that are absolute paths or begin at a folder of the machine as short as they can be.

    Each is the last part of its path, and more of it where another name would be the same.
    """
    local = [name for name in dict.fromkeys(names) if _is_path(name)]
    others = {name for name in names if not _is_path(name)}
    short = dict(zip(local, _ends(local, others), strict=True))
    return [short.get(name, name) for name in names]


def _is_path(name: str) -> bool:
    """Whether a name can be nothing but the path of a folder, on this system or another."""
    return name.startswith(("/", "./", "../", "~", "\\")) or re.match(r"[A-Za-z]:[/\\]", name) is not None


def _ends(paths: Sequence[str], taken: Set[str] = frozenset()) -> list[str]:
    """The shortest ends of paths, in whole parts, that tell all of them apart; whole paths where none do."""
    parts = [[part for part in re.split(r"[/\\]", path) if part not in ("", ".", "..", "~")] for path in paths]
    for count in range(1, max(map(len, parts), default=0) + 1):
        ends = ["/".join(path[-count:]) for path in parts]
        if len(set(ends)) == len(ends) and all(ends) and not taken & set(ends):
            return ends
    return list(paths)


def _differ(specs: Sequence[Mapping[str, Any]], key: str) -> bool:
    return any(spec.get(key) != specs[0].get(key) for spec in specs)


def _short(revision: Any) -> str:
    """A revision as people write it: 8 digits of a hash, a name as it is."""
    found = re.fullmatch("(?:sha256:)?([0-9a-f]{40,64})", str(revision))
    return found[1][:8] if found else str(revision)


def _with_settings(label: str, spec: Mapping[str, Any], specs: Sequence[Mapping[str, Any]]) -> str:
    """A label with the plain settings that differ among the stores of one model."""
    keys = sorted({key for other in specs for key, value in other.items() if not isinstance(value, Mapping | list)})
    told = [f"{key}={spec.get(key)}" for key in keys if key not in ("revision", "pool") and _differ(specs, key)]
    return f"{label} [{', '.join(told)}]" if told else label
