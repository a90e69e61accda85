"""Mantel tests: correlations by numpy, every permutation by brute force, and what chance gives."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from made_results import edited, made_result
from scipy import stats

from prh_jax import mantel


def distances(rng, n, of=None, share=0.0):
    places = rng.normal(size=(n, 3)) if of is None else of + share * rng.normal(size=of.shape)
    return np.linalg.norm(places[:, None] - places, axis=-1), places


def three(n=5, seed=0):
    rng = np.random.default_rng(seed)
    a, places = distances(rng, n)
    b, _ = distances(rng, n, places, 0.7)
    c, _ = distances(rng, n, places, 1.5)
    return a, np.round(2 * b) / 2, c


def residuals(y, x):
    design = np.column_stack([np.ones(len(x)), x])
    return y - design @ np.linalg.lstsq(design, y, rcond=None)[0]


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_correlation_and_p_are_those_of_every_permutation(method):
    a, b, _ = three()
    upper = np.triu_indices(5, 1)
    plain = getattr(stats, f"{method}r")
    every = np.array([plain(a[np.ix_(o, o)][upper], b[upper])[0] for o in itertools.permutations(range(5))])
    found = mantel(a, b, method=method)
    assert found.correlation == pytest.approx(every[0], abs=1e-12)
    assert found[2:] == (5, 20, 120, True)
    assert found.p == pytest.approx((np.abs(every) >= abs(every[0]) - 1e-9).mean())
    assert mantel(a, b, method=method, alternative="less").p == pytest.approx((every <= every[0] + 1e-9).mean())
    drawn = mantel(a, b, method=method, orders=99, seed=3)
    assert not drawn.exact and drawn.orders == 99 and drawn.p * 100 == pytest.approx(round(drawn.p * 100))


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_the_partial_one_is_of_residuals(method):
    """The residuals of a are permuted, and regressed on the control again, one permutation at a time."""
    tables = three(seed=4)
    upper = np.triu_indices(5, 1)
    a, b, c = (each[upper] if method == "pearson" else stats.rankdata(each[upper]) for each in tables)
    left = np.zeros((5, 5))
    left[upper] = residuals(a, c)
    left += left.T
    every = np.array(
        [
            stats.pearsonr(residuals(left[np.ix_(o, o)][upper], c), residuals(b, c))[0]
            for o in itertools.permutations(range(5))
        ]
    )
    ab, ac, bc = (np.corrcoef(*pair)[0, 1] for pair in ((a, b), (a, c), (b, c)))
    found = mantel(*tables, method=method)
    assert found.correlation == pytest.approx((ab - ac * bc) / math.sqrt((1 - ac**2) * (1 - bc**2)), abs=1e-12)
    assert found.correlation == pytest.approx(every[0], abs=1e-12)
    assert found.p == pytest.approx((np.abs(every) >= abs(every[0]) - 1e-9).mean())
    assert math.isnan(mantel(tables[0], tables[1], tables[1]).correlation)


def test_two_sides_are_permuted_independently():
    rng = np.random.default_rng(1)
    a = rng.normal(size=(3, 4))
    b = a + rng.normal(size=(3, 4))
    orders = itertools.product(itertools.permutations(range(3)), itertools.permutations(range(4)))
    every = np.array([np.corrcoef(a[np.ix_(r, c)].ravel(), b.ravel())[0, 1] for r, c in orders])
    found = mantel(a, b)
    assert found.correlation == pytest.approx(every[0]) and found[2:] == (7, 12, 144, True)
    assert found.p == pytest.approx((np.abs(every) >= abs(every[0]) - 1e-9).mean())
    assert not mantel(a, b, orders=142).exact and mantel(a, b, orders=143).exact


def test_models_are_matched_by_label():
    a, b, _ = three()
    names, turned = list("pqrst"), [3, 1, 4, 0, 2]
    labelled = pd.DataFrame(a, names, names)
    other = xr.DataArray(
        b[np.ix_(turned, turned)],
        dims=("model_x", "model_y"),
        coords={dim: [names[i] for i in turned] for dim in ("model_x", "model_y")},
    )
    assert mantel(labelled, other) == mantel(a, b)
    assert mantel(labelled, other[:, ::-1]) == mantel(a, b)
    with pytest.raises(ValueError, match="only one of two matrices has s, t"):
        mantel(labelled, other.sel(model_x=list("pqr"), model_y=list("pqr")))
    with pytest.raises(ValueError, match="share some models"):
        mantel(*[pd.DataFrame(np.arange(12.0).reshape(3, 4), list("abc"), list("bcde"))] * 2)
    with pytest.raises(ValueError, match="at least 3 models"):
        mantel(np.eye(2), np.eye(2))
    with pytest.raises(ValueError, match=r"\(4, 4\) and \(5, 5\)"):
        mantel(a, b[:4, :4])
    lacking = labelled.copy()
    lacking.loc["p", "r"] = np.nan
    with pytest.raises(ValueError, match=r"'p' and 'r' have no score \(nan; 1 cells"):
        mantel(lacking, b)


def test_two_metrics_of_a_result():
    """By a metric and a distance: a positive correlation if the same models are close by both."""
    near, far, _ = three()
    tables = {"cka": -near, "imd": far}
    models = dict.fromkeys("pqrst", 1)
    result = made_result(models, models, tuple(tables), score=lambda metric, i, j: tables[metric][i, j])
    with edited(result) as protocol:
        protocol["metrics"]["cka"]["symmetric"] = protocol["metrics"]["imd"]["symmetric"] = True
        protocol["metrics"]["imd"]["larger_is_closer"] = False
    found = mantel(result, metric=("cka", "imd"))
    assert found.correlation == pytest.approx(mantel(near, far).correlation, abs=1e-6) and found.correlation > 0.3
    assert mantel(result.scores("cka"), result.scores("imd")).correlation == pytest.approx(-found.correlation)
    assert mantel(result, result, metric=("cka", "imd")) == found
    partial = mantel(result, control=three()[2], metric=("cka", "imd"))
    assert partial.correlation == pytest.approx(mantel(near, far, three()[2]).correlation, abs=1e-6)
    for words, given in (
        ("compared with itself", {"metric": "cka"}),
        ("2 matrices, but 3 metrics", {"metric": ("cka", "imd", "cka")}),
        ("method is one of", {"method": "kendall"}),
    ):
        with pytest.raises(ValueError, match=words):
            mantel(result, **given)
    with pytest.raises(ValueError, match="needs two matrices"):
        mantel(near)


@pytest.mark.parametrize("controlled", [False, True])
def test_p_is_uniform_if_matrices_are_independent(controlled):
    """Given the control, in the second case: both matrices grow with it."""
    rng = np.random.default_rng(5)
    found = []
    for _ in range(200):
        a, b, c = (distances(rng, 8)[0] for _ in range(3))
        found.append(mantel(a + c, b + c, c, orders=99).p if controlled else mantel(a, b, orders=99).p)
    for level in (0.1, 0.3):
        low, high = stats.binom.interval(0.999, len(found), level)
        assert low <= (np.array(found) <= level).sum() <= high
