"""Some of the samples of a layer, in arrays of the size of all: those that count, under `jit`."""

from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Int


def fill_in(x: Any, where: Bool[Array, " n"]) -> Any:
    """The features with a row that counts in place of each that does not, whose values reach nothing.

    Such a layer has the range, the scale and the rank of the rows that count. Zeros where no row counts.
    """
    row = jnp.where(jnp.any(where), lax.stop_gradient(x)[jnp.argmax(where)], 0)
    return jnp.where(where[:, None], x, row[None, :])


def at_least(where: Bool[Array, " n"], least: int) -> Int[Array, ""]:
    """How many samples count, or `least` where they are fewer: so that nothing is divided by zero on the way to NaN."""
    return jnp.maximum(jnp.sum(where, dtype=jnp.int32), least)
