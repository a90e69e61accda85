"""Arrays of real numbers from whatever a user gives."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import not_real


def as_real(who: str, x: Any) -> Any:
    """The features as a JAX array of real numbers: floats, integers or booleans. It costs nothing under `jit`.

    Parameters
    ----------
    who
        What the features are for, such as the name of a metric: the error says it.
    x
        Array, tracer, or nested lists.

    Raises
    ------
    TypeError
        If they are complex numbers, masked values, records, texts or objects.
    """

    def refused(reason: str) -> TypeError:
        return TypeError(f"{who} compares real numbers, and was given {reason}.")

    reason = not_real(x)
    if reason:
        raise refused(reason)
    try:
        array = jnp.asarray(_in_range(x))
    except jax.errors.JAXTypeError:  # of a tracer, and it says what to do
        raise
    except (TypeError, ValueError) as error:
        line = next(iter(str(error).splitlines()), "")
        raise refused(f"what is no array of them ({line}): convert it, np.asarray(x, np.float32)") from error
    reason = not_real(array)
    if reason is None and not any(jnp.issubdtype(array.dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_)):
        reason = f"values of type {array.dtype}: give an array of floats"
    if reason:
        raise refused(reason)
    return array


def _in_range(x: Any) -> Any:
    """Numbers of types that JAX has not, or cuts to their lower bits, as the nearest floats; anything else as it is."""
    if isinstance(x, list | tuple) and not any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(x)):
        x = np.asarray(x)
    if not isinstance(x, np.ndarray | np.generic):
        return x
    if x.dtype.kind in "iu" and x.dtype.itemsize >= 4 and x.dtype != np.int32:
        return x.astype(jnp.result_type(float))
    if x.dtype.kind == "f" and x.dtype.itemsize > 8:
        return x.astype(np.float64)
    return x.astype(x.dtype.newbyteorder("="), copy=False)
