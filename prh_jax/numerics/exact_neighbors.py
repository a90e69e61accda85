"""Neighbour lists in the order of float64 arithmetic, made on the host where float32 leaves the order in doubt."""

import dataclasses
from collections.abc import Iterator
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int, Num

Ranking = Literal["product", "distance"]
"""Measure that orders the samples nearest to each: the inner product of rows, or their Euclidean distance."""

IN_CACHE, SUBTRACTED, BLOCK = 2**16, 2**18, 2**22
"""Numbers in float64 that are made at a time: to compare pairs, to subtract whole lists, and to multiply matrices."""

U = 2.0**-53
"""Unit roundoff of float64."""


@dataclasses.dataclass(frozen=True, eq=False)
class ExactFeatures:
    """Features of one layer in float64, a few rows at a time.

    Parameters
    ----------
    given
        Features (n, d) as they were given.
    ranking
        Measure that orders neighbours.
    unit_rows
        Whether rows are divided by their lengths, so that the inner product is the cosine.
    threshold
        Magnitude at which features are clipped; infinite for no clipping.
    groups
        A number for each sample: no sample may be a neighbour of one of its own group. None where all may be.
    with_self
        Whether a sample may be its own neighbour.
    row_centered
        Whether the mean of each row is taken off before it is divided by its length.
    """

    given: Num[np.ndarray, "n d"]
    ranking: Ranking
    unit_rows: bool
    threshold: float = np.inf
    groups: tuple[int, ...] | None = None
    with_self: bool = False
    row_centered: bool = False

    def rows(self, samples: Int[np.ndarray, " m"] | slice) -> Float[np.ndarray, "m d"]:
        """Rows after clipping, of length one if so set; a row of zeros stays zero."""
        x = self.given[samples].astype(np.float64)
        if np.isfinite(self.threshold):
            np.clip(x, -float(self.threshold), float(self.threshold), out=x)
        if self.unit_rows:
            if self.given.dtype == np.float64:  # squares of narrower types are in its range
                _, exponents = np.frexp(np.abs(x).max(axis=1, keepdims=True))
                np.ldexp(x, -exponents, out=x)
            if self.row_centered:
                x = without_mean(x)
            lengths = lengths_of(x)
            x /= np.where(lengths > 0, lengths, 1)[:, None]
        return x

    def rounded_rows(self) -> Float[np.ndarray, " n"]:
        """Bounds of what rounding has moved a row by, in units of its length where rows have length one."""
        if not self.unit_rows:
            return np.zeros(len(self.given))
        if not self.row_centered:
            return np.full(len(self.given), 4 * U)
        x = dataclasses.replace(self, unit_rows=False).rows(slice(None))
        largest, lengths = np.abs(x).max(axis=1), lengths_of(without_mean(x))
        return 4 * U * (1 + x.shape[1] ** 0.5 * largest / np.where(lengths > 0, lengths, 1))

    def barred(self, samples: Int[np.ndarray, " m"]) -> Bool[np.ndarray, "m n"]:
        """Which of all samples may not be neighbours of some."""
        if self.groups is not None:
            codes = np.asarray(self.groups)
            return codes[samples][:, None] == codes[None, :]
        n = len(self.given)
        return np.zeros((len(samples), n), bool) if self.with_self else samples[:, None] == np.arange(n)

    def products(
        self, samples: Int[np.ndarray, " m"], lists: Int[np.ndarray, "m k"], *, centered: bool
    ) -> Float[np.ndarray, "m k"]:
        """Inner products of samples with those in their lists; `centered`: minus their mean over all samples."""
        width = self.given.shape[1]
        point = self._mean() if centered else np.zeros((1, width))
        found = np.empty(lists.shape)
        for part in parts(len(samples), lists.shape[1] * width):
            others = self.rows(lists[part].reshape(-1)) - point
            found[part] = np.einsum("id,ikd->ik", self.rows(samples[part]), others.reshape(*lists[part].shape, width))
        return found

    def distances(self, samples: Int[np.ndarray, " m"], lists: Int[np.ndarray, "m k"]) -> Float[np.ndarray, "m k"]:
        """Euclidean distances of samples from those in their lists; rows are subtracted before they are multiplied."""
        found, width = np.empty(lists.shape), self.given.shape[1]
        for part in parts(len(samples), lists.shape[1] * width, SUBTRACTED):
            others = self.rows(lists[part].reshape(-1)).reshape(*lists[part].shape, width)
            others -= self.rows(samples[part])[:, None]
            found[part] = np.sqrt(np.vecdot(others, others))
        return found

    def keys(
        self, samples: Int[np.ndarray, " m"], others: Int[np.ndarray, " m"]
    ) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
        """Numbers that rank `others` as neighbours of `samples`, larger for nearer ones, and bounds of their errors.

        Rows are subtracted before they are multiplied, so that what all samples share takes no digits away.
        """
        keys, errors = np.empty(len(samples)), np.empty(len(samples))
        width, origin = self.given.shape[1], self.rows(slice(0, 1))
        roundings = (16 + width**0.5) * U
        for part in parts(len(samples), width, IN_CACHE):
            distinct, place = np.unique(np.concatenate([samples[part], others[part]]), return_inverse=True)
            rows = self.rows(distinct)
            a, b = (rows[z] for z in np.split(place.reshape(-1), 2))
            if self.by_product:
                b = b - origin
                keys[part] = np.einsum("ij,ij->i", a, b)
                errors[part] = roundings * lengths_of(a) * lengths_of(b)
                continue
            apart = a - b
            squares = np.einsum("ij,ij->i", apart, apart)
            keys[part], errors[part] = -squares / 2, roundings * squares
            if self.unit_rows:
                errors[part] += 4 * U * np.sqrt(squares)  # rows were rounded when they were divided by their lengths
            if self.ranking == "product":
                # <a, b> = (|a|^2 + |b|^2 - |a - b|^2) / 2, of rows of length one, or zero
                keys[part] -= ~b.any(axis=1) / 2
        return keys, errors

    def similarities(self, samples: Int[np.ndarray, " m"]) -> tuple[Float[np.ndarray, "m n"], Float[np.ndarray, " m"]]:
        """Numbers that rank all samples as neighbours of some, by products of matrices, and bounds of their errors.

        Those of samples that may not be neighbours are minus infinity.
        """
        (n, width), center = self.given.shape, self._mean()
        given = self.rows(samples)
        factors = given if self.by_product else given - center
        ranked, longest = np.empty((len(samples), n)), 0.0
        for part in parts(n, width):
            others = self.rows(part)
            theirs = others - center
            lengths = lengths_of(theirs)
            longest = max(longest, float(lengths.max()))
            ranked[:, part] = factors @ theirs.T
            if not self.by_product:
                ranked[:, part] -= np.square(lengths) / 2
                if self.ranking == "product":
                    ranked[:, part] -= ~others.any(axis=1) / 2
        ranked[self.barred(samples)] = -np.inf
        reach = lengths_of(factors) + longest
        errors = U * (2 * np.sqrt(width) + 4) * reach * longest
        return ranked, errors + (4 * U * reach if self.unit_rows else 0)

    @property
    def by_product(self) -> bool:
        """Whether rows are multiplied as they are; unit rows are ranked by how far apart they are, more exactly."""
        return self.ranking == "product" and not self.unit_rows

    def _mean(self) -> Float[np.ndarray, "1 d"]:
        n, width = self.given.shape
        return sum(self.rows(part).sum(axis=0, keepdims=True) for part in parts(n, width)) / n


def settle(
    places: Int[np.ndarray, "rows m"],
    values: Float[np.ndarray, "rows m"],
    margins: Float[np.ndarray, " rows"],
    samples: Int[np.ndarray, " rows"],
    k: int,
    exact: ExactFeatures,
    *,
    ordered: bool = True,
) -> tuple[Int[np.ndarray, " changed"], Int[np.ndarray, "changed k"]]:
    """Rows whose list of neighbours is in doubt, and the lists of these rows as float64 arithmetic has them.

    Two samples are in doubt where their values differ by no more than the margin of the row. Samples that float64
    cannot tell apart count as equal, and are in the order of their numbers.

    Parameters
    ----------
    places
        Candidates of each row, the nearest first: at least k.
    values
        Values that ranked them, in descending order.
    margins
        How much two values of a row that differ may have come nearer by rounding.
    samples
        The sample that each row is the list of.
    k
        Length of the lists.
    exact
        The features.
    ordered
        Whether the order within a list matters; without it rows are settled where it is in doubt who is in the list.
    """
    with np.errstate(invalid="ignore"):  # minus infinity less itself, for samples that may not be neighbours
        unsure = values[:, :-1] - values[:, 1:] <= margins[:, None]
    changed = np.flatnonzero(unsure[:, 0 if ordered else k - 1 : k].any(axis=1))
    if not len(changed):
        return changed, places[:0, :k]
    places, unsure = places[changed], unsure[changed]
    # of a run of samples in doubt that goes on to the last candidate not all members are known
    unknown = unsure[:, k - 1 :].all(axis=1)
    if unknown.any():
        unknown &= (~exact.barred(samples[changed])).sum(axis=1) > places.shape[1]
    lists = np.empty((len(changed), k), places.dtype)
    # what is behind the run that holds place k changes no list
    closed = np.cumsum(~unsure[:, k - 1 :], axis=1) > 0
    unsure[:, k - 1 :] &= ~closed
    lists[~unknown] = _in_order(places[~unknown], unsure[~unknown], samples[changed[~unknown]], exact)[:, :k]
    rows = np.flatnonzero(unknown)
    for part in parts(len(rows), exact.given.shape[0]):
        lists[rows[part]] = _from_all(samples[changed[rows[part]]], k, exact)
    return changed, lists


def _from_all(samples: Int[np.ndarray, " m"], k: int, exact: ExactFeatures) -> Int[np.ndarray, "m k"]:
    """The lists of samples, from all others."""
    ranked, errors = exact.similarities(samples)
    last = np.partition(ranked, -k, axis=1)[:, -k]
    most = int((ranked >= (last - 2 * errors)[:, None]).sum(axis=1).max())
    places = np.argsort(-ranked, axis=1, kind="stable")[:, :most]
    values = np.take_along_axis(ranked, places, axis=1)
    with np.errstate(invalid="ignore"):
        unsure = values[:, :-1] - values[:, 1:] <= 2 * errors[:, None]
    return _in_order(places, unsure, samples, exact)[:, :k]


def _in_order(
    places: Int[np.ndarray, "rows m"],
    unsure: Bool[np.ndarray, "rows m-1"],
    samples: Int[np.ndarray, " rows"],
    exact: ExactFeatures,
) -> Int[np.ndarray, "rows m"]:
    """The candidates, with each run of those in doubt put in order."""
    edge = np.zeros((len(places), 1), bool)
    inside = np.hstack([edge, unsure]) | np.hstack([unsure, edge])
    row, column = np.nonzero(inside)
    if not len(row):
        return places
    # members of a run stand side by side: sorted by run they go back to the same positions
    run = np.cumsum(np.hstack([~edge, ~unsure]).reshape(-1)).reshape(places.shape)[row, column]
    found = places[row, column].astype(np.int64)
    keys, errors = exact.keys(samples[row], found)
    order = np.lexsort((found, -keys, run))
    run, found, keys, errors = run[order], found[order], keys[order], errors[order]
    apart = (run[1:] != run[:-1]) | (keys[:-1] - keys[1:] > errors[:-1] + errors[1:])
    level = np.cumsum(np.concatenate([[True], apart]))
    settled = places.copy()
    settled[row, column] = found[np.lexsort((found, level))]
    return settled


def without_mean(x: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "m d"]:
    """Rows minus their mean; a row of equal numbers gives zeros."""
    equal = x.max(axis=1, keepdims=True) == x.min(axis=1, keepdims=True)
    return np.where(equal, 0, x - x.mean(axis=1, keepdims=True))


def lengths_of(rows: Float[np.ndarray, "m d"]) -> Float[np.ndarray, " m"]:
    """Euclidean norms of rows."""
    return np.sqrt(np.einsum("ij,ij->i", rows, rows))


def parts(count: int, width: int, numbers: int = BLOCK) -> Iterator[slice]:
    """Slices of `count` rows, each of which has `width` numbers, that make a block."""
    size = max(1, numbers // width)
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
