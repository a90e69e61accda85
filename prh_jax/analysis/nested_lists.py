"""Neighbours of some samples in galleries that grow: one pass over a layer, a block of rows at a time."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from ..numerics.exact_neighbors import ExactFeatures, settle
from ..sketches.host_lists import UNIT_ROUNDOFF, largest_places
from ..sketches.nearest import EXTRA
from ..stores.layout import blocks_of
from ..stores.source import LayerSource

PRODUCTS = 2**23
"""Similarities of queries with a block of rows that are held at a time."""

GRID = 1e-12
"""Steps of similarities in float64 where many rows tie: rows that are nearer to one another are in order of number."""


class _Candidates(ExactFeatures):
    """Features for the order of candidates alone: no others are looked for in the whole layer."""

    def barred(self, samples: Int[np.ndarray, " m"]) -> Bool[np.ndarray, "m 1"]:
        return np.ones((len(samples), 1), bool)


@dataclasses.dataclass(frozen=True)
class NestedGalleries:
    """Samples of which the first few, the first of `sizes`, and so on, are galleries that contain one another.

    Parameters
    ----------
    group
        Number of each row's sample: rows of one are captions of an image. A row is no neighbour of one of its own.
    position
        Place of each row's sample in the order in which galleries grow; -1 for rows that are left out.
    sizes
        Numbers of samples, ascending.
    queries
        Rows whose neighbours are asked for.
    """

    group: Int[np.ndarray, " n"]
    position: Int[np.ndarray, " n"]
    sizes: Int[np.ndarray, " sizes"]
    queries: Int[np.ndarray, " m"]

    def lists(
        self, source: LayerSource, layer: int, k: int, threshold: float, advance: Callable[[int], Any]
    ) -> Int[np.ndarray, "sizes m k"]:
        """The k rows of largest cosine with each query in each gallery, nearest first.

        The order is that of float64 arithmetic, and rows that tie are in the order of their numbers. If more rows than
        are kept tie for the last place, the layer is read once more, for the queries concerned. `advance` gets the
        numbers of rows that were read.
        """
        most = k + max(EXTRA, int(np.bincount(self.group).max()))
        made = self._read(source, layer, most, threshold, np.float32, advance)
        found, tied = np.empty((len(self.sizes), len(self.queries), k), np.int64), np.zeros(len(self.queries), bool)
        margins = made.margins()
        for i, (places, values) in enumerate(made.candidates()):
            found[i] = self._settled(places, values, margins, k, source, layer, threshold)
            tied |= (values[:, k - 1 : -1] - values[:, k:] <= margins[:, None]).all(axis=1)  # more may be behind them
        if tied.any():
            again = dataclasses.replace(self, queries=self.queries[tied])
            made = again._read(source, layer, most, threshold, np.float64, lambda _: None)
            margins = np.full(len(again.queries), 2.0)
            for i, (places, values) in enumerate(made.candidates()):
                found[i, tied] = again._settled(places, values, margins, k, source, layer, threshold)
        return found

    def _read(
        self, source: LayerSource, layer: int, most: int, threshold: float, kind: Any, advance: Callable[[int], Any]
    ) -> "_Pass":
        """The best candidates among all rows of a layer, in one pass over it."""
        asked = _unit_rows(read_some(source, layer, self.queries), threshold, kind)
        made = _Pass(self, asked, asked.mean(axis=0, dtype=np.float64).astype(kind), most, threshold)
        size = max(1, PRODUCTS // len(self.queries))
        for block in blocks_of(source.n):
            for start in range(block.start, block.stop, size):
                part = slice(start, min(start + size, block.stop))
                made.add(source.read_layer(layer, part), part)
                advance(part.stop - part.start)
        return made

    def _settled(
        self,
        places: Int[np.ndarray, "m c"],
        values: Float[np.ndarray, "m c"],
        margins: Float[np.ndarray, " m"],
        k: int,
        source: LayerSource,
        layer: int,
        threshold: float,
    ) -> Int[np.ndarray, "m k"]:
        """The first k candidates, in the order of float64 where their values leave in doubt who is among them."""
        lists = places[:, :k].copy()
        doubt = np.flatnonzero(values[:, k - 1] - values[:, k] <= margins) if places.shape[1] > k else []
        if len(doubt):
            known = np.unique(np.concatenate([places[doubt].reshape(-1), self.queries[doubt]]))
            known = known[known >= 0]
            exact = _Candidates(read_some(source, layer, known), "product", True, threshold)
            few, samples = (np.searchsorted(known, z) for z in (places[doubt], self.queries[doubt]))
            changed, settled = settle(few, values[doubt], margins[doubt], samples, k, exact, ordered=False)
            lists[doubt[changed]] = known[settled]
        return lists


class _Pass:
    """The best candidates of each query among the rows read so far, for each ring of samples between two sizes."""

    def __init__(self, galleries: NestedGalleries, asked: np.ndarray, center: np.ndarray, most: int, threshold: float):
        self.galleries, self.center, self.most, self.threshold = galleries, center, most, threshold
        self.asked = asked - center
        self.longest = 0.0
        self.in_steps = asked.dtype == np.float64
        empty = np.full((len(asked), most), -1), np.full((len(asked), most), -np.inf, asked.dtype)
        self.kept = [empty] * len(galleries.sizes)
        groups = galleries.group[galleries.queries]
        self.by_group = np.argsort(groups, kind="stable")
        self.groups = groups[self.by_group]

    def add(self, features: np.ndarray, part: slice) -> None:
        """Take in some rows of the layer."""
        galleries = self.galleries
        position = galleries.position[part]
        ring = np.searchsorted(galleries.sizes, position, side="right")
        order = np.argsort(ring, kind="stable")
        order = order[(position[order] >= 0) & (ring[order] < len(galleries.sizes))]
        unit = _unit_rows(features[order], self.threshold, self.asked.dtype)
        shifted = unit - self.center
        squares = np.vecdot(shifted, shifted)
        lengths = unit.any(axis=1).astype(unit.dtype)
        offset = ((lengths - np.vdot(self.center, self.center)) - squares) / 2
        self.longest = max(self.longest, float(np.sqrt(squares.max(initial=0))))
        numbers, ring = order + part.start, ring[order]
        for i in np.unique(ring):
            columns = slice(*np.searchsorted(ring, [i, i + 1]))
            similar = self.asked @ shifted[columns].T
            similar += offset[columns]
            if self.in_steps:
                similar = np.round(similar / GRID)
            self._bar(similar, galleries.group[numbers[columns]])
            best = self._best(similar)
            found = numbers[columns][best], np.take_along_axis(similar, best, axis=1)
            self.kept[i] = _merged(self.most, self.kept[i], found)

    def _best(self, similar: np.ndarray) -> np.ndarray:
        """The columns of the largest entries of each row: in steps the first of equal ones, else any of them."""
        most = min(self.most, similar.shape[1])
        return np.argsort(-similar, axis=1, kind="stable")[:, :most] if self.in_steps else largest_places(similar, most)

    def candidates(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Numbers and values of the best rows of each gallery, the smallest gallery first."""
        places, values = self.kept[0]
        yield places, values
        for more, theirs in self.kept[1:]:
            places, values = _merged(self.most, (places, values), (more, theirs))
            yield places, values

    def _bar(self, similar: np.ndarray, groups: np.ndarray) -> None:
        """Minus infinity for rows of a query's own sample."""
        low, high = (np.searchsorted(self.groups, groups, side=side) for side in ("left", "right"))
        for column in np.flatnonzero(high > low):
            similar[self.by_group[low[column] : high[column]], column] = -np.inf

    def margins(self) -> Float[np.ndarray, " m"]:
        """How much two similarities of a query that differ may have come nearer by rounding (see `Rounding.margin`)."""
        lengths, width = np.sqrt(np.vecdot(self.asked, self.asked)), self.asked.shape[1]
        errors = (2 * width**0.5 + 2) * self.longest * (lengths + self.longest / 2) + 2 * (lengths + 2 * self.longest)
        return 2 * UNIT_ROUNDOFF * errors


def _unit_rows(features: np.ndarray, threshold: float, kind: Any) -> Float[np.ndarray, "m d"]:
    """Rows in a type of floats, clipped, of length one; a row of zeros stays zero."""
    x = features.astype(kind)
    if np.isfinite(threshold):
        np.clip(x, -threshold, threshold, out=x)
    largest = np.abs(x).max(axis=1, keepdims=True, initial=0)
    x /= np.where(largest > 0, largest, 1)  # squares of large and small rows leave the range of float32
    lengths = np.sqrt(np.vecdot(x, x))[:, None]
    x /= np.where(lengths > 0, lengths, 1)
    return x


def _merged(most: int, *found: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The candidates of largest value of several lists, the largest first, and of equal ones the lowest number."""
    places, values = (np.concatenate(parts, axis=1) for parts in zip(*found, strict=True))
    order = np.lexsort((places, -values), axis=1)[:, :most]
    return np.take_along_axis(places, order, axis=1), np.take_along_axis(values, order, axis=1)


def read_some(source: LayerSource, layer: int, rows: Int[np.ndarray, " m"]) -> Float[np.ndarray, "m d"]:
    """Some rows of a layer, in ascending order: of each block that has any, the span of them is read once."""
    parts = []
    for block in blocks_of(source.n):
        inside = rows[slice(*np.searchsorted(rows, [block.start, block.stop]))]
        if len(inside):
            first = int(inside[0])
            parts.append(source.read_layer(layer, slice(first, int(inside[-1]) + 1))[inside - first])
    return np.concatenate(parts)
