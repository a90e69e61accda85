"""Orders: the permutations of samples that stand for chance, one set for a whole study."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from .settings import Exchange

NO_ORDER: dict[Exchange, str] = {
    "within": "Every group holds one sample, so no order but the identity is left; give coarser groups.",
    "whole": (
        "No two groups hold equally many samples, so no order of whole groups but the identity is left. Leave out "
        'samples (exclude=) until groups are of one size, or exchange samples within groups (exchange="within").'
    ),
}


def group_codes(groups: Sequence[Any], n: int) -> tuple[int, ...]:
    """Groups of samples as whole numbers, in order of first appearance; ValueError unless there is one per sample."""
    labels = [str(label) for label in groups]
    if len(labels) != n:
        raise ValueError(f"There are {n} samples but {len(labels)} group labels; give one label per sample, in order.")
    codes = {label: code for code, label in enumerate(dict.fromkeys(labels))}
    return tuple(codes[label] for label in labels)


def exchange_units(n: int, groups: Sequence[int] | None = None, exchange: Exchange = "within") -> list[np.ndarray]:
    """Units that permutations exchange: arrays (units, samples of a unit), each permuted by itself.

    Without groups, all samples; "within", the samples of each group; "whole", the groups of each size, the i-th sample
    of one with the i-th of another.
    """
    if groups is None:
        return [np.arange(n)[:, None]]
    samples = np.argsort(groups, kind="stable")
    members = np.split(samples, np.cumsum(np.bincount(groups))[:-1])
    if exchange == "within":
        return [part[:, None] for part in members]
    sizes = sorted({len(part) for part in members})
    return [np.stack([part for part in members if len(part) == size]) for size in sizes]


def count_orders(n: int, groups: Sequence[int] | None = None, exchange: Exchange = "within") -> int:
    """The number of orders of n samples, within groups or of whole groups, the identity included."""
    return math.prod(math.factorial(len(units)) for units in exchange_units(n, groups, exchange))


def log_arrangements(units: Sequence[np.ndarray], rows: np.ndarray) -> float:
    """Log of how many arrangements of the samples orders make, where equal `rows` are one and the same.

    0 where every order leaves the rows as they are.
    """
    found = 0.0
    for members in units:
        alike = Counter(map(tuple, rows[members].tolist()))
        found += math.lgamma(len(members) + 1) - sum(math.lgamma(count + 1) for count in alike.values())
    return found


def make_orders(
    n: int, count: int, seed: int, groups: Sequence[int] | None = None, exchange: Exchange = "within"
) -> np.ndarray:
    """Orders (count, n), each uniform over all permutations of the samples, or over those that `exchange` allows.

    Order i depends on the seed and on i alone: more orders begin with the same ones, and neither tiles nor devices nor
    the choice of models change them. Where there are no more than `count` orders other than the identity, all of them
    are returned, each once, in place of samples: p-values are exact then.
    """
    if count < 1:
        raise ValueError(f"A null needs at least one order, got {count}.")
    units = exchange_units(n, groups, exchange)
    total = count_orders(n, groups, exchange)
    if total == 1:
        raise ValueError(NO_ORDER[exchange])
    if total - 1 <= count:
        return _all_orders(n, units)[1:]
    orders = np.empty((count, n), np.int32)
    for i, order in enumerate(orders):
        rng = np.random.default_rng([seed, i])
        for members in units:
            order[members] = members[rng.permutation(len(members))]
    return orders


def _all_orders(n: int, units: Sequence[np.ndarray]) -> np.ndarray:
    """Every order that exchanges units, the identity first."""
    orders = []
    for parts in itertools.product(*(itertools.permutations(range(len(members))) for members in units)):
        order = np.empty(n, np.int32)
        for members, part in zip(units, parts, strict=True):
            order[members] = members[list(part)]
        orders.append(order)
    return np.stack(orders)


def check_groups(groups: Sequence[Any] | None, n: int, exclude_own_group: bool) -> tuple[int, ...] | None:
    """Groups as numbers, one for each sample; ValueError where they do not fit or are lacking."""
    if groups is None:
        if exclude_own_group:
            raise ValueError("To leave out a sample's own group, give the groups: one label per sample (groups=).")
        return None
    return group_codes(groups, n)


ORDERS_PER_BLOCK, FIRST_BLOCK, LATER_BLOCK = 50, 20, 200
"""Orders between two marks on disk: few at first where model pairs stop early, so that they stop soon, many later."""


def order_blocks(count: int, stopping: bool, most: int) -> list[slice]:
    """Ranges of orders between two marks, none above `most`; where pairs stop early, five short ones come first."""
    size = max(1, min(count, FIRST_BLOCK if stopping else ORDERS_PER_BLOCK, most))
    later = size * max(1, min(LATER_BLOCK, most) // size) if stopping else size
    ends = list(range(size, min(5 * size, count) + 1, size)) if stopping else [min(size, count)]
    ends += range(ends[-1] + later, count, later)
    ends += [count] if ends[-1] < count else []
    return [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
