"""Results of several runs as one: other models, other metrics, two halves of a study."""

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from ..null.settings import SYMMETRIC
from .alignment import Alignment
from .assigned import keep_assigned
from .calibration import Calibration
from .provenance import NOT_THE_STUDY, Provenance, joined_versions
from .reduce import model_blocks

LABELS = ("model", "layer_name", "depth")
_OF_MODELS = ("spec_sha256", "contents", "dtype", "layers")
_JOINED = NOT_THE_STUDY | {"metrics", "models_x", "models_y"}


def merge(results: Sequence[Alignment], *, missing: str = "error", calibration: bool = True) -> Alignment:
    """Merge results that score the same samples in the same way.

    Models keep their assigned values. Models and metrics are in the order in which they first occur. q-values are
    computed over all model pairs of the merged result.

    Parameters
    ----------
    results
        Results whose models and metrics may differ or overlap. Scores that several hold must be equal to the bit. Of
        several calibrations of a pair the last counts.
    missing
        "error" requires that together they score every model of x with every model of y by every metric (one order of
        two models is enough if the metric is symmetric). "nan" gives NaN for pairs that none of them scored.
    calibration
        False ignores calibrations. Otherwise all results have one with the same settings, or none has.

    Returns
    -------
    Alignment
        The merged result.

    Raises
    ------
    ValueError
        If the results differ in samples, settings or scores; the message has both values.
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
        if protocol["metrics"][metric].get("symmetric"):
            for part in parts:
                _paste_turned(table, filled, part, metric, protocol, labels)
        if missing == "error" and not filled.all():
            i, j = np.argwhere(~filled)[0]
            raise ValueError(
                f"None of these results scores {labels['x'][i]!r} with {labels['y'][j]!r} by {metric}. Align that too, "
                "or let what is missing be NaN (missing='nan')."
            )
        data[metric] = (("layer_x", "layer_y"), table)
    dataset = xr.Dataset(data, coords=coords)
    provenance = Provenance.of(protocol | {"metrics": {name: protocol["metrics"][name] for name in metrics}})
    merged = Alignment(dataset, keep_assigned(provenance, [result.provenance for result in results]))
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
    merged |= joined_versions(protocols)
    if any(p.get("pair") == "inner" for p in protocols):
        merged["pair"] = "inner"
    for name in ("normalize_ids", "by_position"):
        if any(p.get(name) for p in protocols):
            merged[name] = True
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
    """Where the layers of a part are among all; each model's layers are together in both."""
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


def _paste_turned(
    table: np.ndarray, filled: np.ndarray, part: Alignment, metric: str, protocol: dict[str, Any], labels: Any
) -> None:
    """Put the scores of a part where those of the same models in the other order are lacking."""
    scores = part.dataset[metric].transpose("layer_x", "layer_y")
    blocks = {side: model_blocks(scores[f"model_{side}"].values) for side in "xy"}
    whole = {side: model_blocks(labels[side]) for side in "xy"}
    turned = {side: _labels_across(protocol, side) for side in "xy"}
    for x, rows in blocks["x"].items():
        for y, columns in blocks["y"].items():
            if x not in turned["x"] or y not in turned["y"]:
                continue
            place = np.s_[whole["x"][turned["y"][y]], whole["y"][turned["x"][x]]]
            if not filled[place].any():
                table[place] = scores.values[rows, columns].T
                filled[place] = True


def _labels_across(protocol: dict[str, Any], side: str) -> dict[str, str]:
    """The models of a side that the other side has too: their labels there, by their labels here."""
    other = {entry["contents"]: entry["label"] for entry in protocol[f"models_{'y' if side == 'x' else 'x'}"]}
    models = protocol[f"models_{side}"]
    return {model["label"]: other[model["contents"]] for model in models if model["contents"] in other}


def _turned_calibration(result: Alignment, merged: Alignment) -> xr.Dataset | None:
    """Calibration of a part's models in the other order, by symmetric metrics; None for nothing."""
    calibration = result.calibration
    if calibration is None or calibration.settings["null"]["aggregate"] not in SYMMETRIC:
        return None
    found = calibration.dataset.sel(metric=[bool(merged.provenance.metrics[m].symmetric) for m in result.metrics])
    for side in "xy":
        across = _labels_across(merged.protocol, side)
        found = found.sel({f"model_{side}": [label in across for label in found[f"model_{side}"].values.tolist()]})
        owners = f"model_{side}_of_layer"
        found = found.isel({f"layer_{side}": [label in across for label in found[owners].values.tolist()]})
        for name in (f"model_{side}", owners):
            found[name] = (found[name].dims, np.array([across[label] for label in found[name].values.tolist()], object))
    swap = {}
    for name in map(str, (*found.variables, *found.dims)):
        other = re.sub("_([xy])(?=$|_of_layer)", lambda side: "_y" if side[1] == "x" else "_x", name)
        swap |= {name: other} if other != name else {}
    return None if 0 in found.sizes.values() else found.rename(swap)


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
    # those in the other order first, as what is of the order itself counts
    turned = [part for part in (_turned_calibration(result, merged) for result in results) if part is not None]
    for name in dict.fromkeys(name for part in found for name in part.data_vars):
        parts = [part[name] for part in (*turned, *found) if name in part]
        dims = found[0][name].dims if name in found[0] else parts[-1].dims
        sizes = merged.dataset.sizes
        shape = [
            len(index[d]) if d in index else sizes[d] if d in sizes else max(p.sizes[d] for p in parts) for d in dims
        ]
        table = np.full(shape, np.nan, np.result_type(*(part.dtype for part in parts)))
        for part in parts:
            part, at = part.transpose(*dims), []
            for dim in dims:
                if dim in index:
                    at.append(np.array([index[dim].index(label) for label in part[dim].values]))
                elif dim in sizes:
                    side = str(dim)[-1]
                    at.append(_places(merged.dataset[f"model_{side}"].values, part[f"model_{side}_of_layer"].values))
                else:
                    at.append(np.arange(part.sizes[dim]))
            table[np.ix_(*at)] = part.values
        variables[name] = (dims, table)
    pairs = [(len(models["x"]), len(models["y"]))]
    if any((part.sizes["model_x"], part.sizes["model_y"]) not in pairs for part in found):
        dims, p = variables["p"]
        one_order = settings[0]["null"]["aggregate"] in SYMMETRIC
        for method in ("bh", "by"):
            every = [
                merged.model_pairs(name).rates(each, method, symmetric=one_order and merged.is_symmetric(name))
                for name, each in zip(merged.metrics, p, strict=True)
            ]
            variables[f"q_{method}"] = (dims, np.stack(every))
    coords |= {"metric": np.array(merged.metrics, dtype=object), "model_x": models["x"], "model_y": models["y"]}
    dataset = xr.Dataset(variables, coords=coords)
    return Calibration(dataset, settings[0] | {"metrics": merged.metrics})
