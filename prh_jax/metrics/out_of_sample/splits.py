"""Splits of the samples for retrieval: who is asked, who is in the gallery, and how partners are exchanged."""

import hashlib
from collections.abc import Sequence

import numpy as np

from ...null.gallery_ranks import chance_ranks, rank_scores
from ...null.orders import count_orders, make_orders
from ...null.pvalues import as_close


def halves(n: int, fit: float, splits: int, seed: int, codes: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The fitted samples and the others of each split; a group is on one side."""
    sizes = np.bincount(codes)
    found = []
    for s in range(splits):
        order = np.random.default_rng([seed, 2, s]).permutation(len(sizes))
        ahead = np.cumsum(sizes[order])[:-1]
        count = 1 + int(np.argmin(np.abs(ahead - fit * n))) if len(ahead) else 1
        fitted = np.isin(codes, order[:count])
        if fitted.sum() < 4 or n - fitted.sum() < 2:
            raise ValueError(
                f"A split of {n} samples ({len(sizes)} groups) with fit={fit:g} has {fitted.sum()} samples to fit on, "
                f"and {n - fitted.sum()} others. It needs 4 and 2: give more samples or finer groups."
            )
        found.append((np.flatnonzero(fitted), np.flatnonzero(~fitted)))
    return found


def first_rows(layers: Sequence[np.ndarray], codes: np.ndarray) -> np.ndarray:
    """Which rows equal none before them of the same group in all layers."""
    seen: set[tuple[int, bytes]] = set()
    first = np.zeros(len(codes), bool)
    for i, code in enumerate(codes.tolist()):
        key = code, hashlib.sha256(b"".join(layer[i].tobytes() for layer in layers)).digest()
        first[i] = key not in seen
        seen.add(key)
    return first


class Part:
    """One split: its samples, and for either side those that are asked and make the gallery, and their groups."""

    def __init__(self, train: np.ndarray, held: np.ndarray, codes: np.ndarray, once: Sequence[np.ndarray]) -> None:
        self.train, self.held = train, held
        self.local = np.unique(codes[held], return_inverse=True)[1]
        self.asked = [np.flatnonzero(rows[held]) for rows in once]
        self.codes = [self.local[asked] for asked in self.asked]

    def chance(self, way: int, ks: Sequence[int]) -> tuple[np.ndarray, float]:
        """Recall and mean reciprocal rank by chance, in one direction."""
        right = np.bincount(self.codes[1 - way])[self.codes[way]]
        return chance_ranks(right.tolist(), len(self.codes[1 - way]), ks)


def check_galleries(parts: Sequence[Part], k: int, null: int) -> None:
    """ValueError if a gallery is too small, or no partners can be exchanged."""
    least = min(len(asked) for part in parts for asked in part.asked)
    if k > least:
        raise ValueError(f"The smallest gallery has {least} samples, fewer than k = {k}: give a smaller k or fit.")
    if null and any(count_orders(len(part.held), part.local.tolist(), "whole") == 1 for part in parts):
        raise ValueError(
            "In a split no two groups hold equally many samples, so that whole groups cannot be exchanged: give "
            "null=0, or leave out samples until groups are of one size."
        )


class Chances:
    """Partners of the held-out samples of one split, exchanged, for the p-values of all layer pairs."""

    def __init__(self, part: Part, null: int, seed: int) -> None:
        orders = make_orders(len(part.held), null, seed, part.local.tolist(), "whole")
        groups, width = part.local[orders], int(part.local.max()) + 1
        self.places = [groups[:, asked] + np.arange(len(asked)) * width for asked in part.asked]
        self.largest = np.zeros((2, len(orders)))
        self.observed = np.zeros(2)

    def p(self, way: int, ranks: np.ndarray, scores: np.ndarray, ks: Sequence[int]) -> np.ndarray:
        """p-values of the scores of a layer pair, from the ranks of all groups for all queries."""
        null = rank_scores(ranks.ravel().take(self.places[way]), ks)
        self.largest[way] = np.maximum(self.largest[way], null[:, -1])
        self.observed[way] = max(self.observed[way], scores[-1])
        return _p(scores, null)

    def p_best(self) -> np.ndarray:
        """p-values, one for each direction, of the largest mean reciprocal rank of the layer pairs seen."""
        return _p(self.observed, self.largest.T)


def _p(observed: np.ndarray, null: np.ndarray) -> np.ndarray:
    return (1 + as_close(null, observed).sum(axis=0)) / (len(null) + 1)
