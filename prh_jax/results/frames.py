"""Scores as one long table: a row per layer pair or model pair, its origin in each row."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from .calibration import Calibration
from .provenance import Provenance
from .reduce import How, best_layers, model_blocks, reduce_layers

PAIR_COLUMNS = ("tau", "p", "q_bh", "q_by", "calibrated", "orders_used")
CELL_COLUMNS = ("p_cell", "mean_cell", "sd_cell", "z_cell", "tail_cell")


Marks = Mapping[str, np.ndarray]
"""Of each model pair (x, y): whether it is one model with itself, and whether it counts."""


def layer_rows(
    dataset: xr.Dataset, provenance: Provenance, calibration: Calibration | None, marks: Marks, metric: str
) -> Any:
    """A data frame with a row for every layer pair of a metric, in the order of the matrix."""
    import pandas as pd

    scores = dataset[metric].transpose("layer_x", "layer_y")
    shape = scores.shape
    models = {side: model_codes(scores[f"model_{side}"].values) for side in "xy"}
    columns: dict[str, Any] = {}
    for side, turn in (("x", _down), ("y", _across)):
        names, codes = models[side]
        widths, dtypes = _layers_of(provenance, side, scores[f"model_{side}"].values, scores[f"depth_{side}"].values)
        columns |= {
            f"model_{side}": pd.Categorical.from_codes(turn(codes, shape), names),
            f"layer_{side}": _category(turn(scores[f"layer_name_{side}"].values, shape)),
            f"depth_{side}": turn(scores[f"depth_{side}"].values, shape),
            f"width_{side}": turn(widths, shape),
            f"dtype_{side}": _category(turn(dtypes, shape)),
        }
        columns |= _assigned(provenance, side, list(names), turn(codes, shape))
    columns["score"] = scores.values.ravel()
    at = np.ix_(models["x"][1], models["y"][1])
    columns |= {name: values[at].ravel() for name, values in marks.items()}
    if calibration is not None:
        cells = calibration.cells(metric)
        columns |= {name: cells[name].values.ravel() for name in CELL_COLUMNS if name in cells}
        pairs = calibration.pairs(metric)
        columns |= {name: pairs[name].values[at].ravel() for name in PAIR_COLUMNS}
    return _with_origin(columns, provenance, calibration, metric)


def model_rows(
    dataset: xr.Dataset, provenance: Provenance, calibration: Calibration | None, marks: Marks, metric: str, how: How
) -> Any:
    """A data frame with a row for every model pair of a metric; with its layers where `how` is "best".

    Widths are then those of the best layers, else those of all layers of a model, and -1 where they differ.
    """
    import pandas as pd

    larger = provenance.larger_is_closer(metric)
    scores = dataset[metric].transpose("layer_x", "layer_y")
    reduced = reduce_layers(scores, how, larger_is_closer=larger)
    shape = reduced.shape
    best = best_layers(scores, larger_is_closer=larger) if how == "best" else None
    columns: dict[str, Any] = {}
    for side, turn in (("x", _down), ("y", _across)):
        names = [str(name) for name in reduced[f"model_{side}"].values]
        columns[f"model_{side}"] = pd.Categorical.from_codes(turn(np.arange(len(names)), shape), pd.Index(names))
        columns[f"layers_{side}"] = turn(
            np.array([b.stop - b.start for b in model_blocks(scores[f"model_{side}"].values).values()]), shape
        )
        if best is not None:
            depths = best[f"depth_{side}"].values.ravel()
            columns[f"layer_{side}"] = best[f"layer_{side}"].values.ravel()
            columns[f"depth_{side}"] = depths
            labels = np.array(columns[f"model_{side}"], dtype=object)
            columns[f"width_{side}"], dtypes = _layers_of(provenance, side, labels, depths)
        else:
            known = {model.label: model for model in provenance.models(side)}
            widths = [set(known[name].widths) if name in known else set() for name in names]
            columns[f"width_{side}"] = turn(np.array([min(w) if len(w) == 1 else -1 for w in widths]), shape)
            dtypes = turn(np.array([known[name].dtype if name in known else "" for name in names], object), shape)
        columns[f"dtype_{side}"] = _category(dtypes)
        columns |= _assigned(provenance, side, names, turn(np.arange(len(names)), shape))
    columns["how"] = how if isinstance(how, str) else getattr(how, "__name__", repr(how))
    columns["score"] = reduced.values.ravel()
    columns |= {name: values.ravel() for name, values in marks.items()}
    if calibration is not None:
        pairs = calibration.pairs(metric)
        columns["aggregate_score"] = pairs["score"].values.ravel()
        columns |= {name: pairs[name].values.ravel() for name in PAIR_COLUMNS}
    return _with_origin(columns, provenance, calibration, metric)


def model_codes(labels: np.ndarray) -> tuple[Any, np.ndarray]:
    """The models in order, as an index, and for each layer the number of its model."""
    import pandas as pd

    blocks = model_blocks(labels)
    return pd.Index(list(blocks)), np.repeat(np.arange(len(blocks)), [b.stop - b.start for b in blocks.values()])


def join_rows(frames: list[Any]) -> Any:
    """Frames below one another; columns that some lack are NaN there."""
    import pandas as pd

    if len(frames) == 1:
        return frames[0]
    for name in {name for frame in frames for name in frame.columns}:
        kinds = [frame[name] for frame in frames if name in frame]
        if all(isinstance(kind.dtype, pd.CategoricalDtype) for kind in kinds):
            union = pd.Index(list(dict.fromkeys(value for kind in kinds for value in kind.cat.categories)))
            for frame in frames:
                if name in frame:
                    frame[name] = frame[name].cat.set_categories(union)
    return pd.concat(frames, ignore_index=True)


def _down(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.repeat(values, shape[1])


def _across(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.tile(values, shape[0])


def _category(values: np.ndarray) -> Any:
    import pandas as pd

    found = {value: i for i, value in enumerate(dict.fromkeys(map(str, values)))}
    return pd.Categorical.from_codes(np.array([found[str(v)] for v in values]), pd.Index(list(found), dtype=object))


def _layers_of(provenance: Provenance, side: str, labels: np.ndarray, depths: np.ndarray) -> tuple[Any, Any]:
    """Width and stored dtype of the layer at each (label, depth); -1 and "" where the provenance does not tell."""
    known = {model.label: model for model in provenance.models(side)}
    widths = {label: model.widths for label, model in known.items()}
    found = [
        widths[label][depth] if label in widths and depth >= 0 else -1
        for label, depth in zip(labels, depths, strict=True)
    ]
    return np.array(found), np.array([known[label].dtype if label in known else "" for label in labels], object)


def _assigned(provenance: Provenance, side: str, names: Sequence[str], codes: np.ndarray) -> dict[str, Any]:
    """A column for each name that models of a side were given values by; `codes` tell the model of each row."""
    known = {model.label: model.assigned for model in provenance.models(side)}
    keys = dict.fromkeys(key for assigned in known.values() for key in assigned)
    return {f"{key}_{side}": _column([known.get(name, {}).get(key) for name in names])[codes] for key in keys}


def _column(values: Sequence[Any]) -> Any:
    """Texts as categories, whole numbers as such where every model has one, other numbers as floats."""
    import pandas as pd

    if any(isinstance(value, str) for value in values):
        texts = [None if value is None else str(value) for value in values]
        kinds = dict.fromkeys(text for text in texts if text is not None)
        return pd.Categorical(texts, pd.Index(list(kinds), dtype=object))
    whole = {type(value) for value in values}
    if whole <= {int} or whole <= {bool}:
        return np.array(values)
    return np.array([np.nan if value is None else value for value in values], float)


def _with_origin(columns: dict[str, Any], provenance: Provenance, calibration: Calibration | None, metric: str) -> Any:
    """The frame, metric first, and after the numbers what they were made with: the same for all rows."""
    import pandas as pd

    preprocess = provenance.preprocess
    constants: dict[str, Any] = {
        "settings": json.dumps(provenance.metrics[metric].settings),
        "n": provenance.n,
        "ids_sha256": provenance.ids_sha256,
        "clip_quantile": preprocess.get("clip_quantile", np.nan),
        "clip_exact": preprocess.get("exact", np.nan),
        "clip_scope": preprocess.get("scope", ""),
        "normalize": preprocess.get("normalize", np.nan),
        "precision": provenance.precision,
        "device": provenance.device,
    }
    if calibration is not None:
        null = calibration.settings["null"]
        constants |= {f"null_{name}": null[name] for name in ("orders", "seed", "alpha", "aggregate")}
        constants["null_exact"] = calibration.settings["exact"]
    constants |= {f"version_{name.replace('-', '_')}": text for name, text in provenance.versions.items()}
    rows = len(columns["score"])
    table = {"metric": _constant(metric, rows)} | columns | {k: _constant(v, rows) for k, v in constants.items()}
    return pd.DataFrame({name: _constant(v, rows) if isinstance(v, str) else v for name, v in table.items()})


def _constant(value: Any, rows: int) -> Any:
    import pandas as pd

    if isinstance(value, str):
        return pd.Categorical.from_codes(np.zeros(rows, np.int8), pd.Index([value], dtype=object))
    return np.full(rows, value)
