"""Families of the models of a result: given by model, or the name of an assigned or recorded value."""

from collections.abc import Mapping
from typing import Any

from .assigned import by_label

Families = Mapping[str, str] | str | None
"""Family of each model by name, or the name of an assigned or recorded value; the assigned `family` if None."""


def families_known(result: Any, families: Families) -> dict[str, Mapping[str, Any]]:
    """The known families of the models of each side of an Alignment, by label."""
    if families is not None and not isinstance(families, str):
        given = {label: family for label, family in by_label(families).items() if family == family}  # NaN is none
        return dict.fromkeys("xy", given)
    known: dict[str, Mapping[str, Any]] = {}
    for side in "xy":
        found = {
            model.label: model.assigned.get("family") if families is None else model.recorded.get(families)
            for model in result.provenance.models(side)
        }
        known[side] = {label: family for label, family in found.items() if family is not None}
    return known


def families_here(result: Any, families: Families) -> Families:
    """The families without those of models that an Alignment lacks, which a table of many models may have."""
    if families is None or isinstance(families, str):
        return families
    labels = {*result.models_x, *result.models_y}
    return {label: family for label, family in by_label(families).items() if label in labels}
