"""JAX arrays of real numbers from whatever a user gives."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..arrays import NotRealError, real_numbers


def as_real(who: str, x: Any) -> Any:
    """The features as a JAX array of floats of 16 bits or more, or integers. It costs nothing under `jit`.

    Booleans, floats of fewer than 16 bits and integers of fewer than 8 become float32, which has all their values.

    Parameters
    ----------
    who
        Use of the features, such as the name of a metric: the error says it.
    x
        Whatever `arrays.real_numbers` takes.

    Raises
    ------
    TypeError
        If it holds something else than real numbers.
    """
    return jnp.asarray(real_values(who, x))


def real_values(who: str, x: Any) -> Any:
    """The same as an array of numpy, where it is one of numpy, or of JAX, not copied to a device yet."""
    if type(x) is np.ndarray and x.dtype == np.float32:
        return x
    try:
        array = real_numbers(x)
    except NotRealError as error:
        raise TypeError(f"{who} compares real numbers, and was given {error}.") from error
    if isinstance(array, np.ndarray):
        array = _in_range(array)
        with np.errstate(over="ignore"):  # beyond the range of float32 it is an infinity
            array = array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False)
    dtype = array.dtype
    if jnp.issubdtype(dtype, jnp.bool_) or (jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits < 16):
        return array.astype(jnp.float32)
    if jnp.issubdtype(dtype, jnp.integer):
        return array.astype(jnp.float32) if jnp.iinfo(dtype).bits < 8 else array
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"{who} compares real numbers, and was given values of type {dtype}: give an array of floats.")
    return array


def _in_range(x: np.ndarray) -> np.ndarray:
    """Numbers of types that JAX has not, or cuts to their lower bits, as the nearest floats; anything else as it is."""
    if x.dtype.kind in "iu" and x.dtype.itemsize >= 4 and x.dtype != np.int32:
        return x.astype(jnp.result_type(float))
    if x.dtype.kind == "f" and x.dtype.itemsize > 8:
        return x.astype(np.float64)
    return x
