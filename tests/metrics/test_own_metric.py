"""Metrics of one's own go through every door: functions, studies, nulls, workers, merging, files, the command line."""

import contextlib
import dataclasses
import importlib
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inputs import correlated, make_store

import prh_jax
from prh_jax import FunctionMetric, Null, align, load_alignment, merge, plot
from prh_jax.cli.main import main
from prh_jax.metrics import registry
from prh_jax.sketches.base import SketchContext

PAGE = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()
COMPLETE = next(block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "register_metric" in block)
"""The metric that CONTRIBUTING shows."""


def linear_cka(x, y):
    """By its definition, from centred Gram matrices."""
    k, q = ((z - z.mean(axis=0, keepdims=True)) @ (z - z.mean(axis=0, keepdims=True)).T for z in (x, y))
    return jnp.sum(k * q) / jnp.sqrt(jnp.sum(k * k) * jnp.sum(q * q))


def first_column_agreement(x, y):
    """Depends on which column is which, and on how many there are: features filled up with zeros would change it."""
    return jnp.mean(jnp.abs(x[:, 0] - y[:, -1])) + x.shape[1] / 100 + y.shape[1] / 1000


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(registry, "_REGISTERED", {})


@pytest.fixture
def stores(tmp_path):
    """Models of several widths; one is stored as float16, and has a width that the others have too."""
    made = {"a": (14, 9), "b": (9,), "c": (14, 14, 9)}
    return [
        make_store(tmp_path / f"{name}.zarr", name, widths, seed=i) for i, (name, widths) in enumerate(made.items())
    ]


def test_the_metric_of_the_page_is_short_and_scores_as_its_definition(tmp_path):
    assert len([line for line in COMPLETE.splitlines() if line.strip()]) < 20
    scope = {}
    exec(compile(COMPLETE, "CONTRIBUTING.md", "exec"), scope)
    metric = scope["NearestRecall"](k=5)
    x, y = correlated(40, 7, 9)
    similar = [z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y)]
    lists = [np.argsort(-(z @ z.T - 9 * np.eye(40)), axis=1, kind="stable") for z in similar]
    expected = np.mean([lists[0][i, 0] in lists[1][i, :5] for i in range(40)])
    assert float(metric(x, y)) == pytest.approx(expected)
    assert prh_jax.make_metric("nearest_recall", k=5) == metric
    with pytest.raises(ValueError, match="nearest_recall has no setting 'q'"):
        prh_jax.make_metric("nearest_recall", q=5)


def test_a_function_scores_layers_at_their_own_widths(stores):
    """Every layer pair of a study is what the function says of the two preprocessed layers alone."""
    metric = FunctionMetric("agreement", first_column_agreement, larger_is_closer=False)
    result = align(stores[:2], stores[1:], metric, progress=False)
    preprocess = prh_jax.Preprocess()
    layers = [
        [
            np.asarray(preprocess.apply(jnp.asarray(store.read_layer(i)), jnp.asarray(threshold)))
            for store in side
            for i, threshold in enumerate(preprocess.thresholds(store))
        ]
        for side in (stores[:2], stores[1:])
    ]
    expected = [[float(first_column_agreement(x, y)) for y in layers[1]] for x in layers[0]]
    np.testing.assert_allclose(result.dataset["agreement"].values, expected, rtol=1e-6)
    best = result.best("agreement")["score"].values
    assert best[0, 0] == result.layers("agreement", "a", "b").values.min()  # smaller is closer


def test_a_function_is_equal_to_the_metric_it_computes(stores):
    """CKA by its definition as a function, beside cka, with the same orders of the null."""
    own = FunctionMetric("own_cka", linear_cka, symmetric=True, bounds=(0.0, 1.0), self_score=1.0)
    result = align(stores, metrics=[own, "cka"], null=20, progress=False)
    np.testing.assert_allclose(result.dataset["own_cka"], result.dataset["cka"], atol=2e-6)
    found, expected = (result.calibration.pairs(name) for name in ("own_cka", "cka"))
    for table in ("tau", "calibrated"):
        np.testing.assert_allclose(found[table], expected[table], atol=5e-6)
    np.testing.assert_array_equal(found["p"], expected["p"])


def test_a_function_under_transformations():
    metric = FunctionMetric("own_cka", linear_cka)
    x, y = (jnp.asarray(z, jnp.float32) for z in correlated(30, 5, 8))
    assert float(jax.jit(metric)(x, y)) == pytest.approx(float(prh_jax.cka(x, y)), abs=1e-6)
    gradient = jax.grad(lambda z: metric(z, y))(x)
    assert np.isfinite(gradient).all() and float(jnp.abs(gradient).max()) > 0
    sketcher = metric.sketcher.specialise(SketchContext(30, (5, 8)))
    assert float(metric.compare(sketcher(x), sketcher(y))) == pytest.approx(float(metric(x, y)), abs=1e-6)
    low = float(prh_jax.interval(x, y, metric).low)
    assert low < float(metric(x, y))


def test_wrong_metrics_are_refused(tmp_path):
    with pytest.raises(ValueError, match="letters, digits and underscores"):
        FunctionMetric("two words", linear_cka)
    with pytest.raises(ValueError, match=r"one number for two layers, got an array of shape \(3,\)"):
        FunctionMetric("mine", lambda x, y: jnp.zeros(3))(np.ones((5, 2)), np.ones((5, 2)))
    with pytest.raises(ValueError, match="'cka' is a metric of prh_jax"):
        prh_jax.register_metric(FunctionMetric("cka", linear_cka))
    with pytest.raises(ValueError, match="subclass of prh_jax.Metric or a FunctionMetric"):
        prh_jax.register_metric(linear_cka)

    store = make_store(tmp_path / "b.zarr", "b", (5,))
    with pytest.raises(ValueError, match="'cka' is a metric of prh_jax"):
        align(store, metrics=FunctionMetric("cka", linear_cka))
    with pytest.raises(ValueError, match="Two different metrics are named 'mine'"):
        align(store, metrics=[FunctionMetric("mine", linear_cka), FunctionMetric("mine", first_column_agreement)])

    @dataclasses.dataclass(frozen=True)
    class NoDefault(prh_jax.Metric):
        name = "no_default"
        k: int

    with pytest.raises(ValueError, match="needs a default for each of its settings"):
        prh_jax.register_metric(NoDefault)
    with pytest.raises(ValueError, match="There is no metric 'nowhere:mine'.*module:name"):
        align(make_store(tmp_path / "a.zarr", "a", (5,)), metrics="nowhere:mine")


def test_saved_results_need_the_metric_to_be_scored_again_only(stores, tmp_path):
    path = tmp_path / "r.zarr"
    metric = FunctionMetric("own_cka", linear_cka, bounds=(0.0, 1.0))
    align(stores, metrics=metric, output=path, null=6, progress=False)
    result = load_alignment(path)  # nothing is registered
    assert result.metrics == ["own_cka"] and "own_cka" in result.to_markdown("own_cka")
    prh_jax.export(result, tmp_path / "r.csv")
    plot.model_map(result, "own_cka")
    gallery = prh_jax.neighbor_gallery(result, "a", "b")
    assert prh_jax.report(result, tmp_path / "r.html", galleries=[gallery]).exists()
    with pytest.raises(ValueError, match="Unknown metric 'own_cka'.*register_metric"):
        prh_jax.calibrate(path, 7, overwrite=True)
    prh_jax.register_metric(metric)
    again = prh_jax.calibrate(path, Null(7), overwrite=True, progress=False)
    assert again.calibration.settings["null"]["orders"] == 7


def run(*words, folder):
    """A command in a folder, by a process in which nothing is registered or imported yet."""
    registry._REGISTERED.clear()
    sys.modules.pop("my_metrics", None)
    importlib.invalidate_caches()
    printed = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
        assert main(list(words)) == 0
    return printed.getvalue()


def test_the_metric_of_the_page_goes_through_the_command_line(stores, tmp_path):
    """A null, two workers' shares, a merge and a report; the result opens where the metric is not known."""
    (tmp_path / "my_metrics.py").write_text(COMPLETE)
    own = ("--metric", "my_metrics:NearestRecall")
    run("align", "--x", "a.zarr", "b.zarr", "c.zarr", *own, "--null", "19", "-o", "whole.zarr", folder=tmp_path)
    for i in (0, 1):
        share = ("--worker", f"{i}/2", "-o", "shared.zarr")
        run("align", "--x", "a.zarr", "b.zarr", "c.zarr", *own, *share, folder=tmp_path)
    whole, shared = (load_alignment(tmp_path / f"{name}.zarr") for name in ("whole", "shared"))
    np.testing.assert_array_equal(shared.dataset["nearest_recall"], whole.dataset["nearest_recall"])
    assert (whole.calibration.pairs("nearest_recall")["p"].values <= 1).all()
    first, *others = shared.models_x
    merged = merge([shared.sel(model_x=[first]), shared.sel(model_x=others)])
    np.testing.assert_array_equal(merged.dataset["nearest_recall"], whole.dataset["nearest_recall"])
    (tmp_path / "my_metrics.py").unlink()  # from here on nobody knows it
    done = subprocess.run([sys.executable, "-m", "prh_jax", "show", "whole.zarr"], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0 and b"nearest_recall" in done.stdout
    run("report", "whole.zarr", "-o", "whole.html", folder=tmp_path)
    merged.save(tmp_path / "merged.zarr")
    shown = json.loads(run("show", "merged.zarr", "--json", folder=tmp_path))
    assert list(shown["metrics"]) == ["nearest_recall"]


@pytest.mark.slow
def test_finish_and_calibrate_take_the_metric_by_its_module(stores, tmp_path):
    (tmp_path / "my_metrics.py").write_text(COMPLETE)
    own = ("--metric", "my_metrics:NearestRecall")
    stores = ("--x", "a.zarr", "b.zarr", "c.zarr")
    run("align", *stores, *own, "-o", "r.zarr", folder=tmp_path)
    run("calibrate", "r.zarr", "--null", "9", *own, folder=tmp_path)
    run("finish", "r.zarr", *own, folder=tmp_path)
    assert load_alignment(tmp_path / "r.zarr").calibration.settings["null"]["orders"] == 9
