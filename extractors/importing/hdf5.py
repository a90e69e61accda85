"""HDF5: the data sets of a file, and the embeddings of an AnnData file. Links out of the file are refused."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ExtractionError
from .found import IDS, Found, choose, ids_of, library, natural, not_numbers, unreadable

ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError)
"""Errors of h5py for damaged files, or for records that contradict each other."""


def read_hdf5(source: Path, keys: Sequence[str] | None) -> Found:
    """All data sets, those in groups by their paths, in natural order; `ids` are those of the samples."""
    h5py = library("h5py", source)
    try:
        with h5py.File(source, "r") as file:
            there = data_sets(h5py, file)
            names = choose(source, natural(name for name in there if name != IDS), keys)
            arrays = {name: values(h5py, source, name, there[name]) for name in names}
            if any("MATLAB_class" in there[name].attrs for name in names):
                raise ExtractionError(
                    f"{source} was written by MATLAB (version 7.3), whose arrays lie transposed in HDF5: name it .mat."
                )
            ids = texts(source, IDS, there[IDS]) if IDS in there else None
    except ExtractionError:
        raise
    except ERRORS as error:
        raise unreadable(source, "HDF5", error) from error
    return Found(arrays, None if ids is None else ids_of(source, ids))


def read_h5ad(source: Path, keys: Sequence[str] | None) -> Found:
    """The embeddings in `obsm` of an AnnData file: the only one, or those that were asked for."""
    h5py = library("h5py", source)
    try:
        with h5py.File(source, "r") as file:
            group = member(h5py, file, "obsm")
            there = natural(group) if isinstance(group, h5py.Group) else []
            if not there:
                raise ExtractionError(f"{source} holds no embeddings: nothing is in its `obsm`.")
            if keys is None and len(there) > 1:
                raise ExtractionError(
                    f"{source} holds {len(there)} embeddings in `obsm`: {', '.join(there)}. Say which, such as --key "
                    f"{there[0]} (keys=)."
                )
            names = choose(source, there, keys)
            arrays = {}
            for name in names:
                embedding = member(h5py, group, name)
                if isinstance(embedding, h5py.Group):
                    kind = embedding.attrs.get("encoding-type", "group")
                    raise ExtractionError(
                        f"{source} holds {name!r} as a {kind}, and arrays alone are read: make it dense."
                    )
                arrays[name] = values(h5py, source, name, embedding)
            ids = _observations(h5py, source, file)
    except ExtractionError:
        raise
    except ERRORS as error:
        raise unreadable(source, "an AnnData file", error) from error
    return Found(arrays, ids)


def _observations(h5py: Any, source: Path, file: Any) -> list[Any] | None:
    """The names of the observations, which `obs` has as its index; None where it has none."""
    table = member(h5py, file, "obs")
    if not isinstance(table, h5py.Group):
        return None
    index = str(table.attrs.get("_index", "_index"))
    there = data_sets(h5py, table)
    found = there.get(index, there.get(f"{index}/values"))
    return None if found is None else ids_of(source, texts(source, index, found))


def data_sets(h5py: Any, group: Any, above: str = "", seen: frozenset[int] = frozenset()) -> dict[str, Any]:
    """Data sets by path, and None for links that are not followed; a group that holds itself is read once."""
    found: dict[str, Any] = {}
    address = h5py.h5o.get_info(group.id).addr
    if address in seen:
        return found
    for name in group:
        entry = member(h5py, group, name)
        if isinstance(entry, h5py.Group):
            found |= data_sets(h5py, entry, f"{above}{name}/", seen | {address})
        elif entry is None or isinstance(entry, h5py.Dataset):
            found[above + name] = entry
    return found


def member(h5py: Any, group: Any, name: str) -> Any:
    """Member of a group by name; None for nothing, and for a link, which may lead to another file."""
    if name not in group.keys() or not isinstance(group.get(name, getlink=True), h5py.HardLink):  # noqa: SIM118
        return None
    return group[name]


def values(h5py: Any, source: Path, name: str, data: Any) -> np.ndarray:
    """The numbers of a data set that lies in the file; ExtractionError for others, before anything is read."""
    check_inside(source, name, data)
    if data.dtype.kind not in "biuf" or data.shape is None:
        kind = "no values" if data.shape is None else f"values of type {_kind(h5py, data.dtype)}"
        raise ExtractionError(not_numbers(source, name, kind))
    return data[()]


def check_inside(source: Path, name: str, data: Any) -> None:
    """ExtractionError where a data set is a link, or its values lie in other files."""
    if data is None:
        raise ExtractionError(
            f"{source} holds {name!r} as a link, which may lead to another file and is not followed. Choose other "
            "arrays with --key (keys=), or copy what it leads to into the file."
        )
    if data.external or data.is_virtual:
        raise ExtractionError(
            f"{source} holds {name!r} in other files, which are not opened. Copy its values into the file."
        )


def texts(source: Path, name: str, data: Any) -> Any:
    """Ids: texts or numbers of a data set."""
    check_inside(source, name, data)
    if data.dtype.kind not in "OSiu":
        raise ExtractionError(f"{source} has {name!r} that are neither texts nor whole numbers. Give ids with --ids.")
    return data.asstr()[()] if data.dtype.kind in "OS" else data[()]


def _kind(h5py: Any, dtype: np.dtype) -> str:
    if h5py.check_string_dtype(dtype) is not None:
        return "text"
    return "records" if dtype.names else str(dtype)
