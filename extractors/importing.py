"""Features made elsewhere into stores: the reference's .pt dictionaries, numpy's .npy and .npz, parquet."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from prh_jax.arrays import NotRealError, real_numbers
from prh_jax.stores.layout import common_dtype
from prh_jax.stores.reader import FeatureStore
from prh_jax.stores.target import check_target
from prh_jax.stores.writer import write_features

from .datasets.values import id_of
from .errors import ExtractionError, first_line

SAMPLES_FIRST, LAYERS_FIRST = "samples,layers,features", "layers,samples,features"
AXES = (SAMPLES_FIRST, LAYERS_FIRST)
"""The orders of the axes of an array that holds all layers."""


@dataclass(frozen=True)
class Imported:
    """What a file holds: an array (n, d) a layer, or one array of all layers; names, and ids and results if it has any.

    Of an array of all layers, `axes` is the order of its axes where the kind of file says so.
    """

    layers: list[np.ndarray]
    names: list[str] | None = None
    ids: list[str] | None = None
    result: dict[str, Any] = field(default_factory=dict)
    axes: str | None = None


def import_features(
    source: str | Path,
    output: str | Path,
    *,
    model: str,
    pool: str,
    modality: str,
    ids: Sequence[str] | str | None = None,
    id_column: str = "id",
    dataset: dict[str, Any] | None = None,
    axes: str | None = None,
    overwrite: bool = False,
) -> FeatureStore:
    """Write the features of a file as a store; nothing in the file is run.

    .pt, .pth   a dictionary with `feats`, as the reference saves it: (n, layers, d), or a list with (n, d) a layer; or
                such a tensor or list itself. num_params, loss and bpb become results
    .npy        (n, d), or all layers
    .npz        an array (n, d) a layer, in order, or one of all layers; `ids` where there is an array of that name
    .parquet    a column of lists a layer, in order; ids in `id_column`

    ids         one for each row, where the file has none; "rows" for row numbers
    axes        which axis of an array of all layers is which: "samples,layers,features" or "layers,samples,features".
                If None, `feats` of a dictionary have samples first; of other arrays the axis that has as many places as
                there are ids is that of the samples

    ExtractionError where there are no ids at all, as features without ids cannot be paired, where nothing tells which
    axis is that of the samples, or where the file holds something else.
    """
    source = Path(source)
    check_target(Path(output))
    if not source.is_file():
        raise ExtractionError(f"There is no file at {source} to import.")
    readers = {".pt": _torch, ".pth": _torch, ".npy": _npy, ".npz": _npz}
    if source.suffix == ".parquet":
        found = _parquet(source, id_column if ids is None else None)
    elif source.suffix in readers:
        found = readers[source.suffix](source)
    else:
        raise ExtractionError(f"{source} ends in {source.suffix!r}; what can be read is .pt, .npy, .npz and .parquet.")
    given = found.ids if ids is None or isinstance(ids, str) else list(ids)
    layers, used = _split(source, found, None if isinstance(ids, str) else given, axes)
    n = len(layers[0])
    chosen = [str(i) for i in range(n)] if isinstance(ids, str) else given
    if chosen is None:
        raise ExtractionError(
            f"{source} has {n} rows without ids. Name them, as only equal ids are paired: --ids FILE with one a line, "
            "--dataset with the data they were made from, or --ids rows for row numbers (as data without ids have)."
        )
    if len(chosen) != n:
        hint = f" If its layers come first, say --axes {LAYERS_FIRST} (axes=)." if len(chosen) == len(layers) else ""
        raise ExtractionError(f"{source} has {n} rows, but {len(chosen)} ids were given.{hint}")
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    dtype = common_dtype(layers)
    spec = {
        "modality": modality,
        "model": model,
        "pool": pool,
        "dataset": dataset,
        "imported": {"file": source.name, "sha256": digest} | ({"axes": used} if used == LAYERS_FIRST else {}),
        "dtype_store": dtype,
    }
    return write_features(
        output,
        layers,
        spec=spec,
        ids=chosen,
        layer_names=found.names or [f"layer_{i}" for i in range(len(layers))],
        dtype=dtype,
        result=found.result,
        overwrite=overwrite,
    )


def _split(
    source: Path, found: Imported, ids: Sequence[str] | None, axes: str | None
) -> tuple[list[np.ndarray], str | None]:
    """An array (n, d) a layer, and the order of axes that an array of all layers was read in."""
    if axes is not None and axes not in AXES:
        raise ExtractionError(f"The axes of an array of all layers (--axes) are {' or '.join(AXES)}, got {axes!r}.")
    whole = found.layers[0] if len(found.layers) == 1 else None
    if whole is None or whole.ndim != 3:
        wrong = next((layer.shape for layer in found.layers if layer.ndim != 2), None)
        if wrong is not None:
            raise ExtractionError(
                f"{source} holds an array of shape {wrong}; features are (n, d) a layer, or (n, layers, d) or "
                "(layers, n, d) for all layers."
            )
        if axes is not None:
            raise ExtractionError(f"{source} holds an array (n, d) for each layer: leave --axes (axes=) out.")
        return found.layers, None
    if 0 in whole.shape:
        raise ExtractionError(f"{source} holds an array of shape {whole.shape}, which has no features.")
    axes = axes or found.axes or _axes_by_count(source, whole.shape, ids)
    return list(whole if axes == LAYERS_FIRST else whole.swapaxes(0, 1)), axes


def _axes_by_count(source: Path, shape: tuple[int, ...], ids: Sequence[str] | None) -> str:
    """The order of axes that the number of ids tells; ExtractionError where it tells none."""
    fits = [] if ids is None else [order for order, n in zip(AXES, shape, strict=False) if n == len(ids)]
    if len(fits) == 1:
        return fits[0]
    count = "without ids" if ids is None else f"with {len(ids)} ids"
    raise ExtractionError(
        f"{source} holds an array of shape {shape}, {count}, which does not tell whether it is {shape[0]} samples of "
        f"{shape[1]} layers or {shape[0]} layers of {shape[1]} samples. Say --axes {SAMPLES_FIRST} or --axes "
        f"{LAYERS_FIRST} (axes=), or give an id for each sample (--ids FILE)."
        if ids is None or fits
        else f"{source} holds an array of shape {shape}, but {len(ids)} ids were given. Give one for each sample."
    )


def _torch(source: Path) -> Imported:
    import torch

    try:
        content = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds: cut off, no archive, objects that would run code
        raise ExtractionError(
            f"{source} cannot be read: {first_line(error)} Only tensors and plain values are loaded, as all else "
            "in a .pt file could run code."
        ) from error
    known = content if isinstance(content, dict) else {"feats": content}
    features = known.get("feats")
    parts = list(features) if isinstance(features, list | tuple) else [features]
    tensors = [part for part in parts if isinstance(part, torch.Tensor)]
    if not tensors or len(tensors) < len(parts):
        raise ExtractionError(
            f"{source} holds no `feats` (a tensor, or a list with one a layer); it has {', '.join(map(str, known))}."
        )
    arrays = [_from_torch(source, part) for part in tensors]
    counts = sorted({array.shape[:1] for array in arrays})
    if len(counts) > 1:
        raise ExtractionError(f"{source}: layers have {[n for (n,) in counts]} rows; all need as many.")
    names = {"num_params": "params_total", "loss": "loss", "bpb": "bpb_reference"}
    result = {new: _number(source, old, known[old]) for old, new in names.items() if old in known}
    # the reference's dictionary has samples first, and lists have a layer each
    axes = SAMPLES_FIRST if isinstance(content, dict) and features is tensors[0] else None
    return Imported(arrays, result=result, axes=axes)


def _from_torch(source: Path, tensor: Any) -> np.ndarray:
    what = f"{source} holds a tensor of shape {tuple(tensor.shape)} on {tensor.device}"
    if tensor.ndim == 0:
        raise ExtractionError(f"{what}, a single number; features are (n, d) or (n, layers, d).")
    try:
        return np.asarray(real_numbers(tensor))
    except NotRealError as error:
        raise ExtractionError(
            f"{what}, which is {error}. Features are real numbers of (n, d) or (n, layers, d)."
        ) from error


def _number(source: Path, name: str, value: Any) -> float | int:
    """One number of a dictionary."""
    import torch

    if isinstance(value, torch.Tensor) and value.numel() == 1 and not value.is_meta:
        value = value.detach().item()
    if isinstance(value, bool) or not isinstance(value, int | float):
        what = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else repr(value)
        raise ExtractionError(f"{source} has {what[:60]} as {name!r}, which is one number. Leave it out, or save one.")
    return value


def _npy(source: Path) -> Imported:
    try:
        return Imported([np.load(source, allow_pickle=False)])
    except (ValueError, OSError, EOFError, MemoryError) as error:
        raise ExtractionError(f"{source} cannot be read as an array: {error}") from error


def _npz(source: Path) -> Imported:
    import zipfile
    import zlib

    try:
        with np.load(source, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
    except (ValueError, OSError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise ExtractionError(f"{source} cannot be read as arrays: {error}") from error
    ids = arrays.pop("ids", None)
    if not arrays:
        raise ExtractionError(f"{source} holds no arrays of features.")
    if ids is not None and ids.ndim != 1:
        raise ExtractionError(f"{source} has ids of shape {ids.shape}; they are (n,), one for each sample.")
    odd = next((name for name, array in arrays.items() if array.ndim < 2), None)
    if odd is not None:
        raise ExtractionError(
            f"{source} holds {odd!r} of shape {arrays[odd].shape} beside {len(arrays) - 1} other arrays; each array is "
            "a layer (n, d), or the one array has all layers. Save the layers alone, with `ids` if there are any."
        )
    layers = list(arrays.values())
    names = list(arrays) if layers[0].ndim == 2 or len(layers) > 1 else None
    return Imported(layers, names, None if ids is None else [str(i) for i in ids])


def _parquet(source: Path, id_column: str | None) -> Imported:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(source)
    except (OSError, pa.ArrowException) as error:
        raise ExtractionError(f"{source} cannot be read as parquet: {error}") from error
    if id_column is not None and id_column not in table.column_names:
        raise ExtractionError(
            f"{source} has no column {id_column!r} of ids; {', '.join(table.column_names)} are there. Name it with "
            "--id-column, or give ids with --ids."
        )
    layers, names = [], []
    for name in table.column_names:
        kind = table.schema.field(name).type
        if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
            continue
        column = table[name].combine_chunks()
        flat = column.flatten()
        if column.null_count or flat.null_count or not len(column) or len(flat) % len(column):
            raise ExtractionError(f"{source}: the lists in column {name!r} differ in length, or some are missing.")
        lengths = set(column.value_lengths().to_pylist()) if not pa.types.is_fixed_size_list(kind) else {1}
        if len(lengths) > 1:
            raise ExtractionError(f"{source}: the lists in column {name!r} have lengths {sorted(lengths)[:5]}.")
        layers.append(flat.to_numpy(zero_copy_only=False).reshape(len(column), -1))
        names.append(name)
    if not layers:
        raise ExtractionError(f"{source} has no column of lists; a layer's features are a list of numbers a row.")
    if id_column is None:
        return Imported(layers, names, None)
    ids = table[id_column].to_pylist()
    return Imported(layers, names, [id_of(value, str(source), id_column, row) for row, value in enumerate(ids)])
