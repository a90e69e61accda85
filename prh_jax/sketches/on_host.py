"""Quantities of layers that numpy computes on the host, for plain calls of metrics that then compile nothing.

These functions return None for layers that need the care of a sketch: features that are not finite, out of the range of
float32, constant, or small relative to a common offset.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..numerics.exact_neighbors import lengths_of

LEAST, MOST = 1e-12, 1e12
"""Limits between which no sum of squares leaves the range of float32."""

BLOCK = 192
"""Features whose products are made at a time."""


class CenteredColumns(NamedTuple):
    """Features minus their means, the means, and the sum of squares of the centred features."""

    columns: Float[np.ndarray, "n d"]
    mean: Float[np.ndarray, " d"]
    square: float

    def lengths(self) -> Float[np.ndarray, " d"] | None:
        """Euclidean norms of the columns; None if one is constant or varies by less than a thousandth of its mean."""
        lengths = np.sqrt(np.einsum("ij,ij->j", self.columns, self.columns))
        least = np.maximum(LEAST, 1e-3 * len(self.columns) ** 0.5 * np.abs(self.mean))
        return lengths if (lengths > least).all() else None


def mean_on_host(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " d"] | None:
    """The mean row of a layer; None if rounding or the range of float32 may matter."""
    with np.errstate(all="ignore"):
        mean = _mean(x)
        largest = np.abs(mean).max()
        varies = np.abs(x[0] - mean).max() > 1e-3 * largest
    return mean if varies and LEAST < largest < MOST else None


def centered_on_host(x: Float[np.ndarray, "n d"]) -> CenteredColumns | None:
    """The layer with columns of mean zero; None if the means are so large that their rounding matters."""
    with np.errstate(all="ignore"):
        mean = _mean(x)
        columns = x - mean.astype(x.dtype)
        square = squared_norm_on_host(columns)
        steady = LEAST < square < MOST and square > 1e-4 * len(x) * float(mean @ mean)
    return CenteredColumns(columns, mean, square) if steady else None


def correlations_on_host(x: Float[np.ndarray, "n p"], y: Float[np.ndarray, "n q"]) -> Float[np.ndarray, "p q"] | None:
    """Pearson correlations of all features of two layers; None if a feature is constant or nearly constant."""
    a, b = centered_on_host(x), centered_on_host(y)
    if a is None or b is None:
        return None
    p, q = a.lengths(), b.lengths()
    if p is None or q is None:
        return None
    return a.columns.T @ b.columns / p[:, None] / q[None, :]


def distances_on_host(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n n"] | None:
    """Euclidean distances of all pairs of samples; None if two are so near, or one so far, that rounding matters."""
    centered = centered_on_host(x)
    if centered is None:
        return None
    products = centered.columns @ centered.columns.T
    squares = products.diagonal().copy()
    if squares.max() > 100 * squares.mean():
        return None
    products *= -2
    products += squares
    products += squares[:, None]
    np.fill_diagonal(products, np.inf)
    if products.min() < 1e-2 * squares.max():
        return None
    np.fill_diagonal(products, 0)
    return np.sqrt(products, out=products)


def squared_norm_on_host(matrix: Float[np.ndarray, "n d"]) -> float:
    """Sum of the squared entries of a matrix: of each row in its precision, of rows in float64."""
    return float(np.vecdot(matrix, matrix).sum(dtype=np.float64))


def squared_norm_of_gram(columns: Float[np.ndarray, "n d"]) -> float:
    """Sum of the squared entries of `columns' columns`, a block of rows at a time: half of it is not made."""
    total = 0.0
    for start in range(0, columns.shape[1], BLOCK):
        block, rest = columns[:, start : start + BLOCK], columns[:, start + BLOCK :]
        total += squared_norm_on_host(block.T @ block) + 2 * squared_norm_on_host(block.T @ rest)
    return total


def cosine_of_rows(x: Float[np.ndarray, "n d"], mean: Float[np.ndarray, " d"]) -> float | None:
    """The mean cosine of the rows with the mean row; None if a row is zero, or so long that rounding matters."""
    lengths, length = lengths_of(x), float(np.linalg.norm(mean))
    if lengths.min() <= LEAST or not lengths.max() < min(MOST, 1e3 * length):
        return None
    return float((x @ (mean / length).astype(x.dtype) / lengths).mean())


def _mean(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " d"]:
    """The mean row, from sums of 32 rows in the layer's precision, which are added in float64."""
    n, d = x.shape
    whole = n - n % 32
    sums = np.add.reduce(np.add.reduce(x[:whole].reshape(-1, 32, d), axis=1), axis=0, dtype=np.float64)
    if whole < n:
        sums += np.add.reduce(x[whole:], axis=0, dtype=np.float64)
    return sums / n
