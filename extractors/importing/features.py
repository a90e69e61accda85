"""From a file of features to a store."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prh_jax.stores.checks import check_ids
from prh_jax.stores.layout import common_dtype
from prh_jax.stores.reader import FeatureStore
from prh_jax.stores.target import check_target
from prh_jax.stores.writer import write_features

from ..errors import ExtractionError
from . import hdf5, matlab, numpy_files, safetensors_files, tables, torch_files
from .axes import LAYERS_FIRST, layers_of
from .found import Found
from .sources import FILES, is_hub_name, local_copy, sha256_of

READERS: dict[str, Callable[[Path, Sequence[str] | None], Found]] = {
    ".pt": torch_files.read_torch,
    ".pth": torch_files.read_torch,
    ".safetensors": safetensors_files.read_safetensors,
    ".npy": numpy_files.read_npy,
    ".npz": numpy_files.read_npz,
    ".h5": hdf5.read_hdf5,
    ".hdf5": hdf5.read_hdf5,
    ".h5ad": hdf5.read_h5ad,
    ".mat": matlab.read_mat,
}
"""Readers of files by their ending; parquet has a column of ids as well."""


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
    keys: Sequence[str] | str | None = None,
    split: str = "train",
    overwrite: bool = False,
) -> FeatureStore:
    """Write the features of a file to a feature store. No code in the file is run.

    Layers have the names of their arrays, in natural order (layer_2 before layer_10) if the file has no order. An array
    `ids` in a file has the ids. These files are read:

    - .pt, .pth: a tensor of all layers, a list of (n, d), or a dictionary of layers by name. The reference's dictionary
      has `feats` (n, layers, d), and num_params, loss and bpb.
    - .safetensors: a tensor (n, d) for each layer.
    - .npy: one layer (n, d), or all layers.
    - .npz: an array (n, d) for each layer, or one of all layers.
    - .h5, .hdf5: a data set (n, d) for each layer, also in groups, or one of all layers.
    - .mat, any version of MATLAB: a variable (n, d) for each layer, or one of all layers.
    - .h5ad: an embedding of `obsm`, with the names of the observations as ids.
    - .parquet, or a folder of such files: a column of lists for each layer, in order, and ids in `id_column`.
    - a folder that `datasets` saved, or `owner/name` on the hub: columns of lists.

    Parameters
    ----------
    source
        Path of a file or folder, URL of a file, or name of a data set on the hub.
    output
        Path of the store.
    model, pool, modality
        Origin of the features for the record, in your own words.
    ids
        An id for each row, if the file has none; "rows" for row numbers.
    id_column
        The column of ids of a table.
    dataset
        Identity of the data, as `prh extract` records it.
    axes
        Order of the axes of an array of all layers: "samples,layers,features" or "layers,samples,features". If None,
        samples come first in the `feats` of a dictionary. In other arrays the axis as long as the list of ids has the
        samples.
    keys
        The arrays to read, by name or pattern (`block_*`), in that order; all of them if None.
    split
        Split of a data set on the hub.
    overwrite
        Replace a store that exists.

    Returns
    -------
    FeatureStore
        The store, opened.

    Raises
    ------
    ExtractionError
        If there are no ids (features without ids cannot be paired), the axis of the samples is ambiguous, or the file
        holds something else.
    MissingExtraError
        If the library that reads the file is not installed.
    """
    check_target(Path(output))
    if not modality.strip():
        raise ExtractionError("The modality is a word of yours, such as vision, language, audio or brain, not empty.")
    keys = [keys] if isinstance(keys, str) else keys
    with _opened(source, keys, id_column if ids is None else None, split) as (path, found, origin):
        given = found.ids if ids is None or isinstance(ids, str) else list(ids)
        layers, used = layers_of(path, found, None if isinstance(ids, str) else given, axes)
        chosen = _chosen_ids(path, layers, [str(i) for i in range(_rows(layers))] if isinstance(ids, str) else given)
    origin |= {"axes": used} if used == LAYERS_FIRST else {}
    origin |= {} if keys is None else {"keys": list(keys)}
    dtype = common_dtype(layers.values())
    spec = {
        "modality": modality,
        "model": model,
        "pool": pool,
        "dataset": dataset,
        "imported": origin,
        "dtype_store": dtype,
    }
    return write_features(output, layers, spec=spec, ids=chosen, dtype=dtype, result=found.result, overwrite=overwrite)


def _rows(layers: dict[str, Any]) -> int:
    return len(next(iter(layers.values())))


def _chosen_ids(source: Path, layers: dict[str, Any], ids: Sequence[Any] | None) -> list[str]:
    """The ids, if there is one for each row; ExtractionError where not."""
    n = _rows(layers)
    if ids is None:
        raise ExtractionError(
            f"{source} has {n} rows without ids. Name them, as only equal ids are paired: --ids FILE with one a line, "
            "--dataset with the data they were made from, or --ids rows for row numbers (as data without ids have)."
        )
    if len(ids) != n:
        hint = f" If its layers come first, say --layout {LAYERS_FIRST} (axes=)." if len(ids) == len(layers) else ""
        raise ExtractionError(f"{source} has {n} rows, but {len(ids)} ids were given.{hint}")
    return check_ids(ids)


@contextmanager
def _opened(
    source: str | Path, keys: Sequence[str] | None, id_column: str | None, split: str
) -> Iterator[tuple[Path, Found, dict[str, Any]]]:
    """Name, contents and identity of a source."""
    if is_hub_name(source):
        yield (
            Path(source),
            tables.read_hub(str(source), split, keys, id_column),
            {"data_set": str(source), "split": split},
        )
        return
    with local_copy(source) as path:
        yield path, _read(path, keys, id_column), {"file": path.name, "sha256": sha256_of(path)}


def _read(path: Path, keys: Sequence[str] | None, id_column: str | None) -> Found:
    """Contents of a file or folder, from its reader."""
    kind = path.suffix.lower()
    if path.is_dir() and ((path / "state.json").is_file() or (path / "dataset_dict.json").is_file()):
        return tables.read_saved(path, keys, id_column)
    if path.is_dir() or kind == ".parquet":
        return tables.read_parquet(path, keys, id_column)
    if kind not in READERS:
        raise ExtractionError(
            f"{path} ends in {path.suffix!r}; what can be read is {', '.join(FILES)}, a folder of parquet "
            "files, and a data set. Give arrays of other files to `prh_jax.align` or `prh_jax.write_features`."
        )
    return READERS[kind](path, keys)
