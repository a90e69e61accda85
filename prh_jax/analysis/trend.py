"""Does alignment grow with what models can do? Rank correlation of alignment with a covariate of the models."""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from ..results.alignment import Alignment
from ..results.covariates import covariate_values

KINDS = ("kendall", "spearman")


def trend(
    result: Alignment,
    metric: str,
    covariate: str | Mapping[str, float] | Sequence[float] | np.ndarray,
    *,
    side: str = "x",
    orders: int = 9999,
    seed: int = 0,
) -> xr.Dataset:
    """Kendall (tau-b) and Spearman correlation of alignment with a covariate of the models of one side.

    covariate  a number for each model of the side: by model, in their order, or by the name under which extraction
               recorded it (`bits_per_byte`, `loss`, `params_total` ...). Models without a number are left out
    side       the side whose models the covariate is of; each model of the other side has a correlation, and "all"
               stands for the mean of those that have one (scores that are all equal have none: NaN)
    orders     permutations of the models' covariate; all of them where there are no more. One permutation serves all
               correlations

    `correlation` and `p` (two-sided, add-one) with dimensions `scores` ("raw", and "calibrated" where the result has a
    calibration), `kind` and `model`. p for "all" permutes models, so that the models of the other side, which are not
    independent, are not counted as if they were. Negative where a smaller number is better, such as bits per byte.
    """
    if side not in ("x", "y"):
        raise ValueError(f"A side is 'x' or 'y', got {side!r}.")
    raw = result.scores(metric).transpose(f"model_{side}", ...)
    tables = {"raw": raw.values}
    if result.calibration is not None:
        tables["calibrated"] = result.calibration.pairs(metric)["calibrated"].transpose(f"model_{side}", ...).values
    models = [str(m) for m in raw[f"model_{side}"].values]
    others = [str(m) for m in raw["model_y" if side == "x" else "model_x"].values]
    values = covariate_values(result, models, covariate, side)
    known = np.isfinite(values)
    if known.sum() < 3 or len(set(values[known])) < 2:
        raise ValueError(
            f"A trend needs at least 3 models with a number, not all equal; {int(known.sum())} of {len(models)} have "
            "one."
        )
    values = values[known]
    permuted = _orders(len(values), orders, seed)
    found = np.empty((2, len(tables), len(KINDS), len(others) + 1))
    for t, table in enumerate(tables.values()):
        for kind, name in enumerate(KINDS):
            columns = _scores_of(name, table[known].astype(float))
            ranks = _ranked(name, values)
            every = np.array([_correlate(name, columns, ranks, order) for order in permuted])
            # a table without any variation has no correlation; the mean is over those that have one
            defined = np.isfinite(every[0])
            together = every[:, defined].mean(axis=1) if defined.any() else np.full(len(every), np.nan)
            every = np.column_stack([every, together])
            found[0, t, kind] = every[0]
            # an order that mathematically equals the observed counts, whatever rounding made of it
            reached = (np.abs(every) >= np.abs(every[0]) - 1e-12).mean(axis=0)
            found[1, t, kind] = np.where(np.isfinite(every[0]), reached, np.nan)
    dims = ("scores", "kind", "model")
    return xr.Dataset(
        {"correlation": (dims, found[0]), "p": (dims, found[1])},
        coords={"scores": list(tables), "kind": list(KINDS), "model": [*others, "all"]},
        attrs={"models": int(known.sum()), "orders": len(permuted) - 1},
    )


def _orders(n: int, count: int, seed: int) -> np.ndarray:
    """The identity, then random orders; or all, the identity first."""
    if math.factorial(n) - 1 <= count:
        return np.array(list(itertools.permutations(range(n))))
    rng = np.random.default_rng(seed)
    return np.array([np.arange(n), *(rng.permutation(n) for _ in range(count))])


def _scores_of(kind: str, table: np.ndarray) -> list[np.ndarray]:
    return [_ranked(kind, column) for column in table.T]


def _ranked(kind: str, values: np.ndarray) -> np.ndarray:
    """What a rank correlation is the cosine of: signs of all differences, or centred ranks; unit length."""
    from scipy import stats  # slow to import, and needed here alone

    if np.isnan(values).any():
        return np.full((len(values),) * (2 if kind == "kendall" else 1), np.nan)
    if kind == "kendall":
        made = np.sign(values[:, None] - values[None, :])
    else:
        made = stats.rankdata(values)
        made = made - made.mean()
    norm = np.linalg.norm(made)
    return made / norm if norm > 0 else np.full_like(made, np.nan)


def _correlate(kind: str, columns: list[np.ndarray], ranks: np.ndarray, order: np.ndarray) -> list[float]:
    again = ranks[np.ix_(order, order)] if kind == "kendall" else ranks[order]
    return [float(np.vdot(column, again)) for column in columns]
