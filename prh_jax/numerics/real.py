"""JAX arrays of real numbers from whatever a user gives."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from ..arrays import NotRealError, real_numbers


def as_real(who: str, x: Any) -> Any:
    """The features as a JAX array of real numbers: floats, integers or booleans. It costs nothing under `jit`.

    Parameters
    ----------
    who
        What the features are for, such as the name of a metric: the error says it.
    x
        Whatever `arrays.real_numbers` takes.

    Raises
    ------
    TypeError
        If it holds something else than real numbers.
    """
    try:
        array = real_numbers(x)
    except NotRealError as error:
        raise TypeError(f"{who} compares real numbers, and was given {error}.") from error
    array = jnp.asarray(_in_range(array) if isinstance(array, np.ndarray) else array)
    if not any(jnp.issubdtype(array.dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_)):
        raise TypeError(
            f"{who} compares real numbers, and was given values of type {array.dtype}: give an array of floats."
        )
    return array


def _in_range(x: np.ndarray) -> np.ndarray:
    """Numbers of types that JAX has not, or cuts to their lower bits, as the nearest floats; anything else as it is."""
    if x.dtype.kind in "iu" and x.dtype.itemsize >= 4 and x.dtype != np.int32:
        return x.astype(jnp.result_type(float))
    if x.dtype.kind == "f" and x.dtype.itemsize > 8:
        return x.astype(np.float64)
    return x
