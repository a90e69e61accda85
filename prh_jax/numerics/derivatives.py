"""Arrays of which no derivative may be asked."""

from functools import partial
from typing import Any

import jax
from jax.custom_derivatives import SymbolicZero


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def without_derivative(x: Any, reason: str) -> Any:
    """The array itself. TypeError with the reason, once a derivative by it is asked for; not under `stop_gradient`."""
    return x


def _refuse(reason, primals, tangents):
    (x,), (tangent,) = primals, tangents
    if not isinstance(tangent, SymbolicZero):
        raise TypeError(reason)
    return x, tangent


without_derivative.defjvp(_refuse, symbolic_zeros=True)
