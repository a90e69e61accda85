"""Does alignment grow with what models can do? Rank correlation of alignment with a covariate of the models."""

import numpy as np
import xarray as xr

from ..null.model_orders import model_orders
from ..numerics.whole import check_whole
from ..results.alignment import Alignment
from ..results.covariates import Covariate, covariate_values
from ..results.tables import self_cells

KINDS = ("kendall", "spearman")


def trend(
    result: Alignment,
    metric: str,
    covariate: Covariate = None,
    *,
    side: str = "x",
    orders: int = 9999,
    seed: int = 0,
    by: Covariate = None,
) -> xr.Dataset:
    """Correlate alignment with a covariate of the models of one side (Kendall's tau-b and Spearman).

    Parameters
    ----------
    result
        Scores of the models.
    metric
        One of the result's metrics.
    covariate
        A number for each model of the side: by model, in their order, or the name under which `Alignment.assign` gave
        it or extraction recorded it (`params`, `bits_per_byte`, `loss` ...). "step" is also read from revisions and
        labels (`pythia-70m@step1000`). Models without a number are left out.
    side
        The side of these models, "x" or "y".
    orders
        Number of permutations of the covariate, the same for all correlations; every permutation if there are no more.
    seed
        Seed of the permutations.
    by
        The covariate as a keyword: `trend(result, "cka", by="params")`.

    Returns
    -------
    Dataset
        `correlation` and `p` (two-sided, add-one) with dimensions `scores` ("raw", and "calibrated" if the result has a
        calibration), `kind` and `model`: each model of the other side, and "all" for their mean. Correlations are
        negative if a smaller number is better, as for bits per byte. They are NaN if scores are all equal.

    Raises
    ------
    ValueError
        If the covariate is not known, or too few models have one.

    Notes
    -----
    A model with itself is not counted. If both sides share models, the correlation with one of them is over the others.
    "all" is then the correlation of each model's mean score with the models of the other side except itself. If the
    metric is not symmetric, a model of x is the first of the two in all of its scores with side="x", and a model of y
    the second with side="y".

    p for "all" permutes models, so that it does not count the models of the other side as independent.
    """
    check_whole(1, orders=orders)
    check_whole(seed=seed)
    if side not in ("x", "y"):
        raise ValueError(f"A side is 'x' or 'y', got {side!r}.")
    if (covariate is None) == (by is None):
        raise ValueError('A trend is along one covariate: by="params", or numbers by model or in their order.')
    raw = result.scores(metric).transpose(f"model_{side}", ...)
    tables = {"raw": raw}
    if result.calibration is not None:
        tables["calibrated"] = result.calibrated_pairs(metric)["calibrated"].transpose(f"model_{side}", ...)
    models = [str(m) for m in raw[f"model_{side}"].values]
    others = [str(m) for m in raw["model_y" if side == "x" else "model_x"].values]
    values = covariate_values(result, models, by if covariate is None else covariate, side)
    known = np.isfinite(values)
    if known.sum() < 3 or len(set(values[known])) < 2:
        raise ValueError(
            f"A trend needs at least 3 models with a number, not all equal; {int(known.sum())} of {len(models)} have "
            "one."
        )
    values = values[known]
    apart = ~self_cells(raw)[known]
    permuted = model_orders(len(values), orders, seed)
    found = np.empty((2, len(tables), len(KINDS), len(others) + 1))
    for t, table in enumerate(tables.values()):
        scores = table.values[known].astype(float)
        for kind, name in enumerate(KINDS):
            every = np.column_stack(
                [_correlations(name, scores[rows, j], values[rows], permuted, rows) for j, rows in enumerate(apart.T)]
            )
            if apart.all():
                # a table without any variation has no correlation; the mean is over those that have one
                defined = np.isfinite(every[0])
                together = every[:, defined].mean(axis=1) if defined.any() else np.full(len(every), np.nan)
            else:
                means = _means(scores, apart)
                rows = np.isfinite(means)
                together = _correlations(name, means[rows], values[rows], permuted, rows)
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


def _means(scores: np.ndarray, apart: np.ndarray) -> np.ndarray:
    """The mean of each row over the pairs of different models that have a score; NaN where there are none."""
    known = apart & np.isfinite(scores)
    count = known.sum(axis=1)
    return np.where(count > 0, np.where(known, scores, 0).sum(axis=1) / np.maximum(count, 1), np.nan)


def _correlations(
    kind: str, scores: np.ndarray, values: np.ndarray, orders: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """The correlation of scores with the values of the same models in each order; NaN for fewer than three.

    orders  of all models; those of a part of them (`rows`) come in the same sequence
    """
    if len(scores) < 3:
        return np.full(len(orders), np.nan)
    place = np.cumsum(rows) - 1
    chosen = place[orders[rows[orders]].reshape(len(orders), len(scores))]
    column, ranks = _ranked(kind, scores), _ranked(kind, values)
    again = (ranks[np.ix_(order, order)] if kind == "kendall" else ranks[order] for order in chosen)
    return np.array([float(np.vdot(column, each)) for each in again])


def _ranked(kind: str, values: np.ndarray) -> np.ndarray:
    """Vector of which a rank correlation is the cosine: signs of all differences, or centred ranks; unit length."""
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
