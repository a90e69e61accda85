"""Numbers of models beside their alignment: covariates and correlations."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .alignment import Alignment


def covariate_values(result: Alignment, models: list[str], covariate: Any, side: str) -> np.ndarray:
    """The covariate of each model, NaN where it has none; ValueError where it does not fit the models."""
    if isinstance(covariate, str):
        recorded = {model.label: model.recorded for model in result.provenance.models(side)}
        numbers = {name: entry.get(covariate) for name, entry in recorded.items()}
        if not any(isinstance(v, int | float) for v in numbers.values()):
            names = sorted({k for e in recorded.values() for k, v in e.items() if isinstance(v, int | float)})
            raise ValueError(
                f"No model of side {side} has a number {covariate!r}; recorded are {', '.join(names) or 'none'}. Or "
                "give the numbers, by model or in order."
            )
        covariate = {name: v for name, v in numbers.items() if isinstance(v, int | float)}
    if isinstance(covariate, Mapping):
        unknown = [name for name in covariate if name not in models]
        if unknown:
            raise ValueError(f"Side {side} has no model {unknown[0]!r}; it has {', '.join(models)}.")
        return np.array([float(covariate.get(name, np.nan)) for name in models])
    values = np.asarray(covariate, float)
    if values.shape != (len(models),):
        raise ValueError(f"Side {side} has {len(models)} models, but the covariate has shape {values.shape}.")
    return values


def pearson(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation; NaN where one side does not vary or there are fewer than three."""
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation, equal values at their mean rank; NaN as Pearson's."""
    from scipy import stats  # slow to import, and needed here alone

    return pearson(stats.rankdata(a), stats.rankdata(b))
