"""Results as files for other programs: tables, arrays, text."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..runtime.progress import progress
from ..stores.location import local_file
from ..stores.publish import write_whole
from ..stores.target import file_target
from .alignment import Alignment
from .groups import GroupComparison
from .reduce import How
from .tables import escape_latex, escape_markdown, latex_table, markdown_table

ROWS_AT_ONCE = 20_000
"""Rows of a .csv that are written in one go."""


def export(
    result: Alignment,
    path: str | Path,
    *,
    metric: str | None = None,
    per: str = "layer",
    how: How = "best",
    overwrite: bool = False,
) -> Path:
    """Write a result to a file, in the format of its ending, whole or not at all.

    - .csv, .parquet: the long table of `Alignment.to_dataframe`, per layer pair or per model pair.
    - .nc: netCDF with matrices and labels, `self_pair` (1 if both layers are of one model), the calibration, and the
      protocol as JSON in an attribute.
    - .npy: the reference's form, of one metric.
    - .md, .tex: model-by-model tables, reduced by `how`, with calibrated scores if there are any. A model with itself
      is "self".

    Parameters
    ----------
    result
        The result to write.
    path
        Path of the file.
    metric
        One of the result's metrics; all if None.
    per
        "layer" for a row per layer pair, "model" for a row per model pair.
    how
        From layer pairs to model pairs, as in `Alignment.reduce`.
    overwrite
        Replace a file that exists.

    Returns
    -------
    Path
        Path of the file.

    Raises
    ------
    StoreError
        If the file exists or cannot be written.
    ValueError
        If the ending is unknown, or the metric is not in the result.

    Notes
    -----
    Names are not changed in .csv. Import them as text in a spreadsheet, not as formulas.
    """
    path = local_file(path)
    if path.suffix not in WRITERS:
        raise ValueError(f"The ending of {path.name!r} does not say what to write; there are {', '.join(WRITERS)}.")
    path = file_target(path, overwrite=overwrite)
    if metric is not None:
        result.layers(metric)
    with write_whole(path, replace=True, suffix=path.suffix) as building:
        WRITERS[path.suffix](result, building, metric=metric, per=per, how=how)
    return path


def _csv(result: Alignment, path: Path, *, metric: str | None, per: str, how: How) -> None:
    import csv

    frame = result.to_dataframe(metric, per=per, how=how)
    with path.open("w", encoding="utf-8", newline="") as file:
        for start in progress(range(0, len(frame), ROWS_AT_ONCE), "writing", f"x {ROWS_AT_ONCE} rows"):
            part = frame.iloc[start : start + ROWS_AT_ONCE]
            part.to_csv(file, index=False, header=start == 0, quoting=csv.QUOTE_NONNUMERIC)


def _parquet(result: Alignment, path: Path, *, metric: str | None, per: str, how: How) -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ImportError("Parquet needs pyarrow: pip install pyarrow. Or write .csv, which needs nothing.") from error
    result.to_dataframe(metric, per=per, how=how).to_parquet(path, engine="pyarrow", index=False)


def _netcdf(result: Alignment, path: Path, *, metric: str | None, per: str, how: How) -> None:
    dataset = result.dataset[result.metrics if metric is None else [metric]]
    whole = result.layers(result.metrics[0])
    dataset = dataset.assign(self_pair=(whole.dims, result.own_blocks(whole).astype(np.int8)))
    if result.calibration is not None:
        found = result.calibration.dataset
        found = found.drop_vars([name for name in found.coords if name not in ("metric", "model_x", "model_y")])
        names = {str(name): f"calibration_{name}" for name in found.data_vars}
        pairs = {f"model_{side}": f"pair_model_{side}" for side in "xy"}
        found = found.rename(names | pairs | {"metric": "calibrated_metric"})
        dataset = xr.merge([dataset, found], compat="no_conflicts", join="exact")
        dataset.attrs["calibration"] = json.dumps(result.calibration.settings)
    dataset = dataset.assign_attrs(protocol=json.dumps(result.provenance.to_dict()))
    try:
        dataset.to_netcdf(path, engine="scipy")
    except (ValueError, TypeError, KeyError, ImportError) as error:
        raise ValueError(
            f"This result cannot be written as netCDF ({error}). Write .csv or .parquet, or keep its Zarr, which "
            "xarray opens as well."
        ) from error


def _npy(result: Alignment, path: Path, *, metric: str | None, per: str, how: How) -> None:
    if metric is None and len(result.metrics) > 1:
        raise ValueError(f"A .npy holds one metric; say which by --metric (metric=): {', '.join(result.metrics)}.")
    result.save_npy(path, metric or result.metrics[0])


def _markdown(result: Alignment, path: Path, *, metric: str | None, per: str, how: How) -> None:
    parts = []
    for name, title, table in _tables(result, metric, how):
        parts.append(f"## {escape_markdown(name)}: {title}\n\n{markdown_table(table)}\n")
    path.write_text("\n".join(parts), encoding="utf-8")


def _latex(result: Alignment, path: Path, *, metric: str | None, per: str, how: How) -> None:
    parts = []
    for name, title, table in _tables(result, metric, how):
        parts.append(f"% {escape_latex(name)}: {title}\n{latex_table(table)}\n")
    path.write_text("\n".join(parts), encoding="utf-8")


def _tables(result: Alignment, metric: str | None, how: How) -> list[tuple[str, str, xr.DataArray]]:
    """Metric, title and table of all that a text file shows."""
    tables = []
    for name in result.metrics if metric is None else [metric]:
        words = how if isinstance(how, str) else getattr(how, "__name__", "a function")
        tables.append((name, f"{words} over layer pairs, n = {result.provenance.n}", result.reduce(name, how)))
        if result.calibration is not None:
            null, pairs = result.calibration.settings["null"], result.calibrated_pairs(name)
            title = f"calibrated {null['aggregate']} over layer pairs, {null['orders']} orders, 0 is chance"
            tables.append((name, title, pairs["calibrated"]))
            tables.append((name, "q-values (Benjamini-Hochberg)", pairs["q_bh"]))
    return tables


WRITERS: dict[str, Callable[..., None]] = {
    ".csv": _csv,
    ".parquet": _parquet,
    ".nc": _netcdf,
    ".npy": _npy,
    ".md": _markdown,
    ".tex": _latex,
}


def as_plain(result: Alignment, metrics: list[str], how: How) -> dict[str, Any]:
    """Protocol, scores and calibration of model pairs as what JSON can hold; NaN is None."""
    tables: dict[str, Any] = {}
    for name in metrics:
        table = result.reduce(name, how)
        tables[name] = {"models_x": _texts(table, "x"), "models_y": _texts(table, "y"), "score": _listed(table)}
        tables[name]["self_pair"] = result.self_pairs.values.tolist()
        tables[name]["counted"] = result.counted_pairs(name).values.tolist()
        if how == "best":
            best = result.best(name)
            tables[name] |= {key: best[key].values.tolist() for key in ("layer_x", "layer_y", "depth_x", "depth_y")}
        if result.calibration is not None:
            pairs = result.calibration.pairs(name)
            tables[name]["calibration"] = {str(key): _listed(pairs[key]) for key in pairs.data_vars}
    how = how if isinstance(how, str) else getattr(how, "__name__", "a function")
    settings = None if result.calibration is None else result.calibration.settings
    return {"protocol": result.provenance.to_dict(), "how": how, "metrics": tables, "null": settings}


def comparison_as_plain(found: GroupComparison) -> dict[str, Any]:
    """A comparison of groups as what JSON can hold: numbers by group and part; NaN is None."""
    table = found.table
    parts, groups = (list(map(str, table[dim].values)) for dim in ("part", "group"))
    numbers: dict[str, Any] = {group: {part: {} for part in parts} for group in groups}
    for name, values in table.items():
        for (i, part), (j, group) in itertools.product(enumerate(parts), enumerate(groups)):
            value = values.values[i, j].item()
            numbers[group][part][str(name)] = None if np.isnan(value) else value
    plain = {"finding": found.finding, "p": found.p, "orders": found.orders, "exact": found.exact}
    return plain | {"unknown": found.unknown, "left_out": list(found.left_out), "groups": numbers}


def _texts(table: xr.DataArray, side: str) -> list[str]:
    return [str(name) for name in table[f"model_{side}"].values]


def _listed(table: xr.DataArray) -> list[list[float | None]]:
    return [[None if np.isnan(value) else float(value) for value in row] for row in table.values]
