"""How well one layer predicts another on samples that the regression has not seen."""

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ...null.orders import group_codes
from ...numerics.ridge import RidgeFit
from ..host import Groups, HostMetric
from .folds import RIDGES, check_folds, cross_validated, fold_fits, split


class Predictor:
    """A layer on both sides of a regression: as targets, and as predictors that are decomposed when first needed."""

    def __init__(self, x: np.ndarray, parts: list[np.ndarray]) -> None:
        self.features = np.asarray(x, np.float64)
        self.parts = parts

    @cached_property
    def targets(self) -> np.ndarray:
        largest = np.abs(self.features).max(axis=0)
        return self.features / np.where(largest > 0, largest, 1)

    @cached_property
    def fits(self) -> list[RidgeFit]:
        return fold_fits(self.features, self.parts)


@dataclasses.dataclass(frozen=True)
class RidgePrediction(HostMetric):
    """Correlation of held-out samples of y with what a ridge regression on x predicts, as a mean over units of y.

    The samples are split into folds. Each is predicted by a regression on the other folds, whose penalty is chosen for
    each unit of y on these alone. The function `ridge_prediction` has the details, and the score of each unit.

    Parameters
    ----------
    folds
        Number of folds.
    score
        "r", the mean correlation, or "r2", the share of the variance that is predicted, which may be below 0. Both are
        means over the units of y that vary.
    seed
        Seed of the folds.
    """

    name = "ridge_prediction"
    source = "Naselaris et al. 2011, doi:10.1016/j.neuroimage.2010.07.073; Stone 1974"
    symmetric = False
    self_score = None
    invariances = frozenset({"isotropic_scaling", "translation"})
    grouped = True

    folds: int = 5
    score: str = "r"
    seed: int = 0

    def __post_init__(self):
        super().__post_init__()
        if self.score not in ("r", "r2"):
            raise ValueError(f"{self.name} has scores 'r' and 'r2', got {self.score!r}.")
        if self.folds < 2 or self.seed < 0:
            raise ValueError(f"{self.name} needs folds >= 2 and seed >= 0, got {self.folds} and {self.seed}.")

    @property
    def bounds(self) -> tuple[float, float]:
        return (-1.0 if self.score == "r" else float("-inf"), 1.0)

    def _parts(self, n: int, groups: Groups) -> list[np.ndarray]:
        check_folds(n, self.folds)
        return split(n, self.folds, self.seed, None if groups is None else group_codes(list(groups), n))

    def check(self, n: int, groups: Groups) -> None:
        self._parts(n, groups)

    def prepared(self, x: Any, groups: Groups) -> Predictor:
        return Predictor(x, self._parts(len(x), groups))

    def scored(self, a: Predictor, others: Sequence[Predictor]) -> Sequence[float]:
        found = [cross_validated(a.fits, a.parts, b.targets, np.asarray(RIDGES)) for b in others]
        return [float(np.nanmean(r if self.score == "r" else r2)) for r, r2, _ in found]
