"""Whether one layer finds the partner of a sample in another, by a map that has not seen the sample."""

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ...null.gallery_ranks import group_ranks, rank_scores
from ...null.orders import group_codes
from ..host import Groups, HostMetric
from .folds import RIDGES
from .maps import Halved, Layer, best_penalties, orthogonal_similarities, ridge_similarity
from .splits import Part, first_rows, halves

Splits = list[tuple[np.ndarray, np.ndarray]]


class Searched:
    """A layer as a query and as a gallery: its decomposition for each split, and the rows that are asked."""

    def __init__(self, x: np.ndarray, codes: np.ndarray, parts: Splits, *, ridged: bool) -> None:
        self.features, self.codes, self.parts, self.ridged = np.asarray(x, np.float64), codes, parts, ridged

    @cached_property
    def split(self) -> list[Halved]:
        layer = Layer(self.features, ridged=self.ridged)
        return [layer.halved(train, held) for train, held in self.parts]

    @cached_property
    def once(self) -> np.ndarray:
        alone = self.codes.max() + 1 == len(self.codes)
        return np.ones(len(self.codes), bool) if alone else first_rows([self.features], self.codes)


@dataclasses.dataclass(frozen=True)
class Retrieval(HostMetric):
    """Share of held-out samples of x whose partner is among the k samples of y nearest to them, after a map.

    A map from x to y is fitted on a part of the samples. The others are mapped, and those of y are ranked by their
    cosine with them. The function `retrieval` has the details, both directions, and all k at once.

    Parameters
    ----------
    k
        Number of places that count as found.
    map
        "ridge" or "orthogonal", as in `retrieval`.
    score
        "recall", the share that is found, or "reciprocal_rank", the mean of `1 / rank` of the partner, without a k.
    fit
        Share of the samples that the map is fitted on, in (0, 1).
    splits
        Number of random splits, whose mean is the score.
    seed
        Seed of the splits.
    """

    name = "retrieval"
    source = "Hodosh et al. 2013, doi:10.1613/jair.3994"
    symmetric = False
    self_score = None
    invariances = frozenset({"orthogonal", "isotropic_scaling", "translation"})
    grouped = True

    k: int = 10
    map: str = "ridge"
    score: str = "recall"
    fit: float = 0.5
    splits: int = 1
    seed: int = 0

    def __post_init__(self):
        super().__post_init__()
        if self.map not in ("ridge", "orthogonal"):
            raise ValueError(f"{self.name} has maps 'ridge' and 'orthogonal', got {self.map!r}.")
        if self.score not in ("recall", "reciprocal_rank"):
            raise ValueError(f"{self.name} has scores 'recall' and 'reciprocal_rank', got {self.score!r}.")
        if self.k < 1 or self.splits < 1 or self.seed < 0 or not 0 < self.fit < 1:
            raise ValueError(
                f"{self.name} needs k >= 1, splits >= 1, seed >= 0 and 0 < fit < 1, got k={self.k}, "
                f"splits={self.splits}, seed={self.seed}, fit={self.fit}."
            )

    def _split(self, n: int, groups: Groups) -> tuple[np.ndarray, Splits]:
        codes = np.arange(n) if groups is None else np.array(group_codes(list(groups), n))
        return codes, halves(n, self.fit, self.splits, self.seed, codes)

    def check(self, n: int, groups: Groups) -> None:
        codes, parts = self._split(n, groups)
        least = min(len(np.unique(codes[held])) for _, held in parts)
        if self.score == "recall" and self.k > least:
            raise ValueError(
                f"{self.name} looks among {least} held-out samples (or groups) of {n}, fewer than k = {self.k}: give a "
                "smaller k or fit."
            )

    def prepared(self, x: Any, groups: Groups) -> Searched:
        self.check(len(x), groups)
        return Searched(x, *self._split(len(x), groups), ridged=self.map == "ridge")

    def scored(self, a: Searched, others: Sequence[Searched]) -> Sequence[float]:
        scores = np.zeros(len(others))
        for turn, (train, held) in enumerate(a.parts):
            x, sides = a.split[turn], [b.split[turn] for b in others]
            if self.map == "ridge":
                penalties = best_penalties([x], sides, np.asarray(RIDGES))[0].tolist()
                similar = [ridge_similarity(x, y, ridge) for y, ridge in zip(sides, penalties, strict=True)]
            else:
                similar = [orthogonal_similarities(x, y)[0] for y in sides]
            for i, (b, similarity) in enumerate(zip(others, similar, strict=True)):
                part = Part(train, held, a.codes, [a.once, b.once])
                ranks = group_ranks(similarity[np.ix_(part.asked[0], part.asked[1])], part.codes[1])
                own = ranks[np.arange(len(ranks)), part.codes[0]]
                scores[i] += rank_scores(own, [self.k])[0 if self.score == "recall" else 1] / self.splits
        return scores.tolist()
