"""Orders: the permutations of samples that stand for chance, one set for a whole study."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np


def group_codes(groups: Sequence[Any], n: int) -> tuple[int, ...]:
    """Groups of samples as whole numbers, in order of first appearance; ValueError unless there is one per sample."""
    labels = [str(label) for label in groups]
    if len(labels) != n:
        raise ValueError(f"There are {n} samples but {len(labels)} group labels; give one label per sample, in order.")
    codes = {label: code for code, label in enumerate(dict.fromkeys(labels))}
    return tuple(codes[label] for label in labels)


def count_orders(n: int, groups: Sequence[int] | None = None) -> int:
    """The number of orders of n samples that keep each sample in its group, the identity included."""
    sizes = [n] if groups is None else np.bincount(groups).tolist()
    return math.prod(math.factorial(size) for size in sizes)


def log_arrangements(groups: Sequence[int], rows: Sequence[int]) -> float:
    """Log of how many arrangements of the samples orders within `groups` make, where equal `rows` are one and the same.

    0 where every order leaves the rows as they are.
    """
    sizes = Counter(groups).values()
    alike = Counter(zip(groups, rows, strict=True)).values()
    return sum(math.lgamma(size + 1) for size in sizes) - sum(math.lgamma(count + 1) for count in alike)


def make_orders(n: int, count: int, seed: int, groups: Sequence[int] | None = None) -> np.ndarray:
    """Orders (count, n), each uniform over all permutations of the samples, or over those within `groups`.

    Order i depends on the seed and on i alone: more orders begin with the same ones, and neither tiles nor devices nor
    the choice of models change them. Where there are no more than `count` orders besides the identity, all of them are
    returned, each once, in place of samples: p-values are exact then.
    """
    if count < 1:
        raise ValueError(f"A null needs at least one order, got {count}.")
    total = count_orders(n, groups)
    if total == 1:
        raise ValueError("Every group holds one sample, so no order but the identity is left; give coarser groups.")
    members = [np.arange(n)] if groups is None else [np.flatnonzero(np.equal(groups, g)) for g in sorted(set(groups))]
    if total - 1 <= count:
        return _all_orders(n, members)[1:]
    orders = np.empty((count, n), np.int32)
    for i, order in enumerate(orders):
        rng = np.random.default_rng([seed, i])
        for samples in members:
            order[samples] = rng.permutation(samples)
    return orders


def _all_orders(n: int, members: Sequence[np.ndarray]) -> np.ndarray:
    """Every order within groups, the identity first."""
    orders = []
    for parts in itertools.product(*(itertools.permutations(samples) for samples in members)):
        order = np.empty(n, np.int32)
        for samples, part in zip(members, parts, strict=True):
            order[samples] = part
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
