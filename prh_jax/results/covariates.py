"""Numbers of models along with their alignment: covariates and correlations."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..stores.shown import some_names
from .alignment import Alignment
from .assigned import by_label
from .provenance import ModelRecord
from .selection import near_names
from .steps import step_of

Covariate = Any
"""A name, numbers by model (a mapping or a Series), or numbers in the order of the models."""


def covariate_values(result: Alignment, models: list[str], covariate: Covariate, side: str) -> np.ndarray:
    """The covariate of each model, NaN where it has none; ValueError where it does not fit the models.

    A name is looked up among what was assigned to the models, then among what extraction recorded; "step", too, in
    revisions and labels.
    """
    covariate = by_label(covariate)
    if isinstance(covariate, str):
        covariate = _numbers(result, covariate, side)
    if isinstance(covariate, Mapping):
        unknown = [name for name in covariate if name not in models]
        if unknown:
            raise ValueError(f"Side {side} has no model {unknown[0]!r}; {near_names(str(unknown[0]), models)}.")
        return np.array([float(covariate.get(name, np.nan)) for name in models])
    values = np.asarray(covariate, float)
    if values.shape != (len(models),):
        raise ValueError(f"Side {side} has {len(models)} models, but the covariate has shape {values.shape}.")
    return values


def number_names(records: Sequence[ModelRecord]) -> list[str]:
    """Names by which any of these models has a number: those assigned first, in their order."""
    names = {}
    for kind in ("assigned", "recorded"):
        found = [getattr(record, kind).items() for record in records]
        told = [name for entry in found for name, value in entry if _is_number(value)]
        names |= dict.fromkeys(told if kind == "assigned" else sorted(told))
    return list(names)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _numbers(result: Alignment, name: str, side: str) -> Mapping[str, float]:
    """The numbers of this name, by label; ValueError where no model has one."""
    if name == "step":
        return _steps(result.provenance.models(side), side)
    told = {model.label: model.recorded.get(name) for model in result.provenance.models(side)}
    numbers = {label: value for label, value in told.items() if isinstance(value, int | float)}
    if not numbers:
        far = "y" if side == "x" else "x"
        there = f" Models of side {far} have one (side={far!r})." * (
            name in number_names(result.provenance.models(far))
        )
        names = ", ".join(number_names(result.provenance.models(side))) or "none"
        raise ValueError(
            f"No model of side {side} has a number {name!r}; recorded are {names}.{there} Or give the numbers, by "
            "model or in order."
        )
    return numbers


def _steps(models: Sequence[ModelRecord], side: str) -> dict[str, float]:
    """The training step of each model, by label; ValueError that names the models without one."""
    steps = {model.label: step_of(model) for model in models}
    lacking = [label for label, step in steps.items() if step is None]
    if lacking:
        raise ValueError(
            f"No step is recorded of {some_names(lacking)} (side {side}), and the label has none, as that of "
            "pythia-70m@step1000 or checkpoint-1000 does. Assign steps (assign(step=...)), or choose checkpoints (sel)."
        )
    return {label: step for label, step in steps.items() if step is not None}


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
