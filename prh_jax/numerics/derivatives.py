"""Arrays of which no derivative may be asked, or no second one."""

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


def first_only(x: Any) -> Any:
    """Return the array itself, for the rule of a derivative that has no derivative in turn."""
    return without_derivative(x, FIRST_ONLY)


FIRST_ONLY = (
    "The derivative of this metric is written out, and has no derivative in turn: jax.hessian and jax.grad of jax.grad "
    "would be wrong. Take differences of the gradient, or a metric with second derivatives: cka, unbiased_cka, rsa by "
    "pearson, normalized_bures."
)
