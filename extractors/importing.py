"""Features made elsewhere into stores: the reference's .pt dictionaries, numpy's .npy and .npz, parquet."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from prh_jax.stores.layout import DTYPES
from prh_jax.stores.reader import FeatureStore
from prh_jax.stores.target import check_target
from prh_jax.stores.writer import write_features

from .errors import ExtractionError, first_line


@dataclass(frozen=True)
class Imported:
    """What a file holds: an array (n, d) a layer, their names, and ids and results where it has some."""

    layers: list[np.ndarray]
    names: list[str]
    ids: list[str] | None = None
    dtype: str = "float32"
    result: dict[str, Any] = field(default_factory=dict)


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
    overwrite: bool = False,
) -> FeatureStore:
    """Write the features of a file as a store; nothing in the file is run.

    .pt, .pth   a dictionary with `feats`, as the reference saves it: (n, layers, d), or a list with (n, d) a layer; or
                such a tensor or list itself. num_params, loss and bpb become results
    .npy        (n, d), or (n, layers, d)
    .npz        an array (n, d) a layer, in order; `ids` where there is an array of that name
    .parquet    a column of lists a layer, in order; ids in `id_column`

    ids         one for each row, where the file has none; "rows" for row numbers

    ExtractionError where there are no ids at all, as features without ids cannot be paired, or where the file holds
    something else.
    """
    source = Path(source)
    check_target(Path(output))
    if not source.is_file():
        raise ExtractionError(f"There is no file at {source} to import.")
    readers = {".pt": _torch, ".pth": _torch, ".npy": _npy, ".npz": _npz}
    if source.suffix == ".parquet":
        found = _parquet(source, id_column)
    elif source.suffix in readers:
        found = readers[source.suffix](source)
    else:
        raise ExtractionError(f"{source} ends in {source.suffix!r}; what can be read is .pt, .npy, .npz and .parquet.")
    n = len(found.layers[0])
    chosen = found.ids if ids is None else [str(i) for i in range(n)] if isinstance(ids, str) else list(ids)
    if chosen is None:
        raise ExtractionError(
            f"{source} has {n} rows without ids. Name them, as only equal ids are paired: --ids FILE with one a line, "
            "--dataset with the data they were made from, or --ids rows for row numbers (as data without ids have)."
        )
    if len(chosen) != n:
        raise ExtractionError(f"{source} has {n} rows, but {len(chosen)} ids were given.")
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    spec = {
        "modality": modality,
        "model": model,
        "pool": pool,
        "dataset": dataset,
        "imported": {"file": source.name, "sha256": digest},
        "dtype_store": found.dtype,
    }
    return write_features(
        output,
        found.layers,
        spec=spec,
        ids=chosen,
        layer_names=found.names,
        dtype=found.dtype,
        result=found.result,
        overwrite=overwrite,
    )


def _by_layer(source: Path, features: np.ndarray) -> list[np.ndarray]:
    """(n, d) as one layer, (n, layers, d) as many."""
    if features.ndim == 2:
        return [features]
    if features.ndim == 3:
        return [features[:, i] for i in range(features.shape[1])]
    raise ExtractionError(f"{source} holds an array of shape {features.shape}; features are (n, d) or (n, layers, d).")


def _named(layers: list[np.ndarray]) -> list[str]:
    return [f"layer_{i}" for i in range(len(layers))]


def _dtype_of(layers: Sequence[np.ndarray]) -> str:
    kinds = {str(layer.dtype) for layer in layers}
    return kinds.pop() if len(kinds) == 1 and kinds <= set(DTYPES) else "float32"


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
    counts = sorted({tensor.shape[0] for tensor in tensors})
    if len(counts) > 1:
        raise ExtractionError(f"{source}: layers have {counts} rows; all need as many.")
    arrays = [_from_torch(part) for part in tensors]
    layers = _by_layer(source, arrays[0]) if len(arrays) == 1 else arrays
    names = {"num_params": "params_total", "loss": "loss", "bpb": "bpb_reference"}
    result = {
        new: value.item() if isinstance(value := known[old], torch.Tensor) else value
        for old, new in names.items()
        if old in known
    }
    return Imported(layers, _named(layers), None, _dtype_of(layers), result)


def _from_torch(tensor: Any) -> np.ndarray:
    import torch

    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.uint16).numpy().view(DTYPES["bfloat16"])
    return tensor.numpy()


def _npy(source: Path) -> Imported:
    try:
        features = np.load(source, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ExtractionError(f"{source} cannot be read as an array: {error}") from error
    layers = _by_layer(source, features)
    return Imported(layers, _named(layers), None, _dtype_of(layers))


def _npz(source: Path) -> Imported:
    import zipfile

    try:
        with np.load(source, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ExtractionError(f"{source} cannot be read as arrays: {error}") from error
    ids = arrays.pop("ids", None)
    if not arrays:
        raise ExtractionError(f"{source} holds no arrays of features.")
    layers = list(arrays.values())
    names = list(arrays)
    if len(layers) == 1:
        layers = _by_layer(source, layers[0])
        names = names if len(layers) == 1 else _named(layers)
    return Imported(layers, names, None if ids is None else [str(i) for i in ids], _dtype_of(layers))


def _parquet(source: Path, id_column: str) -> Imported:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(source)
    except (OSError, pa.ArrowException) as error:
        raise ExtractionError(f"{source} cannot be read as parquet: {error}") from error
    if id_column not in table.column_names:
        raise ExtractionError(
            f"{source} has no column {id_column!r} of ids (--id-column); {table.column_names} are there."
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
    return Imported(layers, names, [str(i) for i in table[id_column].to_pylist()], _dtype_of(layers))
