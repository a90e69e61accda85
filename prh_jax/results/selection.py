"""Models of a result chosen by label, by place or by what is recorded of them, and a result cut down to them."""

import dataclasses
import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from .calibration import Calibration
from .pairs import ModelPairs
from .provenance import ModelRecord, Provenance
from .reduce import model_blocks

Models = (
    str
    | int
    | np.integer
    | slice
    | Sequence[Any]
    | np.ndarray
    | Mapping[str, Any]
    | Callable[[ModelRecord], bool]
    | None
)
"""One model by label or place, several of these, what is recorded of them, or a test of a record; all if None."""

FEW = 8
"""Names that an error lists in full."""


def near_names(name: str, known: Iterable[str]) -> str:
    """The known names as an error lists them: all of a few, else the ones like `name`."""
    names, low = list(known), name.lower()
    if len(names) <= FEW:
        return f"it has {', '.join(names) or 'none'}"
    within = [other for other in names if low and low in other.lower()]
    alike = difflib.get_close_matches(low, [other.lower() for other in names], FEW, 0.5)
    near = list(dict.fromkeys([*within, *(other for match in alike for other in names if other.lower() == match)]))
    if near:
        return f"near it are {', '.join(map(repr, near[:FEW]))} (of {len(names)})"
    return f"it has {len(names)}, such as {', '.join(map(repr, names[:FEW]))}"


def side_records(provenance: Provenance, labels: Sequence[str], side: str) -> list[ModelRecord]:
    """Records of the models of a side, in the order of their labels."""
    known = {model.label: model for model in provenance.models(side)}
    return [known.get(label) or ModelRecord(label) for label in labels]


def find_models(records: Sequence[ModelRecord], choice: Models, side: str) -> list[int]:
    """The places of the chosen models of a side, each once, in the order in which they are named.

    Raises
    ------
    ValueError
        If a model that is named is not there, or no model is chosen.
    """
    if choice is None:
        return list(range(len(records)))
    if isinstance(choice, Mapping):
        found = match_records({side: records}, choice)[side]
    elif isinstance(choice, slice):
        found = list(range(len(records))[choice])
    elif callable(choice):
        found = [place for place, record in enumerate(records) if choice(record)]
    else:
        items = [choice] if isinstance(choice, str | int | np.integer) else list(choice)
        found = list(dict.fromkeys(_place(records, item, side) for item in items))
    if not found:
        raise ValueError(f"No model of side {side} is chosen by {choice!r}; there are {len(records)}.")
    return found


def _place(records: Sequence[ModelRecord], item: Any, side: str) -> int:
    """The place of one model that is named by its label or its place."""
    labels = [record.label for record in records]
    if isinstance(item, bool | np.bool_) or not isinstance(item, str | int | np.integer):
        raise ValueError(f"A model is named by its label or its place, a whole number, not by {item!r}.")
    if isinstance(item, str):
        if item not in labels:
            raise ValueError(f"Side {side} of this result has no model {item!r}; {near_names(item, labels)}.")
        return labels.index(item)
    if not -len(labels) <= item < len(labels):
        raise ValueError(f"Side {side} of this result has {len(labels)} models; none is at place {item}.")
    return int(item) % len(labels)


def match_records(sides: Mapping[str, Sequence[ModelRecord]], wanted: Mapping[str, Any]) -> dict[str, list[int]]:
    """The places of the models of each side whose records say what is wanted.

    Parameters
    ----------
    sides
        Records of the models by side.
    wanted
        Values by name: one value, several of which any will do, or a test of the value. A name that ends in "_x" or
        "_y" is of that side alone. Another one leaves a side as it is none of whose models has it.

    Raises
    ------
    ValueError
        If no model has the recorded value of a name, or none of a side has the value.
    """
    left = {side: list(range(len(records))) for side, records in sides.items()}
    names = {side: {name for record in records for name in record.recorded} for side, records in sides.items()}
    for given, value in wanted.items():
        name, asked = given, list(sides)
        if not any(given in known for known in names.values()) and given[-2:] in ("_x", "_y") and given[-1] in sides:
            name, asked = given[:-2], [given[-1]]
        having = [side for side in asked if name in names[side]]
        if not having:
            known = sorted(set().union(*(names[side] for side in asked)))
            raise ValueError(
                f"Nothing called {name!r} is recorded of the models of side {' and '.join(asked)}; "
                f"{near_names(name, known)}. `assign` gives models what extraction did not record."
            )
        for side in having:
            told = [record.recorded.get(name) for record in sides[side]]
            left[side] = [place for place in left[side] if _fits(told[place], value)]
            if not left[side]:
                found = ", ".join(dict.fromkeys(map(repr, told)))
                other = f" {name}_{'y' if side == 'x' else 'x'}= chooses on the other side alone." * (len(asked) > 1)
                raise ValueError(f"No model of side {side} is left by {given}={value!r}: {name} is {found}.{other}")
    return left


def _fits(told: Any, value: Any) -> bool:
    """Whether a recorded value is the one asked for, one of several, or passes a test (which nothing does not)."""
    if callable(value):
        return told is not None and bool(value(told))
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        return told == value or any(told == each for each in value)
    return told == value


def cut_dataset(dataset: xr.Dataset, places: Mapping[str, Sequence[int]]) -> xr.Dataset:
    """The layers of the models at these places, in their order."""
    return dataset.isel(
        {f"layer_{side}": layer_places(dataset[f"model_{side}"].values, p) for side, p in places.items()}
    )


def layer_places(labels: np.ndarray, models: Sequence[int]) -> np.ndarray:
    """Where the layers of the models at these places are."""
    blocks = list(model_blocks(labels).values())
    return np.concatenate([np.arange(blocks[place].start, blocks[place].stop) for place in models])


def cut_provenance(provenance: Provenance, metrics: Sequence[str], labels: Mapping[str, Sequence[str]]) -> Provenance:
    """Records of some metrics and of the models of these labels."""
    made: dict[str, Any] = {"metrics": {key: provenance.metrics[key] for key in metrics}}
    for side in "xy":
        known = {model.label: place for place, model in enumerate(provenance.models(side))}
        places = [known[label] for label in labels[side] if label in known]
        made[f"models_{side}"] = [provenance.models(side)[place] for place in places]
        stores = provenance.stores(side)
        made[f"stores_{side}"] = stores and [stores[place] if place < len(stores) else None for place in places]
    if provenance.stores_y is None and list(labels["x"]) == list(labels["y"]):
        made["stores_y"] = None  # one side with itself, still
    return dataclasses.replace(provenance, **made)


def cut_calibration(
    calibration: Calibration, metrics: Sequence[str], places: Mapping[str, Sequence[int]], scores: xr.Dataset
) -> Calibration:
    """The calibration of some metrics and of the models at these places; `scores` are those of all models."""
    known = [str(name) for name in calibration.dataset["metric"].values]
    chosen: dict[str, Any] = {"metric": [known.index(name) for name in metrics]}
    for side, models in places.items():
        chosen[f"model_{side}"] = list(models)
        chosen[f"layer_{side}"] = layer_places(scores[f"model_{side}"].values, models)
    dataset = calibration.dataset.isel(chosen, missing_dims="ignore")
    return Calibration(dataset, calibration.settings | {"metrics": list(metrics)})


def with_rates(calibration: Calibration, compared: Mapping[str, tuple[ModelPairs, bool]]) -> Calibration:
    """The calibration with q-values over the pairs that count: by metric the pairs, and whether it is symmetric."""
    dims = ("metric", "model_x", "model_y")
    p = calibration.dataset["p"].transpose(*dims).sel(metric=list(compared)).values
    rates = {}
    for method in ("bh", "by"):
        every = [
            pairs.rates(each, method, symmetric=symmetric)
            for (pairs, symmetric), each in zip(compared.values(), p, strict=True)
        ]
        rates[f"q_{method}"] = (dims, np.stack(every))
    return Calibration(calibration.dataset.assign(rates), calibration.settings)
