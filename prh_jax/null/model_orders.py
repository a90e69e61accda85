"""Orders of models: the permutations behind p-values about models, all of them if they are few."""

import itertools
import math
from collections.abc import Iterator

import numpy as np


def model_orders(n: int, count: int, seed: int) -> np.ndarray:
    """The identity, then `count` random permutations of n models; or all permutations if there are no more."""
    if math.factorial(n) - 1 <= count:
        return np.array(list(itertools.permutations(range(n))))
    rng = np.random.default_rng(seed)
    orders = np.tile(np.arange(n), (count + 1, 1))
    orders[1:] = rng.permuted(orders[1:], axis=1)
    return orders


def label_orders(codes: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, bool]:
    """Labels of models as they are, then `count` random permutations of them; or each different arrangement once.

    Returns the arrangements (arrangement, model), and whether they are all that exist.
    """
    kinds, sizes = np.unique(codes, return_counts=True)
    total = math.factorial(len(codes))
    for size in sizes.tolist():
        total //= math.factorial(size)
    if total - 1 > count:
        rng = np.random.default_rng(seed)
        return np.array([codes, *(rng.permutation(codes) for _ in range(count))]), False
    found = np.empty((total, len(codes)), codes.dtype)
    for row, places in enumerate(_arrangements(tuple(range(len(codes))), sizes.tolist())):
        for kind, chosen in zip(kinds, places, strict=True):
            found[row, list(chosen)] = kind
    first = int(np.flatnonzero((found == codes).all(axis=1))[0])
    found[[0, first]] = found[[first, 0]]
    return found, True


def _arrangements(free: tuple[int, ...], sizes: list[int]) -> Iterator[list[tuple[int, ...]]]:
    """The places of each kind of label, in every different way."""
    if not sizes:
        yield []
        return
    for chosen in itertools.combinations(free, sizes[0]):
        left = tuple(place for place in free if place not in chosen)
        for rest in _arrangements(left, sizes[1:]):
            yield [chosen, *rest]


def share_reached(values: np.ndarray) -> float:
    """p: the share of arrangements whose value reaches the first, the observed; NaN if that is NaN.

    A value that mathematically equals the observed counts, whatever rounding made of it, and so does an undefined one.
    With the observed among the arrangements, this is `(1 + reached) / (1 + orders)` for random permutations.
    """
    if not np.isfinite(values[0]):
        return float("nan")
    slack = 1e-10 * max(float(np.nanmax(np.abs(values))), 1e-300)
    return float((~(values < values[0] - slack)).mean())
