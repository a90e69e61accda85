"""Dimensions of layers: oracles, spectra that are known, standard errors, and samples that are equal."""

import json
import warnings

import numpy as np
import pytest
from inputs import GOLDEN
from oracles import dimension as oracle
from scipy.linalg import hadamard

import prh_jax
from prh_jax import Preprocess, StoreError
from prh_jax.results.description import layer_cells

ALL = ["two_nn", "maximum_likelihood", "participation_ratio", "effective_rank"]


def describe(x, *estimators, **settings):
    return prh_jax.describe(x, list(estimators) or None, progress=False, **settings)


def values(x, *estimators, **settings):
    return describe(x, *estimators, splits=0, **settings).dataset["value"].values[0]


def expected(x, k=20, discard=0.1):
    x = np.asarray(x, np.float64)
    table = oracle.distances(x)
    nearest = oracle.two_nn(table, discard), oracle.maximum_likelihood(table, k)
    return [*nearest, oracle.participation_ratio(x), oracle.effective_rank(x)]


def layer(n, d, seed=0, power=0.5):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, d)) * np.arange(1, d + 1) ** -power).astype(np.float32)


CLUSTERS = (layer(160, 12) / 100 + 100 * np.repeat([[1.0], [-1.0]], 80, axis=0)).astype(np.float32)
"""Within a cluster all digits of distances are lost in float32 products."""


def test_values_are_those_of_dadapy_and_scikit_dimension():
    inputs = np.load(GOLDEN / "inputs.npz", allow_pickle=False)
    found = [entry for entry in json.loads((GOLDEN / "packages.json").read_text())["values"] if "estimator" in entry]
    assert {entry["estimator"] for entry in found} == set(ALL) - {"effective_rank"} and len(found) == 8
    for entry in found:
        x = inputs[f"{entry['pair']}_X"].astype(np.float64)
        np.testing.assert_allclose(values(x, entry["estimator"]), [entry["value"]], rtol=1e-6, err_msg=str(entry))


@pytest.mark.parametrize(
    "x, settings",
    [
        (layer(600, 12), {}),  # more rows than a block
        (layer(90, 200), {"k": 5, "discard": 0.3}),
        (layer(90, 30) + 1000, {"k": 3, "discard": 0}),  # float32 products lose all digits of distances
        (np.vstack([z := layer(60, 30), z + 1e-4 * layer(60, 30, 1)]).astype(np.float32), {}),  # near to one another
        (CLUSTERS, {"k": 4}),
        (layer(90, 30).astype(np.float16), {}),
    ],
    ids=["tall", "wide", "far from zero", "twins", "clusters", "float16"],
)
def test_values_are_those_of_the_oracles(x, settings):
    np.testing.assert_allclose(values(x, **settings), expected(x, **settings), rtol=1e-8)


def test_preprocessing_is_that_of_a_study():
    x = layer(90, 30)
    preprocess = Preprocess(clip_quantile=0.8)
    kept = np.clip(x.astype(float), *(preprocess.thresholds(_source(x))[0] * np.array([-1.0, 1.0])))
    kept /= np.linalg.norm(kept, axis=1, keepdims=True)
    np.testing.assert_allclose(values(x, preprocess=preprocess), expected(kept), rtol=1e-8)
    assert abs(values(x)[3] - values(x, preprocess=preprocess)[3]) > 0.1


def _source(x):
    from prh_jax.stores.source import GivenLayers

    return GivenLayers([x])


@pytest.mark.parametrize("width", [20, 100], ids=["narrow", "wide"])
def test_spectra_that_are_known(width):
    """Columns of a Hadamard matrix are orthogonal and, but the first, have mean zero."""
    scale = 2.0 ** -np.arange(10)
    x = np.zeros((64, width), np.float32)
    x[:, :10] = hadamard(64)[:, 1:11] * scale + 5
    ratio, rank = values(x, "participation_ratio", "effective_rank")
    assert ratio == pytest.approx((scale**2).sum() ** 2 / (scale**4).sum(), rel=1e-12)
    shares = scale / scale.sum()
    assert rank == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-9)
    x[:, :10] = hadamard(64)[:, 1:11]
    np.testing.assert_allclose(values(x, "participation_ratio", "effective_rank"), [10, 10], rtol=1e-9)


@pytest.mark.parametrize("x", [layer(160, 12), CLUSTERS], ids=["one", "clusters"])
def test_standard_errors_of_nearest_neighbours_are_those_of_halves(x):
    errors = describe(x, k=6, splits=9, seed=3).dataset["standard_error"].values[0]
    table = oracle.distances(x.astype(float))
    for error, estimate in zip(errors, (oracle.two_nn, lambda t: oracle.maximum_likelihood(t, 6)), strict=False):
        assert error == pytest.approx(oracle.error_by_halves(estimate, table, 9, seed=3), rel=1e-3)
    assert np.isnan(describe(x, splits=0).dataset["standard_error"]).all()


@pytest.mark.parametrize(("n", "d"), [(80, 12), (40, 60)])
def test_standard_errors_of_spectra_are_those_of_derivatives(n, d):
    x = layer(n, d)
    found = describe(x, *ALL[2:]).dataset["standard_error"].values[0]
    wanted = [oracle.error_by_weights(of, x) for of in (oracle.participation_ratio, oracle.effective_rank)]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.slow
def test_errors_cover_the_expected_value():
    """Of 60 draws nominal 95 % cover 52 or more in all but one of a hundred cases."""
    found = [describe(layer(256, 60, seed, 0.7)).dataset for seed in range(60)]
    value, error = (np.array([f[name].values[0] for f in found]) for name in ("value", "standard_error"))
    covered = (np.abs(value - value.mean(axis=0)) < 1.96 * error).sum(axis=0)
    assert (covered >= 52).all(), covered
    ratio = np.sqrt((error**2).mean(axis=0)) / value.std(axis=0, ddof=1)
    assert (ratio > 0.75).all() and (ratio < 1.35).all(), ratio


def test_equal_samples_count_once():
    x = layer(80, 10)
    many = np.concatenate([x, np.repeat(x[:1], 70, axis=0), x[5:7]])
    many = many[np.random.default_rng(0).permutation(len(many))]
    with pytest.warns(RuntimeWarning, match="1 of 1 layers have samples that equal another one, at most 72"):
        found = describe(many, splits=2)
    assert found.dataset["distinct"].item() == 80 and found.dataset["n"].item() == 152
    np.testing.assert_allclose(found.dataset["value"].values[0, :2], expected(x)[:2], rtol=1e-8)
    spectral = [oracle.participation_ratio(many.astype(float)), oracle.effective_rank(many.astype(float))]
    np.testing.assert_allclose(found.dataset["value"].values[0, 2:], spectral, rtol=1e-8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        describe(many, "participation_ratio")  # which has no neighbours


def test_rows_of_one_direction_are_equal_where_rows_have_length_one():
    x = np.random.default_rng(0).integers(-90, 90, (80, 10)).astype(np.float32)
    both = np.concatenate([x, 3 * x[:20]])  # whose rows of length one differ by rounding
    with pytest.warns(RuntimeWarning, match="at most 20"):
        found = values(both, *ALL[:2], preprocess=Preprocess(1, normalize=True))
    unit = x.astype(float) / np.linalg.norm(x.astype(float), axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected(unit)[:2], rtol=1e-8)


def test_ties_of_integers():
    x = np.random.default_rng(0).integers(0, 3, (150, 8)).astype(np.float32)
    with pytest.warns(RuntimeWarning):
        found = values(x, *ALL[:2], k=7)
    np.testing.assert_allclose(found, expected(np.unique(x, axis=0), k=7)[:2], rtol=1e-8)


def test_equal_distances_have_no_dimension():
    assert values(np.eye(30, dtype=np.float32), *ALL[:2], k=5).tolist() == [np.inf, np.inf]


def test_models_in_memory_and_in_stores(tmp_path):
    x, y = layer(60, 8), layer(60, 6, 1)
    ids = [str(i) for i in range(60)]
    store = prh_jax.write_features(tmp_path / "b.zarr", [x, y, x], ids=ids, spec={"model": "b"})
    found = describe([{"a": {"one": x, "two": y}, "single": [layer(50, 8)]}, store.path], k=5, splits=0)
    table = found.to_dataframe()
    assert found.models == ["a", "single", "b"] and found.estimators == ALL and len(table) == 6 * 4
    assert table["relative_depth"][::4].tolist() == [0, 1, 1, 0, 0.5, 1]
    assert table["n"][::4].tolist() == [60, 60, 50, 60, 60, 60] and table["width"][::4].tolist() == [8, 6, 8, 8, 6, 8]
    wide = found.table()
    assert wide.loc[("a", "one")].tolist() == wide.loc[("b", store.layers[2].name)].tolist() == values(x, k=5).tolist()
    assert values(np.stack([x, x]), k=5).tolist() == values([x, y], k=5).tolist()
    assert "3 models, 6 layers, n = 50 to 60" in repr(found) and found._repr_html_().count("±") == 1
    assert describe(x, "participation_ratio")._repr_html_().count("±") == 2


@pytest.mark.parametrize(
    "x, settings, error, words",
    [
        (layer(60, 8), {"estimators": "pca"}, ValueError, "The estimators are two_nn, .*; got pca"),
        (layer(60, 8), {"estimators": []}, ValueError, "got none"),
        (layer(60, 8), {"k": 2}, ValueError, "at least 3 neighbours, got k = 2"),
        (layer(60, 8), {"discard": 1}, ValueError, "0 to below 1; got 1"),
        (layer(60, 8), {"splits": 1}, ValueError, "at least 2 splits, or 0"),
        (layer(41, 8), {}, StoreError, "41 different samples, and estimates from 20 neighbours with .* need 42"),
        (layer(20, 8), {"splits": 0}, StoreError, "20 different samples, and estimates from 20 neighbours need 21"),
        (np.full((60, 8), 0.1), {}, StoreError, "the same features for all 60 samples"),
        (np.full((60, 8), 0.1), {"estimators": "two_nn"}, StoreError, "the same features for all 60 samples"),
    ],
)
def test_refusals(x, settings, error, words):
    with pytest.raises(error, match=words):
        prh_jax.describe(x, progress=False, **settings)


def test_a_spectrum_beyond_the_budget_is_refused(monkeypatch):
    monkeypatch.setattr("prh_jax.analysis.describe.MODEST", 1000)
    with pytest.raises(ValueError, match="The spectrum of .*layer_0.*: give more memory"):
        describe(layer(60, 8), memory=1000)
    describe(layer(60, 8), "two_nn", memory=1000)


def test_the_command_prints_and_writes_the_same_values(tmp_path, capsys):
    from prh_jax.cli.main import main

    x, path = layer(60, 8), tmp_path / "values.csv"
    prh_jax.write_features(tmp_path / "stores" / "a.zarr", [x], ids=list(map(str, range(60))), spec={"model": "a"})
    options = ["--estimator", "two_nn", "effective_rank", "--splits", "2", "-o", str(path)]
    command = ["describe", str(tmp_path / "stores"), *options]
    assert main(command) == 0
    printed, (_, *rows) = capsys.readouterr().out, path.read_text().splitlines()
    found = describe(x, "two_nn", "effective_rank", splits=2)
    assert [float(row.split(",")[-2]) for row in rows] == found.dataset["value"].values[0].tolist()
    assert all(cell in printed for cell in layer_cells(found, 0)) and str(path) in printed
    assert main(command) == 2 and "already exists" in capsys.readouterr().err
    assert main([*command[:-1], "values.txt"]) == 2 and "choose a name in .csv" in capsys.readouterr().err


def test_the_figure_has_the_values_and_their_errors():
    pytest.importorskip("matplotlib.figure")
    from prh_jax import plot

    models = {"deep": [layer(60, 8, seed) for seed in range(3)], "$flat_$": layer(60, 8, 3)}
    found = describe(models, *ALL[:2], k=5)
    value, error = (found.dataset[name].values[:, 1] for name in ("value", "standard_error"))
    ax = plot.dimension_curve(found, "maximum_likelihood", families={"deep": "a", "$flat_$": "b"})
    assert ax.get_ylabel() == "maximum likelihood dimension"
    np.testing.assert_allclose(ax.lines[0].get_xydata(), np.column_stack([[0, 0.5, 1], value[:3]]))
    np.testing.assert_allclose(ax.lines[1].get_xydata(), [[1, value[3]]])
    band, bar = ax.collections
    vertices = {tuple(point) for point in band.get_paths()[0].vertices.round(9)}
    assert {tuple(point) for point in np.column_stack([[0, 0.5, 1], value[:3] + error[:3]]).round(9)} <= vertices
    np.testing.assert_allclose(bar.get_segments()[0][:, 1], value[3] + error[3] * np.array([-1, 1]))
    assert [text.get_text() for text in ax.figure.legends[0].get_texts()] == ["deep · a", r"\$flat_\$ · b"]
    assert plot.dimension_curve(found, log=True, ax=ax) is ax and ax.get_yscale() == "log"
    with pytest.raises(ValueError, match="no estimator 'pca'; it has two_nn"):
        plot.dimension_curve(found, "pca")
    with pytest.raises(ValueError, match=r"No family is given for model '\$flat_\$' \(1 have none\)"):
        plot.dimension_curve(found, families={"deep": "a"})
