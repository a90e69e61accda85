"""Candidates for neighbour lists that numpy finds on the host, for plain calls that then compile nothing."""

import numpy as np
from jaxtyping import Float, Int, Num

from ..numerics.exact_neighbors import U
from .base import Candidates
from .on_host import LEAST, MOST

UNIT_ROUNDOFF = U * 2**29
"""That of float32."""


def candidates_by_cosine(x: Float[np.ndarray, "n d"], most: int) -> Candidates | None:
    """The samples of largest cosine with each, and the margins of `nearest`; None for a layer that a sketch must judge.

    Rows of length one are ranked by how far apart they are from the mean row on, as `InnerProducts` does.
    """
    with np.errstate(all="ignore"):
        lengths = np.sqrt(np.vecdot(x, x))
        if not (lengths.min() > LEAST and lengths.max() < MOST):
            return None
        shifted = x / lengths[:, None]
        center = shifted.mean(axis=0)
        shifted -= center
        squares = np.vecdot(shifted, shifted)
    lengths = np.sqrt(squares)
    longest = lengths.max()
    if not longest > 1e-3:  # rows that are much alike, or equal
        return None
    similar = shifted @ shifted.T
    similar += ((1 - np.vdot(center, center)) - squares) / 2
    np.fill_diagonal(similar, -np.inf)
    places = largest_places(similar, most)
    values = np.take_along_axis(similar, places, axis=1)
    first = np.argsort(-values, axis=1, kind="stable")
    places, values = (np.take_along_axis(z, first, axis=1) for z in (places, values))
    products = (2 * x.shape[1] ** 0.5 + 2) * UNIT_ROUNDOFF
    errors = products * longest * (lengths + longest / 2) + 2 * UNIT_ROUNDOFF * (lengths + 2 * longest)
    return Candidates(places, values, 2 * errors)  # type: ignore[arg-type]  # of numpy


def largest_places(values: Num[np.ndarray, "n m"], most: int) -> Int[np.ndarray, "n most"]:
    """The columns of the largest entries of each row, in no order; of equal ones any."""
    n, columns = values.shape
    least = np.partition(values, -most, axis=1)[:, -most]
    found = np.flatnonzero(values >= least[:, None])
    if len(found) == n * most:
        return (found % columns).astype(np.int32).reshape(n, most)
    return np.argpartition(values, -most, axis=1)[:, -most:].astype(np.int32)
