"""The door for arrays: real numbers from whatever a user gives, or one sentence that says what it is instead.

Every array that a user gives passes here. It imports none of the libraries whose arrays it takes.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import GeneratorType
from typing import Any, NoReturn

import numpy as np


class NotRealError(TypeError):
    """The argument is no array of real numbers; the message says what it is and what to do, after "was given"."""


def real_numbers(x: Any) -> Any:
    """The real numbers of anything that holds such: floats, integers or booleans, each with its value.

    Takes numpy arrays of any layout and byte order, JAX arrays and tracers, and torch tensors on any device. Also
    frames of pandas and polars, tables and arrays of pyarrow, all else that has `__array__` or `__dlpack__`, and nested
    lists of numbers or of arrays. Floats of fewer than 16 bits and integers of fewer than 8 become float32 on the host;
    bfloat16 stays.

    Returns
    -------
    A numpy array of the machine's byte order, or the JAX array as it is: at no cost, and no value is looked at.

    Raises
    ------
    NotRealError
        If it holds complex numbers, hidden or missing values, records, texts, dates or objects, if it is sparse,
        quantised, ragged or without values, or if it is no array at all.
    """
    if _is_jax(x):
        return _checked(x)
    if _is_torch(x):
        return _from_torch(x)
    if isinstance(x, list | tuple):
        return _from_list(x)
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        raise NotRealError(
            "masked values, which would count as others do: fill them (x.filled(0.0)), or leave those samples out"
        )
    columns = _columns(x)
    if columns is not None:
        return _from_columns(columns)
    if hasattr(x, "todense") or hasattr(x, "toarray"):
        raise NotRealError(f"a sparse array ({_kind(x)}): make it dense, x.todense()")
    missing = getattr(x, "null_count", 0)  # of a column of pyarrow, or of polars
    missing = missing() if callable(missing) else missing
    if isinstance(missing, int) and missing:
        raise NotRealError(f"{missing} missing values: fill them, or leave those samples out")
    if not isinstance(x, np.ndarray | np.generic | int | float | complex):
        _check_arrayish(x)
    _checked(x)
    return _from_numpy(_as_numpy(x))


def not_real(x: Any) -> str | None:
    """Contents of an array other than real numbers, and the remedy; None if it holds real numbers.

    Nothing is computed, and no value is looked at.
    """
    dtype = getattr(x, "dtype", None)
    kind = getattr(dtype, "kind", None)
    if kind == "c" or getattr(dtype, "is_complex", False):
        return f"{dtype} numbers: take np.abs(x), or both parts, np.concatenate([x.real, x.imag], axis=1)"
    if kind == "V" and getattr(dtype, "names", None):
        return f"records of {dtype}: stack their fields, np.stack([x[name] for name in x.dtype.names], axis=1)"
    if kind in ("O", "S", "U", "T", "M", "m") or getattr(dtype, "type", None) is np.void:
        return f"values of type {dtype}: convert them, x.astype(np.float32)"
    return None


def _checked(x: Any) -> Any:
    reason = not_real(x)
    if reason:
        raise NotRealError(reason)
    return x


def _is_jax(x: Any) -> bool:
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(x, jax.Array)


def _is_torch(x: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def _kind(x: Any) -> str:
    return f"{type(x).__module__}.{type(x).__qualname__}".removeprefix("builtins.")


def _unreadable(x: Any, error: Exception) -> NoReturn:
    line = next(iter(str(error).splitlines()), "") or type(error).__name__
    raise NotRealError(
        f"what is no array of them ({_kind(x)}; {line}): convert it, np.asarray(x, np.float32)"
    ) from error


def _check_arrayish(x: Any) -> None:
    """NotRealError unless numpy can ask the object for its numbers."""
    if isinstance(x, str | bytes | bytearray | Path):
        raise NotRealError(f"{type(x).__name__} {str(x)[:60]!r}: read the file or parse the text first")
    if isinstance(x, dict):
        raise NotRealError("a dict: choose one of its values, or stack them")
    if isinstance(x, GeneratorType) or hasattr(x, "__next__"):
        raise NotRealError(f"a {type(x).__name__}, which can be read once: make an array of it, np.stack(list(x))")
    if not any(hasattr(x, name) for name in ("__array__", "__array_interface__", "__dlpack__")):
        raise NotRealError(f"what is no array of them ({_kind(x)}): convert it, np.asarray(x, np.float32)")


def _as_numpy(x: Any) -> np.ndarray:
    by_dlpack = hasattr(x, "__dlpack__") and not hasattr(x, "__array__")
    try:
        return np.from_dlpack(x) if by_dlpack else np.asarray(x)
    except Exception as error:  # each library has its own for what it cannot convert
        _unreadable(x, error)


def _from_numpy(array: np.ndarray) -> np.ndarray:
    """Real numbers of a numpy array, of types that arithmetic has, in the machine's byte order."""
    _checked(array)
    dtype = array.dtype
    if dtype.kind in "biuf":
        return array.astype(dtype.newbyteorder("="), copy=False)
    if dtype.name == "bfloat16":
        return array
    try:  # floats and integers of few bits: float32 has them all
        return array.astype(np.float32)
    except (TypeError, ValueError) as error:
        _unreadable(array, error)


def _from_list(x: list[Any] | tuple[Any, ...]) -> Any:
    if all(isinstance(item, int | float | complex | np.generic | str | bytes | None) for item in x):
        return _from_numpy(_as_numpy(x))
    items = [real_numbers(item) for item in x]
    shapes = list(dict.fromkeys(tuple(item.shape) for item in items))
    if len(shapes) > 1:
        raise NotRealError(
            f"what is no array of them (a ragged list, of items of shapes {shapes[0]} and {shapes[1]}): cut or fill "
            "them to one shape"
        )
    try:
        if not any(map(_is_jax, items)):
            return np.stack(items)
        jnp: Any = sys.modules["jax"].numpy
        if len({str(item.dtype) for item in items}) > 1:  # JAX's type for several may hold the values of none
            widest = max(item.dtype.itemsize for item in items)
            items = [item.astype(np.float64 if not _is_jax(item) or widest > 4 else np.float32) for item in items]
        elif not _is_jax(items[0]) and items[0].dtype.kind in "iu":
            items = [item.astype(np.float64) for item in items]
        return jnp.stack(items)
    except TypeError as error:  # float16 next to bfloat16
        _unreadable(x, error)


def _from_torch(x: Any) -> np.ndarray:
    """Values of a torch tensor, on the host: no gradient is kept."""
    torch: Any = sys.modules["torch"]
    if x.dtype.is_complex:
        raise NotRealError(f"{x.dtype} numbers: take x.abs(), or both parts, torch.cat([x.real, x.imag], dim=1)")
    for wrong, words in (
        (x.is_nested, "a nested tensor: pad its rows to one length, x.to_padded_tensor(0.0)"),
        (x.layout != torch.strided, f"a sparse tensor ({x.layout}): make it dense, x.to_dense()"),
        (x.is_quantized, f"a quantised tensor ({x.dtype}): x.dequantize() gives its numbers"),
        (x.is_meta, "a tensor without values (on the device 'meta'): load the model's weights, and run it again"),
    ):
        if wrong:
            raise NotRealError(words)
    try:
        x = x.detach().resolve_conj().resolve_neg().cpu()
        if x.dtype == torch.bfloat16:
            import ml_dtypes

            return x.contiguous().view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
        if x.dtype.is_floating_point and x.dtype.itemsize < 2:
            x = x.to(torch.float32)
        return _from_numpy(x.numpy())
    except (TypeError, ValueError, RuntimeError) as error:  # also of subclasses that hold no values
        line = next(iter(str(error).splitlines()), "")
        raise NotRealError(
            f"a tensor of {x.dtype} whose values cannot be read ({line}): x.to(torch.float32) may give them"
        ) from error


def _columns(x: Any) -> Iterator[tuple[str, Any, bool]] | None:
    """Columns of a frame by name, each with whether values are missing; None for what is no frame."""
    if hasattr(x, "iloc") and hasattr(x, "columns"):  # pandas; NaN of numpy's floats is a value like others
        places = range(x.shape[1])
        made = ((str(x.columns[i]), x.iloc[:, i]) for i in places)
        return ((name, c, not isinstance(c.dtype, np.dtype) and bool(c.isna().any())) for name, c in made)
    if hasattr(x, "get_columns") and hasattr(x, "columns"):  # polars
        return ((c.name, c, c.null_count() > 0) for c in x.get_columns())
    if hasattr(x, "column_names") and hasattr(x, "columns"):  # pyarrow
        return ((str(name), c, c.null_count > 0) for name, c in zip(x.column_names, x.columns, strict=True))
    return None


def _from_columns(columns: Iterator[tuple[str, Any, bool]]) -> np.ndarray:
    found = []
    for name, column, missing in columns:
        if missing:
            raise NotRealError(f"missing values in column {name!r}: fill them, or leave those samples out")
        values = np.asarray(column)
        kind = getattr(column, "dtype", getattr(column, "type", values.dtype))
        if {getattr(kind, "kind", values.dtype.kind), values.dtype.kind} - set("biuf"):  # categories stand for numbers
            raise NotRealError(f"column {name!r} of type {kind}: leave it out, or make it numbers")
        found.append(values)
    if not found:
        raise NotRealError("a frame without columns: give it one for each feature")
    return _from_numpy(np.stack(found, axis=1))
