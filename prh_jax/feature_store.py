"""Features on disk: one Zarr v3 group a model, written block by block, checked on every read.

Layout of a store (schema "prh-jax/features/1"):

    features        (layer, sample, feature)  chunks (1, 256, d), crc32c, fill value NaN
    features_<d>    one such array per width, where layers differ in width
    sample          (sample,)  ids, in order          layer  (layer,)  names
    done            (block,)   1 once the block's features are all on disk; written after them
    <sample array>  (sample,)  optional, one number per sample (loss, tokens ...)
    attributes      schema, status, spec, spec_sha256, ids_sha256, layers [{name, array, index, dim}], result, env

A chunk that is missing reads as NaN, a flipped byte fails its checksum, and a block counts only once it is marked
done: so that nothing half-written is ever taken for features.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec

from .bfloat16 import BFLOAT16
from .checks import StoreError, check_ids, check_same_samples, write_error

SCHEMA = "prh-jax/features/1"
BLOCK = 256
DTYPES = {"float32": np.dtype("float32"), "float16": np.dtype("float16"), "bfloat16": BFLOAT16}


@dataclass(frozen=True)
class Layer:
    """Where features were read in a model: a name and a width."""

    name: str
    dim: int


def sha256_json(value: Any) -> str:
    """SHA-256 of a JSON value in canonical form (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def path_parts(name: str) -> list[str]:
    """Folders of a data set or model name below a root: never above it, whatever the name says."""
    return [part for part in PurePosixPath(name).parts if part not in ("/", ".", "..")]


def store_path(
    root: str | Path,
    dataset: str,
    subset: str | None,
    model: str,
    pool: str,
    *,
    prompt: bool = False,
    caption_index: int = 0,
) -> Path:
    """Where the features of one model belong: `root/dataset/subset/<model>_pool-<pool>[...].zarr`, its "/" as "--"."""
    name = "--".join(path_parts(model)) + f"_pool-{pool}"
    if prompt:
        name += "_prompt-True"
    if caption_index:
        name += f"_cid-{caption_index}"
    return Path(root, *path_parts(dataset), *path_parts(subset or ""), name + ".zarr")


def blocks_of(n: int) -> list[slice]:
    """Sample ranges of the blocks of `n` samples."""
    return [slice(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK)]


def open_writer(
    path: str | Path,
    *,
    spec: Mapping[str, Any],
    ids: Sequence[str],
    layers: Sequence[Layer],
    dtype: str = "float32",
    sample_arrays: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> "FeatureWriter":
    """Create a store, or go on with the one that is there.

    A new store is built in a temporary folder beside `path` and renamed into place. An existing one is resumed when its
    spec, ids and layers are these; where they differ, StoreError names the difference (`overwrite=True` replaces it).
    """
    path, ids = Path(path), check_ids(ids)
    if dtype not in DTYPES:
        raise StoreError(f"Features cannot be stored as {dtype!r}; choose one of {', '.join(DTYPES)}.")
    if not layers:
        raise StoreError(f"No layers to write to {path}.")
    if path.exists() and not overwrite:
        store = open_store(path)
        _check_same(store, spec=spec, ids=ids, layers=layers, dtype=dtype)
        return FeatureWriter(store)
    building = path.parent / f".{path.name}.{uuid.uuid4().hex}.partial"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _create(building, spec, ids, layers, DTYPES[dtype], sample_arrays or {})
        if path.exists():
            retired = building.with_suffix(".retired")
            path.rename(retired)
            building.rename(path)
            shutil.rmtree(retired)
        else:
            building.rename(path)
    except OSError as error:
        shutil.rmtree(building, ignore_errors=True)
        raise write_error(error, path) from error
    return FeatureWriter(open_store(path))


def _create(path, spec, ids, layers, dtype, sample_arrays) -> None:
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
            "spec": dict(spec),
            "spec_sha256": _spec_sha256(spec, layers),
            "ids_sha256": sha256_json(ids),
            "layers": table,
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
        array(names[dim], (counts[dim], n, dim), (1, BLOCK, dim), dtype, float("nan"), dims)
    for name, kind in sample_arrays.items():
        fill = float("nan") if np.dtype(kind).kind == "f" else -1
        array(name, (n,), (BLOCK,), kind, fill, ("sample",))
    array("done", (blocks,), (1,), "uint8", 0, ("block",))
    # One chunk each; the names of ragged layers keep a dimension of their own.
    array("sample", (n,), (n,), "string", "", ("sample",))[:] = np.array(ids, dtype=np.dtypes.StringDType())
    layer_dim = "layer" if len(widths) == 1 else "layer_all"
    layer_names = np.array([layer.name for layer in layers], dtype=np.dtypes.StringDType())
    array("layer", (len(layers),), (len(layers),), "string", "", (layer_dim,))[:] = layer_names


def _spec_sha256(spec: Mapping[str, Any], layers: Iterable[Layer]) -> str:
    return sha256_json({**spec, "layers": [[layer.name, layer.dim] for layer in layers]})


def _check_same(store: "FeatureStore", *, spec, ids, layers, dtype) -> None:
    way_out = "Choose another output folder, or write the store anew with --force-remake (overwrite=True)."
    old, new = store.spec, json.loads(json.dumps(dict(spec)))
    for key in sorted(set(old) | set(new)):
        if old.get(key) != new.get(key):
            raise StoreError(
                f"{store.path} holds features with {key} = {old.get(key)!r}; asked for is {new.get(key)!r}. {way_out}"
            )
    if store.layers != list(layers):
        raise StoreError(f"{store.path} holds {len(store.layers)} layers, other than the {len(layers)} now. {way_out}")
    if DTYPES[dtype] != store.dtype:
        raise StoreError(f"{store.path} is stored as {store.dtype}; asked for is {dtype}. {way_out}")
    check_same_samples(str(store.path), store.ids, "the data set", ids, way_out)


class FeatureStore:
    """A feature store opened for reading; attributes `spec ids layers n dtype result env complete`."""

    def __init__(self, path: str | Path, group: zarr.Group):
        attrs: dict[str, Any] = dict(group.attrs)
        self.path, self.group = Path(path), group
        self.spec: dict[str, Any] = attrs["spec"]
        self.spec_sha256: str = attrs["spec_sha256"]
        self.ids_sha256: str = attrs["ids_sha256"]
        self.result: dict[str, Any] = attrs.get("result", {})
        self.env: dict[str, Any] = attrs.get("env", {})
        self.complete: bool = attrs["status"] == "complete"
        self._where = [(entry["array"], entry["index"]) for entry in attrs["layers"]]
        self.layers = [Layer(entry["name"], entry["dim"]) for entry in attrs["layers"]]
        self.ids = [str(i) for i in self._read("sample", slice(None))]
        self.dtype: np.dtype = self._array(self._where[0][0]).dtype

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.ids)

    @property
    def model(self) -> str:
        """The model's name as its spec has it, else the store's file name."""
        return str(self.spec.get("model") or self.path.stem)

    def require_complete(self) -> "FeatureStore":
        """Itself, or StoreError when blocks are still missing."""
        if not self.complete:
            done = int(self.done().sum())
            raise StoreError(
                f"{self.path} is unfinished: {done} of {len(blocks_of(self.n))} blocks are done. Run the extraction "
                "again with the same settings; it goes on where it stopped."
            )
        return self

    def done(self) -> np.ndarray:
        """One bool per block of samples: are its features on disk?"""
        return self._read("done", slice(None)).astype(bool)

    def read_layer(self, layer: int) -> np.ndarray:
        """Features (n, d) of one layer as stored; StoreError on a failed checksum, a missing chunk or a NaN."""
        array, index = self._where[layer]
        return self._check_finite(self._read(array, index), layer, 0)

    def read_block(self, block: int) -> list[np.ndarray]:
        """Features of one block of samples, an (up to 256, d) array per layer."""
        rows = blocks_of(self.n)[block]
        return [
            self._check_finite(self._read(array, (index, rows)), layer, rows.start)
            for layer, (array, index) in enumerate(self._where)
        ]

    def sample_array(self, name: str) -> np.ndarray:
        """One number per sample that was written beside the features."""
        return self._read(name, slice(None))

    def _array(self, name: str) -> zarr.Array:
        try:
            array = self.group[name]
        except KeyError as error:
            raise StoreError(f"{self.path} is corrupt: it has no array {name!r}. Extract it again.") from error
        if not isinstance(array, zarr.Array):
            raise StoreError(f"{self.path} is corrupt: {name!r} is not an array. Extract it again.")
        return array

    def _read(self, name: str, selection) -> np.ndarray:
        try:
            return np.asarray(self._array(name)[selection])
        except StoreError:
            raise
        except (ValueError, OSError, RuntimeError) as error:
            raise StoreError(
                f"{self.path} is corrupt: array {name!r} could not be read ({error}). Delete the store and "
                "extract it again."
            ) from error

    def _check_finite(self, features: np.ndarray, layer: int, first_row: int) -> np.ndarray:
        bad = ~np.isfinite(features).all(axis=1)
        if bad.any():
            row = first_row + int(np.argmax(bad))
            raise StoreError(
                f"{self.path}, layer {self.layers[layer].name!r}: {int(bad.sum())} samples are missing or not "
                f"finite, the first is row {row} (sample {self.ids[row]!r}). A chunk was lost or the model returned "
                "NaN; extract it again."
            )
        return features


def open_store(path: str | Path) -> FeatureStore:
    """Open a feature store for reading; StoreError where there is none, or one of another schema."""
    if not Path(path).is_dir():
        raise StoreError(f"There is no feature store at {path}. `prh extract` makes one.")
    try:
        group = zarr.open_group(path, mode="r", zarr_format=3)
    except Exception as error:  # zarr raises many kinds for a broken or foreign folder
        raise StoreError(f"{path} is not a feature store: Zarr cannot open it ({error}).") from error
    schema = group.attrs.get("schema")
    if schema != SCHEMA:
        raise StoreError(f"{path} has schema {schema!r}, but this version of prh-jax reads {SCHEMA!r}.")
    try:
        return FeatureStore(path, group)
    except KeyError as error:
        raise StoreError(f"{path} is corrupt: its attributes lack {error}. Extract it again.") from error


class FeatureWriter:
    """Writes the blocks of one store; made by `open_writer`."""

    def __init__(self, store: FeatureStore):
        self._store, self.path, self.complete = store, store.path, store.complete
        self.blocks = blocks_of(store.n)
        self._group = zarr.open_group(self.path, mode="r+", zarr_format=3)

    def pending(self) -> list[int]:
        """Blocks not yet done."""
        return [int(b) for b in np.flatnonzero(~self._store.done())]

    def write_block(self, block: int, features: Sequence[np.ndarray], **sample_values: np.ndarray) -> None:
        """Write one block, an array (rows, d) per layer; its done mark comes last.

        NaN, infinity (also by overflow in a 2-byte dtype) and wrong shapes are refused before anything is written.
        """
        store, rows = self._store, self.blocks[block]
        size = rows.stop - rows.start
        shapes = [np.shape(f) for f in features]
        wanted = [(size, layer.dim) for layer in store.layers]
        if shapes != wanted:
            raise StoreError(f"Block {block} of {self.path} needs arrays of shapes {wanted}, not {shapes}.")
        with np.errstate(over="ignore"):
            stored = [np.asarray(f).astype(store.dtype) for f in features]
        for layer, values in zip(store.layers, stored, strict=True):
            bad = ~np.isfinite(values).all(axis=1)
            if bad.any():
                names = [store.ids[rows.start + int(i)] for i in np.flatnonzero(bad)[:5]]
                raise StoreError(
                    f"Layer {layer.name!r} of {store.model} gave NaN or infinite features (as {store.dtype}) for "
                    f"{int(bad.sum())} samples, such as {', '.join(map(repr, names))}. Try --dtype float32, or leave "
                    "those samples out. Blocks done before are kept."
                )
        try:
            for (array, index), values in zip(store._where, stored, strict=True):
                self._group[array][index, rows] = values  # type: ignore[index]
            for name, values in sample_values.items():
                self._group[name][rows] = np.asarray(values)  # type: ignore[index]
            self._group["done"][block] = 1  # type: ignore[index]
        except OSError as error:
            raise write_error(error, self.path) from error

    def sample_array(self, name: str) -> np.ndarray:
        """One number per sample, as written so far."""
        return self._store.sample_array(name)

    def finish(self, result: Mapping[str, Any] | None = None, env: Mapping[str, Any] | None = None) -> None:
        """Mark the store complete; StoreError while blocks are pending."""
        pending = self.pending()
        if pending:
            raise StoreError(f"{self.path} cannot be finished: blocks {pending[:10]} are not done.")
        try:
            for leftover in self.path.rglob("*.partial"):  # of writes that were killed
                leftover.unlink(missing_ok=True)
            attrs = {"result": dict(result or {}), "env": dict(env or {}), "status": "complete"}
            self._group.attrs.update(attrs)
        except OSError as error:
            raise write_error(error, self.path) from error
        self.complete = True


def write_features(
    path: str | Path,
    features: Sequence[np.ndarray],
    *,
    spec: Mapping[str, Any],
    ids: Sequence[str],
    layer_names: Sequence[str] | None = None,
    dtype: str = "float32",
    result: Mapping[str, Any] | None = None,
    env: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> FeatureStore:
    """Write features made elsewhere, one (n, d) array per layer, as a complete store."""
    features = [np.asarray(f) for f in features]
    for i, f in enumerate(features):
        if f.ndim != 2 or len(f) != len(ids):
            raise StoreError(f"Layer {i} has shape {f.shape}, but {len(ids)} ids were given; it must be (n, d).")
    names = layer_names or [f"layer_{i}" for i in range(len(features))]
    layers = [Layer(name, f.shape[1]) for name, f in zip(names, features, strict=True)]
    writer = open_writer(path, spec=spec, ids=ids, layers=layers, dtype=dtype, overwrite=overwrite)
    for block in writer.pending():
        writer.write_block(block, [f[writer.blocks[block]] for f in features])
    if not writer.complete:
        writer.finish(result, env)
    return open_store(path)


@dataclass(frozen=True)
class StoreReport:
    """What `inspect_store` found: sizes, whether all blocks are done, and every problem met while reading all of it."""

    store: FeatureStore
    blocks_done: int
    blocks: int
    problems: tuple[str, ...]
    bytes_on_disk: int

    @property
    def intact(self) -> bool:
        """Everything marked done reads back with a good checksum and no NaN."""
        return not self.problems


def inspect_store(path: str | Path) -> StoreReport:
    """Read a whole store and report what it holds, whether it is complete and whether it is intact."""
    store = open_store(path)
    done, problems = store.done(), []
    if sha256_json(store.ids) != store.ids_sha256:
        problems.append("the sample ids do not match their recorded hash")
    if _spec_sha256(store.spec, store.layers) != store.spec_sha256:
        problems.append("the spec does not match its recorded hash")
    if store.complete and not done.all():
        problems.append("it is marked complete, but blocks are not done")
    for block in np.flatnonzero(done):
        try:
            store.read_block(int(block))
        except StoreError as error:
            problems.append(str(error))
    size = sum(os.path.getsize(os.path.join(d, f)) for d, _, files in os.walk(path) for f in files)
    return StoreReport(store, int(done.sum()), len(done), tuple(problems), size)
