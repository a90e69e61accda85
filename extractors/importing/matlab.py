"""MATLAB's .mat: version 7 and older by scipy, version 7.3 by h5py, where MATLAB's arrays lie transposed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ExtractionError
from . import hdf5
from .found import IDS, Found, choose, ids_of, library, natural, not_numbers, unreadable

_CELLS = "a cell array: save each layer as a variable of its own, or all of them as one array"


def read_mat(source: Path, keys: Sequence[str] | None) -> Found:
    """The variables of a file, in natural order; `ids` is a cell array of texts, or a vector of numbers."""
    from scipy.io import loadmat, whosmat

    try:
        there = [name for name, _, _ in whosmat(source, appendmat=False)]
        names = choose(source, natural(name for name in there if name != IDS), keys)
        wanted = [*names, *([IDS] if IDS in there else [])]
        content = loadmat(source, appendmat=False, variable_names=wanted) if wanted else {}
    except ExtractionError:
        raise
    except NotImplementedError:  # version 7.3
        return _read_newer(source, keys)
    except Exception as error:  # scipy raises many kinds for a file that is damaged, or none of MATLAB's
        raise unreadable(source, "a MATLAB file", error) from error
    arrays = {name: _values(source, name, content[name]) for name in names}
    ids = content.get(IDS)
    return Found(arrays, None if ids is None else _ids(source, [_text(value) for value in np.ravel(ids).tolist()]))


def _values(source: Path, name: str, value: Any) -> np.ndarray:
    if hasattr(value, "todense"):
        raise ExtractionError(not_numbers(source, name, "a sparse matrix: make it full(...)"))
    if value.dtype.kind in "OV":
        raise ExtractionError(not_numbers(source, name, "a struct" if value.dtype.names else _CELLS))
    return value


def _text(value: Any) -> Any:
    return value.item() if isinstance(value, np.ndarray) and value.size == 1 else value


def _ids(source: Path, values: list[Any]) -> list[Any]:
    """Ids as MATLAB has them: its whole numbers are floats."""
    whole = [int(v) if isinstance(v, float) and v.is_integer() else v for v in values]
    if not all(isinstance(value, str | int) for value in whole):
        raise ExtractionError(f"{source} has {IDS!r} that are neither texts nor whole numbers. Give ids with --ids.")
    return ids_of(source, whole)


def _read_newer(source: Path, keys: Sequence[str] | None) -> Found:
    h5py = library("h5py", source)
    try:
        with h5py.File(source, "r") as file:
            there = [name for name in file if not name.startswith("#")]
            names = choose(source, natural(name for name in there if name != IDS), keys)
            arrays = {name: _newer_values(h5py, source, name, file) for name in names}
            ids = _newer_ids(h5py, source, file) if IDS in there else None
    except ExtractionError:
        raise
    except hdf5.ERRORS as error:
        raise unreadable(source, "a MATLAB file of version 7.3", error) from error
    return Found(arrays, ids)


def _newer_values(h5py: Any, source: Path, name: str, file: Any) -> np.ndarray:
    data = hdf5.member(h5py, file, name)
    if isinstance(data, h5py.Group):
        kind = "a sparse matrix: make it full(...)" if "MATLAB_sparse" in data.attrs else "a struct"
        raise ExtractionError(not_numbers(source, name, kind))
    hdf5.check_inside(source, name, data)
    kind = _class(data)
    if kind in ("char", "cell") or data.attrs.get("MATLAB_empty"):
        what = "text" if kind == "char" else _CELLS if kind == "cell" else "no values, as it is empty"
        raise ExtractionError(not_numbers(source, name, what))
    return hdf5.values(h5py, source, name, data).T


def _newer_ids(h5py: Any, source: Path, file: Any) -> list[Any]:
    data = hdf5.member(h5py, file, IDS)
    if not isinstance(data, h5py.Group):
        hdf5.check_inside(source, IDS, data)
    kind = _class(data)
    if kind == "cell":
        parts = [file[reference] for reference in np.ravel(data[()].T)]
        if not all(isinstance(part, h5py.Dataset) and _class(part) == "char" for part in parts):
            raise ExtractionError(f"{source} has {IDS!r} that are not all texts. Give ids with --ids.")
        return _ids(source, ["".join(map(chr, np.ravel(hdf5.values(h5py, source, IDS, p).T))) for p in parts])
    if not isinstance(data, h5py.Dataset) or kind == "char":
        raise ExtractionError(f"{source} has {IDS!r} that are neither texts nor whole numbers. Give ids with --ids.")
    return _ids(source, np.ravel(hdf5.values(h5py, source, IDS, data)).tolist())


def _class(data: Any) -> str:
    """MATLAB's name for the kind of a variable: double, char, cell ..."""
    found = data.attrs.get("MATLAB_class", b"")
    return found.decode() if isinstance(found, bytes) else str(found)
