"""Feature stores opened for reading, and checked on every read."""

import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from ..arrays import not_real
from ..errors import CorruptError, IncompleteError, MismatchError, NotFoundError, StoreError
from .layout import SAMPLES_PER_BLOCK, SCHEMA, Layer, blocks_of, sha256_json, spec_sha256
from .location import UNREADABLE, Place, is_archive, open_group, place, tails
from .memory import memory_stores
from .shown import store_html, store_text
from .source import ModelSource, finite_rows
from .url import Url

FEW_CHUNKS = 4096
"""Chunks whose checksums are read in a moment."""

NO_CHUNK = b"none"
"""Stands for the checksum of a chunk of a sample array that was never written."""
CODECS = (["bytes", "crc32c"], ["vlen-utf8", "crc32c"])
"""How chunks are written: numbers and texts as they are, then a checksum."""

MANY = 1_000_000
"""Ids whose chunk is looked for before room is made for them."""


def _typed(entry: Any, key: str, kind: type) -> Any:
    """A value of the table of layers; TypeError where it is of another type."""
    value = entry[key]
    if type(value) is not kind:
        raise TypeError(f"the {key} of a layer is {value!r}, not of type {kind.__name__}")
    return value


class FeatureStore:
    """A feature store opened for reading, as `open_store` returns it.

    Attributes are `spec` and `ids` (origin and samples), `layers` (names and widths), `n`, `dtype`, `result` and `env`
    (records of the extraction), and `complete`.

    Parameters
    ----------
    path
        Where the store is.
    group
        Its Zarr group.
    """

    def __init__(self, path: str | Path | Url, group: zarr.Group):
        attrs: dict[str, Any] = dict(group.attrs)
        self.path: Path | Url = Path(path) if isinstance(path, str) else path
        self.group = group
        self.spec: dict[str, Any] = dict(attrs["spec"])
        self.spec_sha256: str = attrs["spec_sha256"]
        self.ids_sha256: str = attrs["ids_sha256"]
        self.result: dict[str, Any] = attrs.get("result", {})
        self.env: dict[str, Any] = attrs.get("env", {})
        self.complete: bool = attrs["status"] == "complete"
        self.contents_sha256: str | None = attrs.get("contents_sha256")
        self._verified = not self.complete or self.contents_sha256 is None
        self._where = [(_typed(entry, "array", str), _typed(entry, "index", int)) for entry in attrs["layers"]]
        self.layers = [Layer(_typed(entry, "name", str), _typed(entry, "dim", int)) for entry in attrs["layers"]]
        self._check_samples()
        self.ids = [str(i) for i in self._read("sample", slice(None))]
        self.dtype: np.dtype = self._array(self._where[0][0]).dtype

    def __repr__(self) -> str:
        return store_text(self)

    def _repr_html_(self) -> str:
        return store_html(self)

    def _check_samples(self) -> None:
        """CorruptError where blocks are not of that number of samples, or their ids cannot be as many.

        Looked at before the ids are read: what is allocated for them is as large as the record of their array says.
        """
        ids, done = self._array("sample"), self._array("done")
        if len(ids.shape) != 1 or ids.chunks != ids.shape or done.shape != (-(-ids.shape[0] // SAMPLES_PER_BLOCK),):
            raise CorruptError(
                f"{self.path} is corrupt: its ids have shape {ids.shape} in chunks of {ids.chunks}, and {done.shape} "
                "blocks are recorded. Extract it again."
            )
        if ids.shape[0] > MANY and tails(self.path, self.group, ["sample/c/0"], size=4) == [None]:
            raise CorruptError(f"{self.path} is corrupt: the ids of {ids.shape[0]} samples are gone. Extract it again.")

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.ids)

    @property
    def model(self) -> str:
        """The model's name as its spec has it, else the store's file name."""
        return str(self.spec.get("model") or self.path.stem)

    def require_complete(self) -> "FeatureStore":
        """Return the store itself, or raise an IncompleteError if blocks are missing."""
        done, blocks = int(self.done().sum()), len(blocks_of(self.n))
        if not self.complete:
            raise IncompleteError(
                f"{self.path} is unfinished: {done} of {blocks} blocks are done. Run the extraction again with the "
                "same settings; it goes on where it stopped."
            )
        for problem in self.problems():
            raise CorruptError(f"{self.path} is corrupt: {problem}. Delete the store and extract it again.")
        return self

    def problems(self) -> list[str]:
        """List contradictions in the store's own records, without reading features."""
        found = []
        if sha256_json(self.ids) != self.ids_sha256:
            found.append("the sample ids do not match their recorded hash")
        if spec_sha256(self.spec, self.layers) != self.spec_sha256:
            found.append("the spec does not match its recorded hash")
        if self.complete and not self.done().all():
            found.append("it is marked complete, but blocks are not done")
        for layer, (name, index) in zip(self.layers, self._where, strict=True):
            shape = self._array(name).shape
            if not (len(shape) == 3 and 0 <= index < shape[0] and shape[1:] == (self.n, layer.dim)):
                found.append(
                    f"layer {layer.name!r} should be row {index} of an array of {self.n} x {layer.dim}, but {name!r} "
                    f"has shape {shape}"
                )
        return found

    def done(self) -> np.ndarray:
        """Return a boolean for each block of samples: whether its features are on disk."""
        return self._read("done", slice(None)).astype(bool)

    def read_layer(self, layer: int, rows: slice = slice(None)) -> np.ndarray:
        """Read features (n, d) of one layer as stored, or some rows of them. Only their chunks are read.

        Raises
        ------
        StoreError
            If a checksum fails, a chunk is missing, or a feature is NaN.
        """
        self._verify_once()
        array, index = self._where[layer]
        return self._check_finite(self._read(array, (index, rows)), layer, rows.start or 0)

    def read_rows(self, rows: slice) -> list[np.ndarray]:
        """Read the features of some samples: an array (rows, d) for each layer."""
        self._verify_once()
        return [
            self._check_finite(self._read(array, (index, rows)), layer, rows.start)
            for layer, (array, index) in enumerate(self._where)
        ]

    def checksum(self) -> str:
        """Return a SHA-256 that names the contents: features, from the checksums of their chunks, and samples.

        Raises
        ------
        CorruptError
            If a chunk cannot be read, or the contents are not those with which the store was finished.
        """
        digest = hashlib.sha256(json.dumps([self.spec_sha256, self.ids_sha256]).encode())
        found = self._checksums()
        for tail in found[: len(self._where) * len(blocks_of(self.n))]:
            digest.update(tail)
        self.verify_contents(found)
        return digest.hexdigest()

    def contents(self, checksums: list[bytes] | None = None) -> str:
        """Return the SHA-256 of the checksums of all chunks at their places, and of how chunks are read.

        This reads the last bytes of every chunk, or nothing if you pass their `checksums`.
        """
        arrays = [*dict.fromkeys(name for name, _ in self._where), *self.sample_array_names]
        read = [
            [name, list(array.shape), list(array.chunks), str(array.dtype)]
            for name, array in ((name, self._array(name)) for name in arrays)
        ]
        table = [[*where, layer.name, layer.dim] for where, layer in zip(self._where, self.layers, strict=True)]
        names = [str(name) for name in self._read("layer", slice(None))]
        header = sha256_json([self.spec_sha256, self.ids_sha256, table, names, read, self.result])
        return hashlib.sha256(b"".join([header.encode(), *(checksums or self._checksums())])).hexdigest()

    def _verify_once(self) -> None:
        """`verify_contents` before the first read, where the store is on a disk and has few chunks."""
        if self._verified or not isinstance(self.path, Path):
            return
        if (len(self._where) + len(self.sample_array_names)) * len(blocks_of(self.n)) <= FEW_CHUNKS:
            self.verify_contents()

    def verify_contents(self, checksums: list[bytes] | None = None) -> None:
        """Raise a CorruptError if the contents have changed since the store was finished; old stores have no record."""
        if self.contents_sha256 is not None and self.contents(checksums) != self.contents_sha256:
            raise CorruptError(
                f"{self.path} is corrupt: its chunks, each of which may be sound, are not those that it was finished "
                "with, or not at their places. Restore it from a copy, or delete it and extract it again."
            )
        self._verified = True

    def read_unverified(self) -> None:
        """Allow reading although the hash of all contents may not match, for reports of each problem."""
        self._verified = True

    def _checksums(self) -> list[bytes]:
        """The last bytes of all chunks: of features in order of layers and samples, then of sample arrays."""
        blocks = range(len(blocks_of(self.n)))
        chunks = [f"{array}/c/{index}/{block}/0" for array, index in self._where for block in blocks]
        optional = [f"{name}/c/{block}" for name in self.sample_array_names for block in blocks]
        try:
            found = tails(self.path, self.group, chunks + optional, size=4)
        except UNREADABLE as error:
            raise CorruptError(f"{self.path} is corrupt: {error}. Extract it again, or fetch it again.") from error
        for name, tail in zip(chunks, found, strict=False):
            if tail is None:
                raise CorruptError(f"{self.path} is corrupt: {name} cannot be read. Extract it again.")
        return [tail or NO_CHUNK for tail in found]

    @property
    def nbytes(self) -> int:
        """Bytes of all features, as stored."""
        return self.n * self.dtype.itemsize * sum(layer.dim for layer in self.layers)

    @property
    def sample_array_names(self) -> list[str]:
        """Names of the arrays with one number per sample."""
        known = {"sample", "layer", "done", *(name for name, _ in self._where)}
        try:
            with warnings.catch_warnings():  # of files that the system put there, such as .DS_Store
                warnings.simplefilter("ignore", UserWarning)
                return sorted(name for name, _ in self.group.arrays() if name not in known)
        except UNREADABLE as error:
            raise CorruptError(
                f"{self.path} is corrupt: it has an unreadable array ({error}). Extract it again."
            ) from error

    def sample_array(self, name: str) -> np.ndarray:
        """Read the numbers (n,) of an array that was stored with the features: one of `sample_array_names`."""
        return self._read(name, slice(None))

    def _array(self, name: str) -> zarr.Array:
        try:
            array = self.group[name]
        except UNREADABLE as error:
            raise CorruptError(
                f"{self.path} is corrupt: it has no readable array {name!r} ({error}). Extract it again."
            ) from error
        if not isinstance(array, zarr.Array):
            raise CorruptError(f"{self.path} is corrupt: {name!r} is not an array. Extract it again.")
        codecs = array.metadata.to_dict()["codecs"]
        if [codec["name"] for codec in codecs] not in CODECS or "big" in str(codecs[0]):  # type: ignore[index]
            raise CorruptError(
                f"{self.path} is corrupt: array {name!r} must be read by {codecs}, and no store is written so. "
                "Extract it again."
            )
        return array

    def _read(self, name: str, selection) -> np.ndarray:
        try:
            return np.asarray(self._array(name)[selection])
        except StoreError:
            raise
        except UNREADABLE as error:
            raise CorruptError(
                f"{self.path} is corrupt: array {name!r} could not be read ({error}). Delete the store and "
                "extract it again."
            ) from error

    def _check_finite(self, features: np.ndarray, layer: int, first_row: int) -> np.ndarray:
        bad = ~finite_rows(features)
        if bad.any():
            row = first_row + int(np.argmax(bad))
            raise CorruptError(
                f"{self.path}, layer {self.layers[layer].name!r}: {int(bad.sum())} samples are missing or not "
                f"finite, the first is row {row} (sample {self.ids[row]!r}). A chunk was lost or the model returned "
                "NaN; extract it again."
            )
        return features


def open_store(path: str | Path | Url, storage_options: Mapping[str, Any] | None = None) -> FeatureStore:
    """Open a feature store for reading.

    Parameters
    ----------
    path
        A folder, an archive that `prh pack` made, or a URL (s3, gs, hf, http ...), which is read through fsspec.
    storage_options
        Options of the file system behind a URL, such as {"anon": True}.

    Returns
    -------
    FeatureStore
        The store. Features are read when you ask for them.

    Raises
    ------
    StoreError
        If there is no store at the path, or one of another schema.
    """
    where = place(path)
    if isinstance(where, Path) and not (where.is_dir() or is_archive(where)):
        raise NotFoundError(f"There is no feature store at {path}. `prh extract` makes one.")
    try:
        group = open_group(where, storage_options)
    except StoreError:
        raise
    except Exception as error:  # zarr and file systems raise many kinds for a broken, foreign or absent store
        raise NotFoundError(f"{path} is not a feature store: {_no_store(where, error)}") from error
    schema = group.attrs.get("schema")
    if str(schema).startswith("prh-jax/alignment"):
        raise MismatchError(f"{path} holds scores, not features: it is a result of `prh align`.")
    if schema != SCHEMA:
        raise MismatchError(f"{path} has schema {schema!r}, but this version of prh-jax reads {SCHEMA!r}.")
    try:
        return FeatureStore(where, group)
    except StoreError:
        raise
    except (AttributeError, *UNREADABLE) as error:
        raise CorruptError(
            f"{path} is corrupt: its attributes cannot be used ({type(error).__name__}: {error}). Extract it again."
        ) from error


def _no_store(where: Place, error: Exception) -> str:
    """Why there is no feature store at a place, and what to give in its stead."""
    if isinstance(where, Path) and (where / ".zgroup").exists():
        return "it is a Zarr group of format 2, and stores are of format 3. Write its arrays with `write_features`."
    inside = sorted(where.glob("*.zarr")) if isinstance(where, Path) else []
    if inside:
        return f"it is a folder with {len(inside)} of them. Give their paths, such as {inside[0]}."
    return f"Zarr cannot open it ({error})."


OneOrMore = str | Path | Url | ModelSource | Mapping[str, Any]
"""A store or its place, or features in memory: models by name, each with its layers (see `MemoryStore`)."""
Stores = Sequence[OneOrMore] | OneOrMore


def open_stores(stores: Stores, ids: Iterable[Any] | None = None) -> list[ModelSource]:
    """Feature stores opened and checked to be complete, and features in memory as such; StoreError names what is not.

    `ids` are those of the samples of features in memory.
    """
    one = isinstance(stores, str | Path | Url | ModelSource | Mapping) or hasattr(stores, "dtype")
    given: Iterable[Any] = [stores] if one else stores  # type: ignore[assignment]
    opened: list[ModelSource] = []
    for item in given:
        if isinstance(item, str | Path | Url):
            opened.append(open_store(item))
        elif isinstance(item, Mapping):
            opened.extend(memory_stores(item, ids))
        elif isinstance(item, ModelSource):
            opened.append(item)
        else:
            raise StoreError(
                f"A store, its path, or features in memory by the name of their model are scored, not a "
                f"{type(item).__name__}: {{'vit': layers}}, where layers are arrays (n, d)."
            )
    if not opened:
        raise StoreError("No feature stores were given on one side.")
    for store in opened:
        reason = not_real(store)
        if reason:
            raise StoreError(f"{store.path} holds {reason}. Features are real numbers: store such.")
    places = [store.path.resolve() for store in opened]
    for store, where in zip(opened, places, strict=True):
        if places.count(where) > 1:
            raise StoreError(f"{store.path} was given more than once on one side; give each store once.")
    return [store.require_complete() if isinstance(store, FeatureStore) else store for store in opened]
