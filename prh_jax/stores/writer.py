"""Writing feature stores, block by block, each block whole or not at all."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec

from ..errors import ExistsError, IncompleteError, MismatchError, StoreError, write_error
from .checks import check_ids, check_real, check_same_samples
from .layout import DTYPES, SAMPLES_PER_BLOCK, SCHEMA, Layer, blocks_of, sha256_json, spec_sha256
from .publish import write_whole
from .reader import FeatureStore, open_store
from .runs import attributes_at, check_run, new_run
from .target import check_replaceable, check_target


def open_writer(
    path: str | Path,
    *,
    spec: Mapping[str, Any],
    ids: Sequence[str],
    layers: Sequence[Layer],
    dtype: str = "float32",
    sample_arrays: Mapping[str, str] | None = None,
    result: Mapping[str, Any] | None = None,
    env: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> "FeatureWriter":
    """Create a store, or resume the one that exists.

    A new store is built in a temporary folder next to `path` and renamed into place; of several processes that do so at
    once, one wins and the others resume its store. An existing one is resumed when its spec, ids and layers are
    these; where they differ, StoreError names the difference (`overwrite=True` replaces it). `result` and `env` are
    what is known of them before the end.
    """
    path, ids = Path(path), check_ids(ids)
    check_target(path)
    if dtype not in DTYPES:
        raise StoreError(f"Features cannot be stored as {dtype!r}; choose one of {', '.join(DTYPES)}.")
    _check_layers(path, layers)
    try:
        json.dumps(dict(spec), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise StoreError(f"The spec of {path} must be a dict of plain JSON values: {error}.") from error

    def resumed() -> "FeatureWriter":
        store = open_store(path)
        _check_same(store, spec=spec, ids=ids, layers=layers, dtype=dtype)
        return FeatureWriter(store)

    if path.exists() and not overwrite:
        return resumed()
    check_replaceable(path, SCHEMA)
    try:
        with write_whole(path, replace=overwrite) as building:
            _create(building, spec, ids, layers, DTYPES[dtype], sample_arrays or {}, result or {}, env or {})
    except ExistsError:  # another process was faster
        return resumed()
    return FeatureWriter(open_store(path))


def _check_layers(path: Path, layers: Sequence[Layer]) -> None:
    if not layers:
        raise StoreError(f"No layers to write to {path}.")
    names = [layer.name for layer in layers]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise StoreError(f"Two layers for {path} are named {twice!r}; give each its own name.")
    for layer in layers:
        if layer.dim < 1:
            raise StoreError(f"Layer {layer.name!r} for {path} has no features.")


def _create(path, spec, ids, layers, dtype, sample_arrays, result, env) -> None:
    widths = list(dict.fromkeys(layer.dim for layer in layers))
    names = {dim: "features" if len(widths) == 1 else f"features_{dim}" for dim in widths}
    table, counts = [], dict.fromkeys(widths, 0)
    for layer in layers:
        table.append({"name": layer.name, "array": names[layer.dim], "index": counts[layer.dim], "dim": layer.dim})
        counts[layer.dim] += 1
    root = zarr.open_group(path, mode="w-", zarr_format=3)
    root.attrs.update(
        {
            "schema": SCHEMA,
            "status": "running",
            "run": new_run(),
            "spec": dict(spec),
            "spec_sha256": spec_sha256(spec, layers),
            "ids_sha256": sha256_json(ids),
            "layers": table,
            "result": dict(result),
            "env": dict(env),
        }
    )
    n, blocks = len(ids), len(blocks_of(len(ids)))

    def array(name, shape, chunks, kind, fill, dims):
        return root.create_array(
            name,
            shape=shape,
            chunks=chunks,
            dtype=kind,
            fill_value=fill,
            compressors=[Crc32cCodec()],
            dimension_names=dims,
        )

    for dim in widths:
        suffix = "" if len(widths) == 1 else f"_{dim}"
        dims = (f"layer{suffix}", "sample", f"feature{suffix}")
        array(names[dim], (counts[dim], n, dim), (1, SAMPLES_PER_BLOCK, dim), dtype, float("nan"), dims)
    for name, kind in sample_arrays.items():
        fill = float("nan") if np.dtype(kind).kind == "f" else -1
        array(name, (n,), (SAMPLES_PER_BLOCK,), kind, fill, ("sample",))
    array("done", (blocks,), (1,), "uint8", 0, ("block",))
    # One chunk each; the names of ragged layers keep a dimension of their own.
    array("sample", (n,), (n,), "string", "", ("sample",))[:] = np.array(ids, dtype=np.dtypes.StringDType())
    layer_dim = "layer" if len(widths) == 1 else "layer_all"
    layer_names = np.array([layer.name for layer in layers], dtype=np.dtypes.StringDType())
    array("layer", (len(layers),), (len(layers),), "string", "", (layer_dim,))[:] = layer_names


def _check_same(store: "FeatureStore", *, spec, ids, layers, dtype) -> None:
    way_out = "Choose another output folder, or write the store again with --force-remake (overwrite=True)."
    old, new = store.spec, json.loads(json.dumps(dict(spec)))
    for key in sorted(set(old) | set(new)):
        if old.get(key) != new.get(key):
            raise MismatchError(
                f"{store.path} holds features with {key} = {old.get(key)!r}; asked for is {new.get(key)!r}. {way_out}"
            )
    if store.layers != list(layers):
        raise MismatchError(
            f"{store.path} holds {len(store.layers)} layers, other than the {len(layers)} now. {way_out}"
        )
    if DTYPES[dtype] != store.dtype:
        raise MismatchError(f"{store.path} is stored as {store.dtype}; asked for is {dtype}. {way_out}")
    check_same_samples(str(store.path), store.ids, "the data set", ids, way_out)


class FeatureWriter:
    """Writes the blocks of one store; made by `open_writer`."""

    def __init__(self, store: FeatureStore):
        if not (isinstance(store.path, Path) and store.path.is_dir()):
            raise StoreError(f"{store.path} can be read, not written: copy or unpack it to a local folder first.")
        self._store, self.path, self.complete = store, store.path, store.complete
        self.blocks = blocks_of(store.n)
        self._group = zarr.open_group(self.path, mode="r+", zarr_format=3)
        self._run = self._group.attrs.get("run")
        self._arrays: dict[str, zarr.Array] = {}

    def pending(self) -> list[int]:
        """Blocks not yet done."""
        return [int(b) for b in np.flatnonzero(~self._store.done())]

    def write_block(self, block: int, features: Sequence[np.ndarray], **sample_values: np.ndarray) -> None:
        """Write one block, an array (rows, d) per layer; its done mark comes last.

        NaN, infinity (also by overflow in a 2-byte dtype) and wrong shapes are refused before anything is written.
        """
        store, rows = self._store, self.blocks[block]
        size = rows.stop - rows.start
        wanted = [(size, layer.dim) for layer in store.layers]
        given = [check_real(layer.name, f) for layer, f in zip(store.layers, features, strict=False)]
        shapes = [f.shape for f in given]
        if shapes != wanted or len(features) > len(wanted):
            raise StoreError(f"Block {block} of {self.path} needs arrays of shapes {wanted}, not {shapes}.")
        with np.errstate(over="ignore"):
            stored = [f.astype(store.dtype) for f in given]
        for layer, values in zip(store.layers, stored, strict=True):
            bad = ~np.isfinite(values).all(axis=1)
            if bad.any():
                names = [store.ids[rows.start + int(i)] for i in np.flatnonzero(bad)[:5]]
                raise StoreError(
                    f"Layer {layer.name!r} of {store.model} gave NaN or infinite features (as {store.dtype}) for "
                    f"{int(bad.sum())} samples, such as {', '.join(map(repr, names))}. Store as float32 "
                    "(--dtype float32) if it is not, or leave those samples out. Blocks done before are kept."
                )

        def parts() -> Iterator[tuple[zarr.Array, Any, np.ndarray]]:
            for (name, index), values in zip(store._where, stored, strict=True):
                yield self._array(name), (index, rows), values
            for name, values in sample_values.items():
                yield self._array(name), rows, np.asarray(values)

        def write() -> None:
            if self._finished_elsewhere():
                FeatureWriter(open_store(self.path)).check_same(block, stored)
                return
            opened = os.stat(self.path).st_ino
            for array, where, values in parts():
                # replaced meanwhile: a block of many layers takes seconds
                if os.stat(self.path).st_ino != opened and self._finished_elsewhere():
                    return write()
                array[where] = values
            marks = self._array("done")
            if self._finished_elsewhere():
                return write()
            marks[block] = 1

        self._retried(write)

    def _finished_elsewhere(self) -> bool:
        """Whether another process has finished this store since it was opened; ExistsError where it was replaced."""
        there, store = attributes_at(self.path), self._store
        finished = there.get("status") == "complete" and "run" not in there
        if finished and (there["spec_sha256"], there["ids_sha256"]) == (store.spec_sha256, store.ids_sha256):
            return self._run is not None
        check_run(self.path, self._run, there)
        return False

    def _array(self, name: str) -> zarr.Array:
        """An array of the store, opened once: opening it parses its metadata again."""
        if name not in self._arrays:
            self._arrays[name] = self._group[name]  # type: ignore[assignment]
        return self._arrays[name]

    def _retried(self, write: Callable[[], None]) -> None:
        """Write, once more where another process has tidied a temporary file away; StoreError where it fails."""
        try:
            try:
                write()
            except FileNotFoundError:
                write()
        except OSError as error:
            raise write_error(error, self.path) from error

    def check_same(self, block: int, features: Sequence[np.ndarray]) -> None:
        """StoreError unless a block that is done holds these features."""
        stored = self._store.read_rows(self.blocks[block])
        for layer, old, new in zip(self._store.layers, stored, features, strict=True):
            if not np.array_equal(old, np.asarray(new).astype(old.dtype)):
                raise MismatchError(
                    f"{self.path} holds other features for layer {layer.name!r} (first in block {block}). Choose "
                    "another path, or replace the store (overwrite=True)."
                )

    def sample_array(self, name: str) -> np.ndarray:
        """One number per sample, as written so far."""
        return self._store.sample_array(name)

    @property
    def layers(self) -> list[Layer]:
        """The store's layers."""
        return self._store.layers

    @property
    def sample_array_names(self) -> list[str]:
        """Names of the numbers that it keeps of each sample."""
        return self._store.sample_array_names

    def finish(self, result: Mapping[str, Any] | None = None, env: Mapping[str, Any] | None = None) -> None:
        """Mark the store complete, with results next to those known before; StoreError while blocks are pending."""
        pending = self.pending()
        if pending:
            raise IncompleteError(f"{self.path} cannot be finished: blocks {pending[:10]} are not done.")

        def mark() -> None:
            for leftover in self.path.rglob("*.partial"):  # of writes that were killed
                leftover.unlink(missing_ok=True)
            known = {"result": self._store.result | dict(result or {}), "env": self._store.env | dict(env or {})}
            if self._finished_elsewhere():
                return
            self._store.result = known["result"]
            finished = {**known, "status": "complete", "contents_sha256": self._store.contents()}
            # complete stores of the same features are equal to the bit
            others = {name: value for name, value in self._group.attrs.asdict().items() if name != "run"}
            self._group.attrs.put({**others, **finished})

        self._retried(mark)
        self.complete = True


def write_features(
    path: str | Path,
    features: Any,
    *,
    spec: Mapping[str, Any],
    ids: Sequence[str],
    layer_names: Sequence[str] | None = None,
    dtype: str = "float32",
    result: Mapping[str, Any] | None = None,
    env: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> FeatureStore:
    """Write features that you have as arrays to a complete feature store.

    Parameters
    ----------
    path
        Path of the store. A store with the same features is kept, and an interrupted one is completed.
    features
        Arrays (n, d) in the order of the layers, or a mapping of layers' names to them, of any library that holds real
        numbers: numpy, JAX, torch, pandas, polars, pyarrow.
    spec
        Origin of the features: {"model": ..., "modality": ..., "pool": ...} and any other settings.
    ids
        An id for each sample.
    layer_names
        Names of the layers; numbered if None.
    dtype
        Type in which features are stored, such as "float16" or "bfloat16".
    result, env
        Further records: what a run found (loss ...), and in which environment.
    overwrite
        Replace a store of other features.

    Returns
    -------
    FeatureStore
        The store, opened.

    Raises
    ------
    StoreError
        If the path holds other features, or features are not finite or not (n, d).
    """
    if isinstance(features, Mapping):
        if layer_names is not None:
            raise StoreError("The layers were given by name: leave layer_names out.")
        layer_names, features = [str(name) for name in features], list(features.values())
    if hasattr(features, "__array__"):  # of all layers
        features = check_real("features", features)
    features, ids = list(features), check_ids(ids)
    names = list(layer_names) if layer_names else [f"layer_{i}" for i in range(len(features))]
    if len(names) != len(features):
        raise StoreError(f"{len(names)} layer names were given for {len(features)} layers.")
    features = [check_real(name, f) for name, f in zip(names, features, strict=True)]
    for name, f in zip(names, features, strict=True):
        if f.ndim != 2 or len(f) != len(ids):
            raise StoreError(f"Layer {name!r} has shape {f.shape}, but {len(ids)} ids were given; it must be (n, d).")
        if not np.isfinite(f.astype(np.float32)).all():
            raise StoreError(f"Layer {name!r} has NaN or infinite features; nothing was written.")
    layers = [Layer(name, f.shape[1]) for name, f in zip(names, features, strict=True)]
    writer = open_writer(path, spec=spec, ids=ids, layers=layers, dtype=dtype, overwrite=overwrite)
    pending = writer.pending()
    for block, rows in enumerate(writer.blocks):
        part = [f[rows] for f in features]
        if block in pending:
            writer.write_block(block, part)
        else:
            writer.check_same(block, part)
    if not writer.complete:
        writer.finish(result, env)
    return open_store(path)
