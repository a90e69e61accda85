"""Metadata of the models of a result: numbers and texts by name, kept with what extraction recorded."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .provenance import ModelRecord, Provenance
from .selection import near_names

TAKEN = ("model", "layer", "layer_name", "layers", "depth", "width", "dtype", "metric")
"""Names that data frames and `Alignment.sel` call other things by."""

Values = Mapping[Any, Any] | Sequence[Any] | np.ndarray | Callable[[ModelRecord], Any] | str | float | None
"""By label, in the order of the models, by a function of the record, or one for all."""


def assign_values(provenance: Provenance, given: Mapping[str, Any]) -> Provenance:
    """The provenance with values given to its models; a name that ends in "_x" or "_y" is of that side alone.

    Raises
    ------
    ValueError
        If a name is taken, or values are of no model, not as many as the models, or neither numbers nor texts.
    """
    made = {side: list(provenance.models(side)) for side in "xy"}
    for name, values in given.items():
        bare, sides = (name[:-2], name[-1]) if name[-2:] in ("_x", "_y") and name[:-2] else (name, "xy")
        if bare in TAKEN:
            raise ValueError(f"{bare!r} is what a result calls something else; give the values another name.")
        for side, told in _told(made, sides, name, values).items():
            for place, value in enumerate(told):
                record = made[side][place]
                assigned = {key: old for key, old in record.assigned.items() if key != bare}
                assigned |= {} if value is None else {bare: value}
                made[side][place] = dataclasses.replace(record, assigned=assigned)
    return dataclasses.replace(provenance, models_x=made["x"], models_y=made["y"])


def keep_assigned(provenance: Provenance, parts: Sequence[Provenance]) -> Provenance:
    """The provenance of a result that was made of parts, with what was assigned to their models.

    A model is known by its label, or else by its contents.

    Raises
    ------
    ValueError
        If two parts tell different values.
    """
    made = {}
    for side in "xy":
        made[f"models_{side}"] = []
        for record in provenance.models(side):
            assigned: dict[str, Any] = {}
            for part in parts:
                for name, value in _found(part.models(side), record).items():
                    if assigned.setdefault(name, value) != value:
                        raise ValueError(
                            f"{name} of model {record.label!r} was assigned {assigned[name]!r} in one result and "
                            f"{value!r} in another. Assign one of them again, or take it away ({name}=None)."
                        )
            made[f"models_{side}"].append(dataclasses.replace(record, assigned=assigned))
    return dataclasses.replace(provenance, **made)


def _found(models: Sequence[ModelRecord], record: ModelRecord) -> Mapping[str, Any]:
    """Values that were assigned to the model of a record."""
    for key in ("label", "contents"):
        for model in models:
            if getattr(model, key) and getattr(model, key) == getattr(record, key):
                return model.assigned
    return {}


def _told(
    models: Mapping[str, Sequence[ModelRecord]], sides: str, name: str, values: Any
) -> dict[str, list[str | float | None]]:
    """The value of each model of each side, None where it has none."""
    labels = {side: [record.label for record in models[side]] for side in sides}
    values = by_label(values)
    if isinstance(values, Mapping):
        known = list(dict.fromkeys(label for side in sides for label in labels[side]))
        unknown = [str(label) for label in values if label not in known]
        if unknown:
            where = f"Side {sides} of this result" if len(sides) == 1 else "This result"
            raise ValueError(
                f"{where} has no model {unknown[0]!r}, for which {name} is given; {near_names(unknown[0], known)}."
            )
        found = {side: [values.get(label) for label in labels[side]] for side in sides}
    elif callable(values):
        found = {side: [values(record) for record in models[side]] for side in sides}
    elif values is None or isinstance(values, str) or np.ndim(values) == 0:
        found = {side: [values] * len(labels[side]) for side in sides}
    else:
        if len(sides) == 2 and labels["x"] != labels["y"]:
            raise ValueError(
                f"{name} is given as a list, and the sides have other models. Say whose it is: {name}_x= or {name}_y=; "
                "or give the values by model."
            )
        for side in sides:
            if len(values) != len(labels[side]):
                raise ValueError(f"Side {side} has {len(labels[side])} models, but {name} has {len(values)} values.")
        found = {side: list(values) for side in sides}
    return {
        side: [_plain(value, name, label) for value, label in zip(told, labels[side], strict=True)]
        for side, told in found.items()
    }


def by_label(values: Any) -> Any:
    """A Series as a mapping from its labels, or as an array where it has none; anything else as it is."""
    if hasattr(values, "to_dict") and hasattr(values, "index"):
        found = values.to_dict()
        return found if any(isinstance(label, str) for label in found) else np.asarray(values)
    return values


def _plain(value: Any, name: str, label: str) -> str | float | None:
    """The value as what JSON holds, None for NaN and what stands for a lacking value in pandas."""
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, float) and math.isnan(value):
        return None
    if not isinstance(value, str | int | float) or value in (math.inf, -math.inf):
        raise ValueError(f"{name} of model {label!r} is {value!r}; a finite number or a text can be assigned.")
    return value
