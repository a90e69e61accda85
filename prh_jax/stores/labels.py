"""What models are called in a result: labels that tell every store of one side from the others."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .source import ModelSource


def label_stores(stores: Sequence[ModelSource]) -> list[str]:
    """The models' names, random weights marked; those of one name with what differs: revision, pooling, other settings.

    Paths where the specs of two tell nothing apart.
    """
    seeds = [store.spec.get("random_init") for store in stores]
    marks = ["" if seed is None else f" [random init {seed}]" for seed in seeds]
    labels = [store.model + mark for store, mark in zip(stores, marks, strict=True)]
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
    return labels if len(set(labels)) == len(labels) else [str(store.path) for store in stores]


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
