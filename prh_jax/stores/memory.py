"""Features in memory as a store: what `align` takes from people who hold arrays."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import NotRealError, real_numbers
from ..errors import StoreError
from .checks import check_ids
from .layout import DTYPES, Layer, common_dtype, sha256_json, spec_sha256
from .shown import store_html, store_text
from .source import GivenLayers, ModelSource, finite_rows
from .url import Url


class MemoryStore(GivenLayers):
    """The layers of a model in memory, as a ModelSource.

    Layers are float32, or floats of 16 bits where all of them are; nothing is copied that has its type already.

    Parameters
    ----------
    name
        Name of the model.
    layers
        A list of arrays (n, d), a mapping of names to such, one array (n, d), or one (layers, n, d). Arrays are
        whatever `arrays.real_numbers` takes.
    ids
        One for each sample; row numbers where it is None.

    Raises
    ------
    StoreError
        If a layer is no array of real numbers, has another number of samples, or has a value that is not finite.
    """

    def __init__(self, name: str, layers: Any, ids: Iterable[Any] | None = None):
        named = _named(name, layers)
        n = len(next(iter(named.values())))
        self.by_position = ids is None
        chosen = [str(row) for row in range(n)] if ids is None else check_ids(ids)
        dtype = DTYPES[common_dtype(named.values())]
        self.features = [_as_stored(name, layer, values, chosen, dtype) for layer, values in named.items()]
        self.layers = [Layer(layer, values.shape[1]) for layer, values in named.items()]
        self.ids = chosen
        self.ids_sha256 = sha256_json(chosen)
        self.dtype = dtype
        self.spec: dict[str, Any] = {"model": name}
        self.spec_sha256 = spec_sha256(self.spec, self.layers)
        self.result: dict[str, Any] = {}
        self.model = name
        self._checksum = self._hash()
        self.path: Path | Url = Path(f"{name} in memory ({self._checksum[:8]})")  # two models of one name are two

    @property
    def nbytes(self) -> int:
        """Bytes of all features."""
        return sum(layer.nbytes for layer in self.features)

    def __repr__(self) -> str:
        return store_text(self)

    def _repr_html_(self) -> str:
        return store_html(self)

    def checksum(self) -> str:
        """Names the contents: features and samples."""
        return self._checksum

    def _hash(self) -> str:
        digest = hashlib.sha256(f"{self.ids_sha256} {self.spec_sha256}".encode())
        for layer in self.features:
            digest.update(f"{layer.dtype} {layer.shape}".encode())
            digest.update(np.ascontiguousarray(layer).view(np.uint8).data)
        return digest.hexdigest()


def memory_stores(models: Mapping[Any, Any], ids: Iterable[Any] | None = None) -> list[ModelSource]:
    """A store for each model of a mapping from names to layers."""
    made: list[ModelSource] = [MemoryStore(str(name), layers, ids) for name, layers in models.items()]
    return made


def _named(model: str, layers: Any) -> dict[str, np.ndarray]:
    """Layers (n, d) by name."""
    if isinstance(layers, Mapping | list | tuple) and not layers:
        raise StoreError(f"Model {model!r} has no layers.")
    if isinstance(layers, Mapping):
        return {str(name): _array(f"Layer {name!r} of {model!r}", value) for name, value in layers.items()}
    if isinstance(layers, list | tuple) and all(np.ndim(layer) == 2 for layer in layers):
        return {f"layer_{i}": _array(f"Layer {i} of {model!r}", layer) for i, layer in enumerate(layers)}
    whole = _array(f"Model {model!r}", layers, dims=(2, 3))
    return {f"layer_{i}": layer for i, layer in enumerate(whole if whole.ndim == 3 else [whole])}


def _array(what: str, value: Any, dims: tuple[int, ...] = (2,)) -> np.ndarray:
    try:
        array = np.asarray(real_numbers(value))
    except NotRealError as error:
        raise StoreError(f"{what} was given {error}. Features are real numbers, (n, d) for each layer.") from error
    if array.ndim not in dims or 0 in array.shape:
        forms = "(n, d)" if dims == (2,) else "(n, d) for one layer, or (layers, n, d) for several"
        raise StoreError(f"{what} has shape {array.shape}; it must be {forms}.")
    return array


def _as_stored(model: str, layer: str, values: np.ndarray, ids: Sequence[str], dtype: np.dtype) -> np.ndarray:
    """The values in the type that they are kept in, checked."""
    if len(values) != len(ids):
        hint = " Its axes seem to be (n, layers, d)." if values.shape[1:2] == (len(ids),) else ""
        raise StoreError(
            f"Layer {layer!r} of {model!r} has {len(values)} rows, and there are {len(ids)} samples: the ids, or the "
            f"rows of the first layer.{hint}"
        )
    with np.errstate(over="ignore"):
        kept = values.astype(dtype, copy=False)
    wrong = ~finite_rows(kept)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise StoreError(
            f"Layer {layer!r} of {model!r} has NaN or infinite features (as {dtype}) for {int(wrong.sum())} samples, "
            f"the first is row {row} (sample {ids[row]!r}). Leave those samples out, or scale the layer."
        )
    return kept
