"""How chance is found: the settings of a null, and what makes one number of many layer pairs."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from ..numerics.whole import is_whole
from .layer_matching import assignment, dtw, transport

Exchange = Literal["within", "whole"]
Aggregate = Callable[[np.ndarray], Any]


def row_max_mean(scores: np.ndarray) -> Any:
    """Return the best score of each layer of x, averaged over the layers of x; NaN cells are left out."""
    return np.nanmean(np.nanmax(scores, axis=-1), axis=-1)


AGGREGATES: dict[str, Aggregate] = {
    "max": lambda scores: np.nanmax(scores, axis=(-2, -1)),
    "mean": lambda scores: np.nanmean(scores, axis=(-2, -1)),
    "row_max_mean": row_max_mean,
    "assignment": assignment,
    "dtw": dtw,
    "transport": transport,
}
"""From the scores (..., layers of x, layers of y) of a model pair to its alignment score."""


SYMMETRIC = ("max", "mean", "assignment", "dtw", "transport")
"""Aggregates that are the same for a model pair and for the pair turned round."""


MOST_ORDERS = 2**31 - 1
"""Orders are numbered in 32 bits."""


@dataclasses.dataclass(frozen=True)
class Null:
    """Settings of the null distribution: permutations of the samples of y, the same for every layer.

    Parameters
    ----------
    orders
        Number of permutations. If the samples have no more, each is taken once.
    seed
        Seed of the permutations. Permutation i depends on the seed and on i alone.
    alpha
        Level of the critical score, in (0, 1).
    aggregate
        From the layer pairs of a model pair to its score, observed and under each permutation: "max", "mean",
        "row_max_mean" (the best of each layer of x, averaged), or the mean over matched layers: "assignment" (one to
        one), "dtw" (in order, by dynamic time warping), "transport" (by shares, by optimal transport). Or a function
        of the scores (layers of x, layers of y).
    stop_after
        Stop a model pair at this number of permutations that score at least as high as observed (Besag and Clifford
        1991), so that clear cases of chance cost little. None runs all permutations for every pair.
    tail
        Also compute the skewness of every cell and its tail probability, where scores are inner products.
    cells
        Also keep the null of every layer pair (orders x layers x layers, float32).
    exchange
        Units that a permutation exchanges if samples have groups. "within" exchanges the samples of a group. "whole"
        exchanges whole groups of equal size, for repeated inputs (five captions of an image). None is "whole" if many
        rows are paired with one (`pair=`), else "within".
    """

    orders: int = 200
    seed: int = 0
    alpha: float = 0.05
    aggregate: str | Aggregate = "max"
    stop_after: int | None = None
    tail: bool = True
    cells: bool = False
    exchange: Exchange | None = None

    def __post_init__(self):
        for name in ("orders", "stop_after"):
            value = getattr(self, name)
            if value is not None and not (is_whole(value) and value >= 1):
                raise ValueError(f"A null needs {name} to be a whole number of at least 1, got {value!r}.")
            if value is not None and value > MOST_ORDERS:
                raise ValueError(f"A null has at most {MOST_ORDERS:,} orders, got {name} = {value}. Ask for fewer.")
        if not (is_whole(self.seed) and self.seed >= 0):
            raise ValueError(f"A null's seed is a whole number of at least 0, got {self.seed!r}.")
        if self.exchange not in (None, "within", "whole"):
            raise ValueError(f"A null exchanges samples 'within' groups or 'whole' groups, got {self.exchange!r}.")
        if not 0 < self.alpha < 1:
            raise ValueError(f"A null needs 0 < alpha < 1, got {self.alpha!r}.")
        if isinstance(self.aggregate, str) and self.aggregate not in AGGREGATES:
            raise ValueError(
                f"Unknown aggregate {self.aggregate!r}; there are {', '.join(AGGREGATES)}, or give a function."
            )

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as plain values, a function by its name, and `exchange` unless it is the usual one."""
        name = self.aggregate if isinstance(self.aggregate, str) else f"function {_name(self.aggregate)}"
        found = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)} | {"aggregate": name}
        if self.exchange != "whole":  # as nulls of earlier versions, which knew no other
            del found["exchange"]
        return found

    def reduce(self, scores: np.ndarray) -> Any:
        """Return the aggregate of scores (..., layers of x, layers of y); NaN if all are NaN.

        Sums are made in float64 and rounded to the type of the scores: equal scores in another order stay equal.
        """
        found = self._reduce(scores.astype(np.float64))
        return np.asarray(found, scores.dtype)[()]

    def _reduce(self, scores: np.ndarray) -> Any:
        if np.isnan(scores).all(axis=(-2, -1)).any():
            known = ~np.isnan(scores).all(axis=(-2, -1))
            out = np.full(scores.shape[:-2], np.nan)
            out[known] = self._reduce(scores[known])
            return out
        if isinstance(self.aggregate, str):
            return AGGREGATES[self.aggregate](scores)
        flat = scores.reshape(-1, *scores.shape[-2:])
        return np.array([float(self.aggregate(s)) for s in flat]).reshape(scores.shape[:-2])


def _name(function: Any) -> str:
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', repr(function))}"
