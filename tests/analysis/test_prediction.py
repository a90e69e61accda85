"""Nested ridge regression is what regressions fitted one by one give, and never sees what it predicts."""

import numpy as np
import pytest
from inputs import make_store

from prh_jax import ridge_prediction
from prh_jax.metrics.out_of_sample.folds import split
from prh_jax.null.orders import make_orders

RIDGES = [1e-3, 0.1, 3.0]


def regress(x, y, penalty, others):
    """Ridge regression with an intercept, by the normal equations."""
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    z = x - mean_x
    weights = np.linalg.solve(z.T @ z + penalty * np.eye(x.shape[1]), z.T @ (y - mean_y))
    return (others - mean_x) @ weights + mean_y


def one_by_one(x, y, folds):
    """Correlations, shares of variance and penalties of each target, every regression fitted anew."""
    n = len(y)
    rs, logs, wrong, usual = [], [], np.zeros(y.shape[1]), np.zeros(y.shape[1])
    for part in folds:
        train = np.setdiff1d(np.arange(n), part)
        unit = x[train].var(axis=0).sum()
        errors = np.zeros((len(RIDGES), y.shape[1]))
        for r, ridge in enumerate(RIDGES):
            for i in train:
                rest = train[train != i]
                errors[r] += (regress(x[rest], y[rest], ridge * unit, x[[i]])[0] - y[i]) ** 2
        best = errors.argmin(axis=0)
        columns = [regress(x[train], y[train][:, [j]], RIDGES[b] * unit, x[part]) for j, b in enumerate(best)]
        guess = np.concatenate(columns, axis=1)
        rs.append([np.corrcoef(guess[:, j], y[part, j])[0, 1] for j in range(y.shape[1])])
        logs.append(np.log([RIDGES[b] for b in best]))
        wrong += ((guess - y[part]) ** 2).sum(axis=0)
        usual += ((y[train].mean(axis=0) - y[part]) ** 2).sum(axis=0)
    return np.mean(rs, axis=0), 1 - wrong / usual, np.exp(np.mean(logs, axis=0))


def draw(n=32, d=6, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)).astype(np.float32).astype(float)
    y = x @ rng.normal(size=(d, 3)) * [1.0, 0.3, 0] + rng.normal(size=(n, 3))
    return x, y.astype(np.float32).astype(float)


@pytest.mark.parametrize("d", [6, 40])
def test_predictions_are_those_of_regressions_fitted_one_by_one(d):
    """Fewer features than samples, and more."""
    x, y = draw(d=d)
    found = ridge_prediction(x, y, ridges=RIDGES, folds=4, seed=3)
    expected = one_by_one(x, y, split(len(y), 4, 3))
    for name, values in zip(("r", "r2", "ridge"), expected, strict=True):
        np.testing.assert_allclose(found[name].values[0], values, rtol=1e-5, atol=1e-6)
    assert found["mean_r"].item() == pytest.approx(expected[0].mean(), abs=1e-6)


def test_the_null_repeats_the_procedure_with_permuted_targets():
    x, y = draw()
    layers = [x, x[:, :2]]
    found = ridge_prediction(layers, y, ridges=RIDGES, folds=4, null=6, seed=5)
    for order, row in zip(make_orders(len(y), 6, 5), found["null"].values, strict=True):
        expected = [one_by_one(z, y[order], split(len(y), 4, 5))[0].mean() for z in layers]
        np.testing.assert_allclose(row, expected, atol=1e-6)
    null, observed = found["null"].values, found["mean_r"].values
    np.testing.assert_array_equal(found["p"].values, (1 + (null >= observed).sum(axis=0)) / 7)
    assert found.attrs["p_best"] == (1 + (null.max(axis=1) >= observed.max()).sum()) / 7


def test_p_is_uniform_if_there_is_nothing_to_predict():
    rng = np.random.default_rng(0)
    p = [
        ridge_prediction(rng.normal(size=(24, 5)), rng.normal(size=24), ridges=[1.0], folds=3, null=19)["p"].item()
        for _ in range(100)
    ]
    # the mean of 20 equally likely values, with a standard error of 0.029; 5 of 100 are expected below 0.05
    assert np.mean(p) == pytest.approx(0.525, abs=0.1) and sum(value <= 0.05 for value in p) <= 13


def test_a_group_is_in_one_fold_and_its_twins_predict_nothing():
    twins = np.repeat(np.arange(20), 2)
    rng = np.random.default_rng(1)
    wide, y = (np.repeat(rng.normal(size=(20, d)), 2, axis=0) for d in (200, 1))
    for part in split(40, 5, 0, twins.tolist()):
        assert len(part) == 8 and set(np.bincount(twins[part], minlength=20)) == {0, 2}
    apart, together = ridge_prediction(wide, y, groups=twins), ridge_prediction(wide, y)
    assert together["mean_r2"].item() > 0.5 > 0.2 > apart["mean_r2"].item()


def test_layers_of_stores_keep_their_names(tmp_path):
    store = make_store(tmp_path / "m.zarr", "m", (5, 7))
    found = ridge_prediction(store.path, np.arange(float(store.n)), folds=2)
    assert found["layer"].values.tolist() == [layer.name for layer in store.layers]


def test_units_of_targets_and_features_do_not_matter():
    x, y = draw()
    plain = ridge_prediction(x, y, ridges=RIDGES, folds=4)
    for factor, offset, width in ((1e-8, 0, 1e-20), (1e200, 0, 1e20), (1, 1e6, 1)):
        other = ridge_prediction(x * width, y * factor + offset, ridges=RIDGES, folds=4)
        for name in ("r", "r2", "ridge"):
            np.testing.assert_allclose(other[name], plain[name], rtol=1e-5, atol=1e-6)
    constant = ridge_prediction(x, np.column_stack([y, np.ones(32)]), ridges=RIDGES, folds=4)
    assert np.isnan(constant["r"].values[0, 3]) and np.isnan(constant["r2"].values[0, 3])
    assert constant["mean_r"].item() == pytest.approx(plain["mean_r"].item())


def test_what_cannot_be_predicted_is_refused():
    x, y = draw()
    with pytest.raises(ValueError, match=r"\[31, 32\] rows"):
        ridge_prediction(x, y[:31])
    with pytest.raises(ValueError, match="finite"):
        ridge_prediction(x, np.where(y > 1, np.nan, y))
    with pytest.raises(ValueError, match="above 0"):
        ridge_prediction(x, y, ridges=[0.0])
    with pytest.raises(ValueError, match="from 2 to 8 folds"):
        ridge_prediction(x, y, folds=9)
    with pytest.raises(ValueError, match="too unequal for 2 folds"):
        ridge_prediction(x, y, groups=[0] * 31 + [1], folds=2)
    with pytest.raises(ValueError, match="give null=0"):
        ridge_prediction(x, y, groups=np.repeat([0, 1, 2], [5, 10, 17]), folds=2, null=9)
    with pytest.raises(ValueError, match="no layer"):
        ridge_prediction([], y)
    with pytest.raises(ValueError, match="fewer than 5 folds"):
        ridge_prediction(x, y, groups=[0, 1] * 16)
