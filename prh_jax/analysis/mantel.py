"""Do two metrics, or two data sets, order the models alike? Mantel and partial Mantel tests."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..null.model_orders import model_orders, share_reached
from ..numerics.whole import check_whole
from ..results.alignment import Alignment
from ..results.group_pairs import score_table
from ..results.reduce import How
from ..results.wording import lead_metric
from ..runtime.host import quiet_blas
from ..stores.shown import some_names

METHODS = ("pearson", "spearman")
ALTERNATIVES = ("two-sided", "greater", "less")


class Mantel(NamedTuple):
    """The correlation of two matrices of model pairs, as `mantel` returns it.

    Parameters
    ----------
    correlation
        Correlation over the model pairs, partial if there is a control. NaN if a matrix does not vary.
    p
        Share of the permutations of the models whose correlation is at least as extreme.
    models
        Number of models: of both sides together if the sides differ.
    pairs
        Number of cells that are correlated. Both orders of two models of one set are two cells.
    orders
        Number of random permutations, or of all permutations.
    exact
        Whether all permutations were compared.
    """

    correlation: float
    p: float
    models: int
    pairs: int
    orders: int
    exact: bool


class _Matrix(NamedTuple):
    """A table of model pairs, with the labels of its rows and columns if they are known."""

    values: np.ndarray
    rows: list[str] | None
    columns: list[str] | None


def mantel(
    a: Any,
    b: Any = None,
    control: Any = None,
    *,
    metric: str | Sequence[str] | None = None,
    method: str = "pearson",
    alternative: str = "two-sided",
    values: str = "score",
    how: How = "best",
    orders: int = 9999,
    seed: int = 0,
) -> Mantel:
    """Correlate two matrices of model pairs, and test the correlation by permuting models (Mantel test).

    Parameters
    ----------
    a, b
        Results (`Alignment`), or tables of model pairs: pandas frames, labelled arrays such as `result.scores("cka")`,
        or arrays (models, models). Models are matched by label, and arrays without labels have them in the same order.
        If `b` is None, it is the result `a`, by another metric.
    control
        A third matrix: the correlation is then the partial one, of the two residuals of a regression on it.
    metric
        The metric of all results, or names for `a`, `b` and `control`, in this order; the metric that a report shows
        first if None.
    method
        "pearson", or "spearman" for ranks.
    alternative
        "two-sided", or "greater" or "less" for a correlation that is greater or less than by chance.
    values, how
        As in `compare_groups`, for results. The scores of a distance are turned round, so that a positive correlation
        means that both are close for the same models. Tables are taken as they are.
    orders
        Number of random permutations of the models; every permutation once if there are no more.
    seed
        Seed of the permutations.

    Returns
    -------
    Mantel
        Correlation, p, and the numbers of models, cells and permutations.

    Raises
    ------
    ValueError
        If the matrices have different models, fewer than three, or a pair of two models without a score (NaN), or if
        both sides of a matrix share only some models.

    Notes
    -----
    If rows and columns are one set of models, both are permuted together, and a model with itself is left out. If they
    have no model in common, models of x and models of y are permuted independently: the null hypothesis is then that
    neither side's models have anything to do with their scores in the other matrix. Permuting one side alone would
    test that side.

    p is `(1 + reached) / (1 + orders)`, or the exact share if all permutations are compared (up to 7 models by
    default).

    The partial correlation is that of Smouse et al. (1986). The permutations are of the residuals of `a`, whose
    regression on the control is repeated each time (Legendre 2000, method 2). Partial Mantel tests reject too often if
    both matrices are autocorrelated, as between models of common descent (Guillot and Rousset 2013): take a small p as
    a hint.

    References
    ----------
    Mantel (1967), "The detection of disease clustering and a generalized regression approach", Cancer Research 27.
    Smouse, Long and Sokal (1986), "Multiple regression and correlation extensions of the Mantel test of matrix
    correspondence", Systematic Zoology 35.
    Legendre (2000), "Comparison of permutation methods for the partial correlation and partial Mantel tests", Journal
    of Statistical Computation and Simulation 67.
    Guillot and Rousset (2013), "Dismantling the Mantel tests", Methods in Ecology and Evolution 4.

    Examples
    --------
    >>> import numpy as np
    >>> places = np.array([0.0, 1.0, 3.0, 7.0])
    >>> apart = np.abs(places[:, None] - places)
    >>> found = mantel(apart, 2 * apart + 1)
    >>> round(found.correlation, 6), found.orders, found.exact
    (1.0, 24, True)
    """
    check_whole(1, orders=orders)
    check_whole(seed=seed)
    if method not in METHODS or alternative not in ALTERNATIVES:
        raise ValueError(
            f"method is one of {', '.join(METHODS)}, and alternative one of {', '.join(ALTERNATIVES)}; got {method!r} "
            f"and {alternative!r}."
        )
    given = [a, a if b is None else b, *([] if control is None else [control])]
    if b is None and not isinstance(a, Alignment):
        raise ValueError("A Mantel test needs two matrices: give b, or a result and two metrics.")
    names: list[str | None] = [metric] * len(given) if metric is None or isinstance(metric, str) else list(metric)
    names += [None] * (len(given) - len(names))
    if len(names) != len(given):
        raise ValueError(f"There are {len(given)} matrices, but {len(names)} metrics ({', '.join(map(str, names))}).")
    if b is None and names[0] == names[1]:
        raise ValueError("One result by one metric is compared with itself: give b, or metric= two names.")
    tables, one_set = _matched([_matrix(each, name, values, how) for each, name in zip(given, names, strict=True)])
    apart = np.ones(tables[0].shape, bool)
    if one_set:
        np.fill_diagonal(apart, False)
    units = [_unit(_ranks(table, apart) if method == "spearman" else table, apart) for table in tables]
    rows, columns, exact = _orders(apart.shape, orders, seed, one_set=one_set)
    found = _correlations(units, rows, columns)
    turned = {"two-sided": np.abs(found), "greater": found, "less": -found}[alternative]
    models = len(apart) if one_set else sum(apart.shape)
    done = len(rows) - (0 if exact else 1)
    return Mantel(float(found[0]), share_reached(turned), models, int(apart.sum()), done, exact)


def _matrix(given: Any, metric: str | None, values: str, how: How) -> _Matrix:
    """A result or a table as numbers and labels."""
    if isinstance(given, Alignment):
        name = lead_metric(given.metrics) if metric is None else metric
        sign = 1 if values == "calibrated" else given.provenance.sign(name)
        table = sign * score_table(given, name, values, how)
        if given.is_symmetric(name):
            table = table.ravel()[given.model_pairs(name).first]  # an order that was not scored has the other's score
        return _Matrix(table, given.models_x, given.models_y)
    if hasattr(given, "columns") and hasattr(given, "index"):
        axes = [given.index, given.columns]
        return _Matrix(_square(given.to_numpy()), *([str(label) for label in axis] for axis in axes))
    if hasattr(given, "dims"):
        axes = [[str(label) for label in given[d].values] if d in given.coords else None for d in given.dims]
        return _Matrix(_square(given.values), *axes) if len(axes) == 2 else _Matrix(_square(given.values), None, None)
    return _Matrix(_square(given), None, None)


def _square(values: Any) -> np.ndarray:
    table = np.asarray(values, float)
    if table.ndim != 2:
        raise ValueError(f"A matrix of model pairs has 2 dimensions, got an array of shape {table.shape}.")
    return table


def _matched(matrices: list[_Matrix]) -> tuple[list[np.ndarray], bool]:
    """The tables with models in the order of the first, and whether rows and columns are one set of models."""
    known = next((each for each in matrices if each.rows is not None and each.columns is not None), None)
    made = []
    for each in matrices:
        table = each.values
        if known is not None and each.rows is not None and each.columns is not None:
            rows, columns = (_places(*labels) for labels in ((each.rows, known.rows), (each.columns, known.columns)))
            table = table[np.ix_(rows, columns)]
        made.append(table)
    shapes = {table.shape for table in made}
    if len(shapes) > 1:
        raise ValueError(f"The matrices have {' and '.join(map(str, sorted(shapes)))} models: give those of the same.")
    shape = made[0].shape
    if known is None:
        one_set, named = shape[0] == shape[1], (range(shape[0]), range(shape[1]))
    else:
        named = known.rows or [], known.columns or []
        shared = set(named[0]) & set(named[1])
        one_set = bool(shared)
        if shared and set(named[0]) != set(named[1]):
            raise ValueError(
                f"Rows and columns share some models ({some_names(sorted(shared))}) and not all. Choose one set of "
                "models for both, or two without a common model (Alignment.sel)."
            )
    if one_set and list(named[0]) != list(named[1]):
        again = _places(list(map(str, named[1])), list(map(str, named[0])))
        made, named = [table[:, again] for table in made], (named[0], named[0])
    if min(shape) < (3 if one_set else 2) or shape[0] * shape[1] < 6:
        raise ValueError(f"A Mantel test needs at least 3 models, or 2 and 3 of two sides; there are {shape}.")
    for table in made:
        lacking = ~np.isfinite(table) & ~(np.eye(shape[0], dtype=bool) if one_set else np.zeros(shape, bool))
        if lacking.any():
            i, j = np.argwhere(lacking)[0]
            raise ValueError(
                f"Models {named[0][i]!r} and {named[1][j]!r} have no score ({table[i, j]}; {lacking.sum()} cells in "
                "all): leave one of them out (Alignment.sel)."
            )
    return made, one_set


def _places(labels: list[str], wanted: list[str] | None) -> list[int]:
    """Where the wanted labels are; ValueError unless both are the same set."""
    wanted = wanted or []
    lacking = [label for label in wanted if label not in labels] or [label for label in labels if label not in wanted]
    if lacking or len(set(labels)) < len(labels) or len(labels) != len(wanted):
        twice = [label for label in labels if labels.count(label) > 1]
        why = f"only one of two matrices has {some_names(lacking)}" if lacking else f"{some_names(twice)} occurs twice"
        raise ValueError(f"Models are matched by label, and {why}: choose the same models (Alignment.sel).")
    return [labels.index(label) for label in wanted]


def _ranks(table: np.ndarray, apart: np.ndarray) -> np.ndarray:
    from scipy import stats  # slow to import, and needed here alone

    made = np.zeros(table.shape)
    made[apart] = stats.rankdata(table[apart])
    return made


def _unit(table: np.ndarray, apart: np.ndarray) -> np.ndarray:
    """The cells centred and of length one, 0 on the diagonal; NaN if they are all equal."""
    cells = table[apart]
    made = np.zeros(table.shape)
    cells = cells / (np.abs(cells).max() or 1)  # no square leaves the range of floats
    cells = cells - cells.mean()
    length = np.linalg.norm(cells) if np.ptp(table[apart]) > 0 else 0
    made[apart] = cells / length if length > 0 else np.nan
    return made


def _orders(shape: Any, count: int, seed: int, *, one_set: bool) -> tuple[np.ndarray, np.ndarray, bool]:
    """Orders of rows and of columns, the identity first, and whether they are all."""
    n, m = shape
    if one_set:
        orders = model_orders(n, count, seed)
        return orders, orders, math.factorial(n) - 1 <= count
    if math.factorial(n) * math.factorial(m) - 1 <= count:
        rows, columns = model_orders(n, count, seed), model_orders(m, count, seed)
        return np.repeat(rows, len(columns), axis=0), np.tile(columns, (len(rows), 1)), True
    rng = np.random.default_rng(seed)
    drawn = ([rng.permutation(n), rng.permutation(m)] for _ in range(count))
    rows, columns = zip([np.arange(n), np.arange(m)], *drawn, strict=True)
    return np.array(rows), np.array(columns), False


def _correlations(units: list[np.ndarray], rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The (partial) correlation for each order of the models of the first matrix."""
    a, b, *controls = units
    if controls:
        (c,) = controls
        a, b = (each - c * np.vdot(c, each) for each in (a, b))
        degenerate = min(np.linalg.norm(a), np.linalg.norm(b)) < 1e-7
        a, b = (np.full(a.shape, np.nan) if degenerate else each / np.linalg.norm(each) for each in (a, b))
    with quiet_blas():  # several threads of BLAS wait for each other longer than so short a product takes
        products = [_products(a, matrix, rows, columns) for matrix in (b, *controls)]
    if controls:
        return products[0] / np.sqrt(np.maximum(1 - products[1] ** 2, 1e-30))
    return products[0]


def _products(a: np.ndarray, b: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """`sum_ij a[row_i, column_j] b[i, j]` for each order: two gathers into one place are faster than one of cells."""
    half, whole, fixed, dot = np.empty_like(a), np.empty_like(a), b.ravel(), np.dot
    flat, found = whole.ravel(), []
    for row, column in zip(rows, columns, strict=True):
        a.take(row, 0, half, "clip")
        half.take(column, 1, whole, "clip")
        found.append(dot(flat, fixed))
    return np.array(found)
