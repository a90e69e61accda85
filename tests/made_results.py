"""Results made by hand, without scoring: values that a test can tell by arithmetic."""

import contextlib

import numpy as np
import xarray as xr

from prh_jax import Alignment, Calibration
from prh_jax.results.provenance import Provenance

EVIL = [
    "<script>alert('x')</script>",
    r"\input{/etc/passwd} & 100% $x_1^2$ #~{}",
    "a|b `code` *bold* [link](http://evil.example) __init__",
    "org/" + "very-long-name-" * 20,
    "שלום-עולם",
    "safe\u202egnp.exe",
    "line\nbreak\ttab",
    '=HYPERLINK("http://evil","x")',
    "",
    "$unclosed _{math",
]
"""Names of models that somebody made up to break tables."""

SETTINGS = {"orders": 4, "seed": 0, "alpha": 0.05, "aggregate": "max", "stop_after": None, "tail": True, "cells": False}


@contextlib.contextmanager
def edited(result):
    """What a result records of its origin, to be changed."""
    protocol = result.protocol
    yield protocol
    result.provenance = Provenance.of(protocol)


def made_result(models_x, models_y, metrics=("cka",), score=None, n=100, widths=8):
    """An alignment of models {name: number of layers}; score(metric, i, j) of the flat layers i of x and j of y."""
    coords, models = {}, {}
    for side, side_models in (("x", models_x), ("y", models_y)):
        rows = [(name, f"{side}{depth}", depth) for name, count in side_models.items() for depth in range(count)]
        for i, (label, kind) in enumerate((("model", object), ("layer_name", object), ("depth", np.int64))):
            coords[f"{label}_{side}"] = (f"layer_{side}", np.array([row[i] for row in rows], kind))
        models[side] = [
            {
                "label": name,
                "spec": {"model": name},
                "spec_sha256": f"spec of {name}",
                "contents": f"contents of {name}",
                "result": {"bits_per_byte": 2.0 - i / 10},
                "dtype": "float16",
                "layers": [[f"{side}{depth}", widths + depth] for depth in range(count)],
            }
            for i, (name, count) in enumerate(side_models.items())
        ]
    shape = sum(models_x.values()), sum(models_y.values())
    if score is None:
        rng = np.random.default_rng(0)
        tables = {metric: rng.random(shape) for metric in metrics}
    else:
        tables = {
            metric: [[score(metric, i, j) for j in range(shape[1])] for i in range(shape[0])] for metric in metrics
        }
    data = {metric: (("layer_x", "layer_y"), np.array(table, np.float32)) for metric, table in tables.items()}
    entry = {"settings": {"kernel": "linear"}, "larger_is_closer": True, "source": "a paper"}
    protocol = {
        "n": n,
        "ids_sha256": "0123",
        "preprocess": {"clip_quantile": 0.95, "exact": False, "scope": "auto", "normalize": True},
        "metrics": {metric: {"name": metric} | entry for metric in metrics},
        "models_x": models["x"],
        "models_y": models["y"],
        "stores_x": [f"{name}.zarr" for name in models_x],
        "stores_y": [f"{name}.zarr" for name in models_y],
        "precision": "float32, products at HIGHEST",
        "device": "cpu",
        "versions": {"jax": "0.8.0", "prh-jax": "0.1.0"},
        "pair": "exact",
    }
    return Alignment(xr.Dataset(data, coords=coords), protocol)


def calibrated(result, p, null=None):
    """The result with a calibration: p(metric, i, j) of model pairs, the rest by simple rules; q_bh is p / 2."""
    shape = result.scores(result.metrics[0]).shape
    table = np.array([[[p(m, i, j) for j in range(shape[1])] for i in range(shape[0])] for m in result.metrics])
    scores = np.stack([result.scores(metric).values for metric in result.metrics])
    tables = {
        "score": scores,
        "tau": np.full(table.shape, 0.25),
        "p": table,
        "q_bh": table / 2,
        "q_by": table / 3,
        "calibrated": np.maximum(scores - 0.25, 0) / 0.75,
        "orders_used": np.full(table.shape, 4.0),
    }
    variables = {name: (("metric", "model_x", "model_y"), values) for name, values in tables.items()}
    nulls = np.stack([np.stack([table * (k + 1) / 10 for k in range(4)], axis=1)])[0] if null is None else null
    variables["null"] = (("metric", "order", "model_x", "model_y"), nulls)
    cells = np.stack([result.dataset[metric].values / 2 for metric in result.metrics])
    variables["p_cell"] = (("metric", "layer_x", "layer_y"), cells)
    coords = {"metric": np.array(result.metrics, object)}
    for side in "xy":
        models = result.scores(result.metrics[0])[f"model_{side}"].values
        coords[f"model_{side}"] = list(models)
        for name in ("model", "layer_name", "depth"):
            label = f"model_{side}_of_layer" if name == "model" else f"{name}_{side}"
            coords[label] = (f"layer_{side}", result.dataset[f"{name}_{side}"].values)
    settings = {"null": SETTINGS, "exact": False, "groups": False, "metrics": result.metrics}
    result.calibration = Calibration(xr.Dataset(variables, coords=coords), settings)
    return result


def part(result, models_x=None, models_y=None, metrics=None):
    """What a run with some of the models and metrics would have given, calibration aside."""
    keep = {"x": models_x, "y": models_y}
    names = metrics or result.metrics
    chosen = result.dataset[list(names)]
    protocol = dict(result.protocol) | {"metrics": {name: result.protocol["metrics"][name] for name in names}}
    for side, models in keep.items():
        if models is None:
            continue
        chosen = chosen.isel({f"layer_{side}": np.isin(chosen[f"model_{side}"].values.astype(str), models)})
        places = [i for i, model in enumerate(protocol[f"models_{side}"]) if model["label"] in models]
        for key in (f"models_{side}", f"stores_{side}"):
            protocol[key] = [protocol[key][i] for i in places]
    return Alignment(chosen, protocol)
