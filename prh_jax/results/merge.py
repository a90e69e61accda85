"""Results of several runs as one: other models, other metrics, two halves of a study."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from .alignment import Alignment
from .calibration import Calibration
from .provenance import NOT_THE_STUDY
from .reduce import model_blocks

LABELS = ("model", "layer_name", "depth")
_OF_MODELS = ("spec_sha256", "contents", "dtype", "layers")
_JOINED = NOT_THE_STUDY | {"metrics", "models_x", "models_y"}


def merge(results: Sequence[Alignment], *, missing: str = "error", calibration: bool = True) -> Alignment:
    """One result of several that score the same samples in the same way; ValueError that names both values otherwise.

    results      their models and metrics may differ or overlap; scores that several hold must be equal to the bit, and
                 of calibrations of the same pair the last counts
    missing      "error": together they must score every model of x with every model of y by every metric; "nan": what
                 none of them scored is NaN
    calibration  False leaves calibrations aside; else all have one with the same settings, or none has

    Models and metrics stand in the order in which they first come. q-values are taken anew over all model pairs.
    """
    if not results:
        raise ValueError("There is nothing to merge: give at least one result.")
    if missing not in ("error", "nan"):
        raise ValueError(f"missing is 'error' or 'nan', got {missing!r}.")
    protocol = _merged_protocol([result.provenance.to_dict() for result in results])
    sides = {side: _layers(results, side) for side in "xy"}
    coords = {
        f"{name}_{side}": (f"layer_{side}", np.array([row[i] for row in rows], object if name != "depth" else np.int64))
        for side, rows in sides.items()
        for i, name in enumerate(LABELS)
    }
    labels = {side: coords[f"model_{side}"][1] for side in "xy"}
    metrics = list(dict.fromkeys(name for result in results for name in result.metrics))
    shape = len(labels["x"]), len(labels["y"])
    data = {}
    for metric in metrics:
        parts = [result for result in results if metric in result.dataset]
        table = np.full(shape, np.nan, np.result_type(*(part.dataset[metric].dtype for part in parts)))
        filled = np.zeros(shape, bool)
        for part in parts:
            scores = part.dataset[metric].transpose("layer_x", "layer_y")
            at = np.ix_(*(_places(labels[side], scores[f"model_{side}"].values) for side in "xy"))
            _paste(table, filled, at, scores.values, f"scores by {metric}", labels)
        if missing == "error" and not filled.all():
            i, j = np.argwhere(~filled)[0]
            raise ValueError(
                f"None of these results scores {labels['x'][i]!r} with {labels['y'][j]!r} by {metric}. Align that too, "
                "or let what is missing be NaN (missing='nan')."
            )
        data[metric] = (("layer_x", "layer_y"), table)
    dataset = xr.Dataset(data, coords=coords)
    merged = Alignment(dataset, protocol | {"metrics": {name: protocol["metrics"][name] for name in metrics}})
    if calibration and any(result.calibration is not None for result in results):
        merged.calibration = _merged_calibration(results, merged)
    return merged


def _merged_protocol(protocols: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The provenance of all together, as plain values; ValueError where two of them do not agree."""
    first = protocols[0]
    merged = dict(first)
    for number, other in enumerate(protocols[1:], 2):
        for key in dict.fromkeys([*first, *other]):
            if key not in _JOINED:
                _check_equal(first.get(key), other.get(key), key, (1, number))
    metrics: dict[str, tuple[Any, int]] = {}
    models: dict[str, dict[str, tuple[Any, int, str | None]]] = {"x": {}, "y": {}}
    for number, other in enumerate(protocols, 1):
        for name, entry in other["metrics"].items():
            known, at = metrics.setdefault(name, (entry, number))
            if known.get("symmetric") is None:  # what was written earlier does not tell
                known = known | {"symmetric": entry.get("symmetric")}
                metrics[name] = (known, at)
            elif entry.get("symmetric") is None:
                entry = entry | {"symmetric": known["symmetric"]}
            _check_equal(known, entry, f"metric {name}", (at, number))
        for side in "xy":
            stores = other.get(f"stores_{side}") or (other.get("stores_x") if side == "y" else None) or ()
            for i, model in enumerate(other.get(f"models_{side}", ())):
                entry = (model, number, stores[i] if i < len(stores) else None)
                known, at, _ = models[side].setdefault(model["label"], entry)
                for part in _OF_MODELS:
                    what = f"{part} of model {model['label']!r} of side {side}"
                    _check_equal(known.get(part), model.get(part), what, (at, number))
    merged["metrics"] = {name: entry for name, (entry, _) in metrics.items()}
    for side in "xy":
        merged[f"models_{side}"] = [entry for entry, _, _ in models[side].values()]
        merged[f"stores_{side}"] = [store for _, _, store in models[side].values()]
    if all(p.get("stores_y") is None for p in protocols) and merged["stores_x"] == merged["stores_y"]:
        merged["stores_y"] = None
    merged |= {key: _both([p.get(key) for p in protocols]) for key in ("device",) if key in first}
    if any(p.get("pair") == "inner" for p in protocols):
        merged["pair"] = "inner"
    for name in ("normalize_ids", "by_position"):
        if any(p.get(name) for p in protocols):
            merged[name] = True
    names = dict.fromkeys(name for p in protocols for name in p.get("versions", {}))
    merged["versions"] = {name: _both([p.get("versions", {}).get(name) for p in protocols]) for name in names}
    return merged


def _check_equal(a: Any, b: Any, what: str, numbers: tuple[int, int]) -> None:
    a, b = (json.loads(json.dumps(value)) for value in (a, b))
    if a == b:
        return
    if isinstance(a, dict) and isinstance(b, dict):
        for key in dict.fromkeys([*a, *b]):
            _check_equal(a.get(key), b.get(key), f"{what}, {key}", numbers)
    one, two = (text if len(text) <= 60 else text[:57] + "..." for text in map(repr, (a, b)))
    raise ValueError(
        f"Results {numbers[0]} and {numbers[1]} are of different protocols and cannot be merged: {what} is {one} in "
        f"the one and {two} in the other. Align one of them again in the way of the other."
    )


def _both(values: Sequence[Any]) -> Any:
    found = list(dict.fromkeys(value for value in values if value is not None))
    return found[0] if len(found) == 1 else " and ".join(map(str, found))


def _layers(results: Sequence[Alignment], side: str) -> list[tuple[Any, ...]]:
    """Model, name and depth of every layer of a side, models in the order in which they first come."""
    known: dict[str, tuple[list[tuple[Any, ...]], int]] = {}
    for number, result in enumerate(results, 1):
        rows = list(zip(*(result.dataset[f"{name}_{side}"].values.tolist() for name in LABELS), strict=True))
        for label, block in model_blocks(result.dataset[f"model_{side}"].values).items():
            layers, at = known.setdefault(label, (rows[block], number))
            _check_equal(layers, rows[block], f"the list of layers of model {label!r} of side {side}", (at, number))
    return [row for layers, _ in known.values() for row in layers]


def _places(labels: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Where the layers of a part stand among all; each model's layers stand together in both."""
    blocks = model_blocks(labels)
    return np.concatenate([np.arange(blocks[label].start, blocks[label].stop) for label in model_blocks(part)])


def _paste(
    table: np.ndarray, filled: np.ndarray, at: tuple[np.ndarray, ...], values: np.ndarray, what: str, labels: Any
) -> None:
    there = table[at]
    differs = filled[at] & (there != values) & ~(np.isnan(there) & np.isnan(values))
    if differs.any():
        place = tuple(np.argwhere(differs)[0])
        row, column = (int(axis.ravel()[i]) for axis, i in zip(at, place, strict=True))
        raise ValueError(
            f"Two results hold other {what} for {labels['x'][row]!r} with {labels['y'][column]!r}: {there[place]!s} "
            f"and {values[place]!s}. Leave that model out of one of them."
        )
    table[at] = values
    filled[at] = True


def _merged_calibration(results: Sequence[Alignment], merged: Alignment) -> Calibration:
    settings, found = [], []
    for number, result in enumerate(results, 1):
        if result.calibration is None:
            raise ValueError(
                f"Result {number} has no calibration, but another one has. Calibrate it too (prh_jax.calibrate), or "
                "leave calibrations aside (calibration=False)."
            )
        found.append(result.calibration.dataset)
        settings.append({k: v for k, v in result.calibration.settings.items() if k != "metrics"})
        _check_equal(settings[0], settings[-1], "calibration", (1, number))
    coords = {
        f"{name}_of_layer" if str(name).startswith("model_") else str(name): coordinate
        for name, coordinate in merged.dataset.coords.items()
    }
    models = {side: list(model_blocks(merged.dataset[f"model_{side}"].values)) for side in "xy"}
    index: dict[Any, list[Any]] = {"metric": merged.metrics, "model_x": models["x"], "model_y": models["y"]}
    variables = {}
    for name in dict.fromkeys(name for part in found for name in part.data_vars):
        parts = [(result, part[name]) for result, part in zip(results, found, strict=True) if name in part]
        dims = parts[0][1].dims
        sizes = merged.dataset.sizes
        shape = [
            len(index[d]) if d in index else sizes[d] if d in sizes else max(p.sizes[d] for _, p in parts) for d in dims
        ]
        table = np.full(shape, np.nan, np.result_type(*(part.dtype for _, part in parts)))
        for result, part in parts:
            at = []
            for dim in dims:
                if dim in index:
                    at.append(np.array([index[dim].index(label) for label in part[dim].values]))
                elif dim in sizes:
                    side = str(dim)[-1]
                    at.append(_places(*(r.dataset[f"model_{side}"].values for r in (merged, result))))
                else:
                    at.append(np.arange(part.sizes[dim]))
            table[np.ix_(*at)] = part.values
        variables[name] = (dims, table)
    pairs = [(len(models["x"]), len(models["y"]))]
    if any((part.sizes["model_x"], part.sizes["model_y"]) not in pairs for part in found):
        dims, p = variables["p"]
        for method in ("bh", "by"):
            every = [
                merged.model_pairs(name).rates(each, method, symmetric=merged.is_symmetric(name))
                for name, each in zip(merged.metrics, p, strict=True)
            ]
            variables[f"q_{method}"] = (dims, np.stack(every))
    coords |= {"metric": np.array(merged.metrics, dtype=object), "model_x": models["x"], "model_y": models["y"]}
    dataset = xr.Dataset(variables, coords=coords)
    return Calibration(dataset, settings[0] | {"metrics": merged.metrics})
