"""The order of all pairs of samples by float64 arithmetic, made on the host where float32 leaves it in doubt."""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from .exact_neighbors import BLOCK, ExactFeatures, U, lengths_of, parts


@dataclasses.dataclass(frozen=True)
class ExactPairs:
    """Dissimilarities of all pairs of samples, in float64.

    Parameters
    ----------
    features
        The features. Ranked by "distance", the dissimilarity of a pair is half the squared distance; by "product", one
        minus the cosine, and all rows have length one.
    """

    features: ExactFeatures

    def levels(self) -> Int[np.ndarray, "n n"]:
        """The place of each pair's dissimilarity among the distinct ones, from 1 up; zeros on the diagonal.

        Values that float64 cannot distinguish count as equal.
        """
        n = len(self.features.given)
        one, other = np.triu_indices(n, 1)
        keys, errors = self._by_products(one, other)
        order = np.argsort(keys, kind="stable")
        keys, errors = keys[order], errors[order]
        unsure = keys[1:] - keys[:-1] <= errors[1:] + errors[:-1]
        inside = np.flatnonzero(np.append(unsure, False) | np.append(False, unsure))
        level = np.cumsum(np.append(False, ~unsure))
        if len(inside):
            # a run of pairs in doubt stays where it is: its members are put in order among themselves
            run, members = level[inside], order[inside]
            keys, errors = self._by_differences(one[members], other[members])
            again = np.lexsort((keys, run))
            keys, errors, run = keys[again], errors[again], run[again]
            order[inside] = members[again]
            apart, within = ~unsure, run[1:] == run[:-1]
            apart[inside[:-1][within]] = (keys[1:] - keys[:-1] > errors[1:] + errors[:-1])[within]
            level = np.cumsum(np.append(False, apart))
        found = np.zeros((n, n), np.int64)
        found[one[order], other[order]] = level + 1
        return found + found.T

    def _by_products(
        self, one: Int[np.ndarray, " m"], other: Int[np.ndarray, " m"]
    ) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
        """Dissimilarities by products of matrices, and bounds of their errors."""
        rows = self.features.rows(slice(None))
        rows = rows - rows.mean(axis=0, keepdims=True)
        lengths = lengths_of(rows)
        keys = (np.square(lengths[one]) + np.square(lengths[other])) / 2 - (rows @ rows.T)[one, other]
        reach = lengths[one] + lengths[other]
        errors = U * (2 * rows.shape[1] ** 0.5 + 4) * reach**2
        return keys, errors + self._of_rows(one, other) * reach

    def _by_differences(
        self, one: Int[np.ndarray, " m"], other: Int[np.ndarray, " m"]
    ) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
        """The same of rows that are subtracted before they are multiplied: the nearer rows are, the more exact."""
        rows = self.features.rows(slice(None))
        squares = np.empty(len(one))
        for part in parts(len(one), rows.shape[1], BLOCK // 8):
            apart = rows[one[part]] - rows[other[part]]
            squares[part] = np.einsum("ij,ij->i", apart, apart)
        errors = (16 + rows.shape[1] ** 0.5) * U * squares + self._of_rows(one, other) * np.sqrt(squares)
        return squares / 2, errors

    def _of_rows(self, one: Int[np.ndarray, " m"], other: Int[np.ndarray, " m"]) -> Float[np.ndarray, " m"] | float:
        """Error of the rows themselves, which were rounded when they were centred or divided by their lengths."""
        rounded = self.features.rounded_rows()
        return np.maximum(rounded[one], rounded[other])


def average_ranks(levels: Int[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """Ranks of all pairs minus their mean, equal ones their mean rank; zeros on the diagonal."""
    n = len(levels)
    counts = np.bincount(levels.reshape(-1))
    counts[0] -= n
    last = np.cumsum(counts)
    ranks = last - counts / 2 - n * (n - 1) / 2
    found = ranks[levels]
    np.fill_diagonal(found, 0)
    return found
