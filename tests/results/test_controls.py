"""Trained models beside the same networks with random weights: which is whose control, and what training adds."""

import numpy as np
import pytest

import prh_jax
from prh_jax.plot import above_control
from prh_jax.results.controls import controls_of
from prh_jax.results.provenance import ModelRecord
from prh_jax.stores.memory import MemoryStore

N = 24


def network(model, seed, **spec):
    """A store in memory as extraction would have made it."""
    layers = np.random.default_rng(seed).standard_normal((2, N, 6)).astype(np.float32)
    store = MemoryStore(model, layers)
    store.spec.update({"model": model, "random_init": None, "pool": "mean", **spec})
    store.model = model
    return store


@pytest.fixture(scope="module")
def result():
    texts = [network("bert", 0), network("gpt", 1), network("gpt", 2, random_init=0)]
    pictures = [
        network("vit", 3),
        network("vit", 4, random_init=0),
        network("vit", 5, random_init=7),
        network("hog", 6),
    ]
    return prh_jax.align(texts, pictures, ["cka", "procrustes_distance"], null=20)


def test_the_control_of_a_model_is_the_same_network_with_random_weights():
    def record(label, **spec):
        return ModelRecord(label, spec={"model": "m", "pool": "mean", "random_init": None, **spec})

    records = [
        record("a", revision="1f"),
        record("b", random_init=0),
        record("c", random_init=3, padding="right"),
        record("d", random_init=0, pool="cls"),  # otherwise pooled
        record("e", model="m@step10"),
        record("f", model="other"),
        ModelRecord("g"),  # features of the user's own
    ]
    assert controls_of(records) == {"a": ["b", "c"], "e": ["b", "c"]}


def test_what_training_adds_is_the_score_less_the_mean_of_the_controls(result):
    assert result.controls("x") == {"gpt": ["gpt [random init 0]"]}
    assert result.controls("y") == {"vit": ["vit [random init 0]", "vit [random init 7]"]}
    scores = result.scores("cka")
    found = result.above_control("cka")  # of y, where both sides have controls
    assert found["model_x"].values.tolist() == ["bert", "gpt"] and found["model_y"].values.tolist() == ["vit"]
    for text in ("bert", "gpt"):
        trained, *random = (
            float(scores.sel(model_x=text, model_y=name))
            for name in ("vit", "vit [random init 0]", "vit [random init 7]")
        )
        cell = found.sel(model_x=text, model_y="vit")
        assert float(cell["trained"]) == trained
        assert float(cell["control"]) == pytest.approx(sum(random) / 2, rel=1e-6)
        assert float(cell["difference"]) == pytest.approx(trained - sum(random) / 2, abs=1e-6)
    assert result.above_control("cka", side="x")["model_y"].values.tolist() == ["vit", "hog"]


def test_a_model_beside_itself_is_no_evidence():
    both = [network("vit", 3), network("vit", 4, random_init=0), network("hog", 6)]
    found = prh_jax.align(both, metrics="cka").above_control("cka")
    assert found["model_x"].values.tolist() == ["vit", "hog"]
    assert (
        np.isnan(found.sel(model_x="vit").to_array()).all() and np.isfinite(found.sel(model_x="hog").to_array()).all()
    )


def test_a_result_without_controls_says_how_to_make_them(result):
    with pytest.raises(ValueError, match="--control random-init"):
        result.sel(model_x="bert", model_y=["vit", "hog"]).above_control("cka")
    with pytest.raises(ValueError, match="'x' or 'y'"):
        result.above_control("cka", side="z")


@pytest.mark.parametrize("metric", ["cka", "procrustes_distance"])
def test_the_figure_has_each_score_once(result, metric):
    pytest.importorskip("matplotlib.figure")
    ax = above_control(result, metric)
    found = result.above_control(metric)
    drawn = {round(float(v), 5) for line in ax.get_lines() for v in np.atleast_1d(line.get_xdata())}
    assert {round(float(v), 5) for name in ("trained", "control") for v in found[name].values.ravel()} <= drawn
    tau = result.calibrated_pairs(metric)["tau"].sel(model_y="vit", model_x=["bert", "gpt"])
    assert round(float(tau.max() if metric == "cka" else tau.min()), 5) in drawn
    assert [text.get_text() for text in ax.get_yticklabels()] == ["vit"]
