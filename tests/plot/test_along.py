"""Alignment along training steps and other numbers: what is drawn is the result's, and steps are those of the names."""

import numpy as np
import pytest
from made_results import EVIL, calibrated, edited, made_result
from scipy import stats

import prh_jax
from prh_jax import plot
from prh_jax.results.provenance import ModelRecord
from prh_jax.results.steps import step_of, without_step

pytest.importorskip("matplotlib.figure")
from prh_jax.plot.base import labels
from prh_jax.plot.colors import colors_of

STEPS = (0, 1, 2, 8, 64, 512, 1000, 8000, 64000, 143000)
PYTHIA = {f"EleutherAI/pythia-70m@step{step}": 1 for step in STEPS}


def legend_texts(ax):
    return [text.get_text() for text in ax.figure.legends[0].get_texts()]


def points(line):
    return [tuple(map(float, point)) for point in line.get_xydata()]


@pytest.mark.parametrize(
    "label, spec, step, bare",
    [
        ("EleutherAI/pythia-70m@step1000", {}, 1000, "EleutherAI/pythia-70m"),
        ("pythia-70m@step1000 (mean)", {}, 1000, "pythia-70m (mean)"),
        ("pythia-70m", {"revision": "step3000"}, 3000, "pythia-70m"),
        ("runs/a/checkpoint-1500", {}, 1500, "runs/a"),
        ("bert_step-20k", {}, 20_000, "bert"),
        ("olmo@stage1-step_500-tokens3B", {}, 500, "olmo"),
        ("big-step2-model@step7", {}, 7, "big-step2-model"),
        ("a@global_step1000", {"step": 30}, 30, "a"),
        ("a@main", {}, None, "a"),
        ("misstep9", {}, None, "misstep9"),
        ("step1-step2", {}, None, ""),
        ("step12x", {}, None, "step12x"),
        ("@org/model", {}, None, "@org/model"),
    ],
)
def test_the_step_of_a_checkpoint(label, spec, step, bare):
    assert step_of(ModelRecord(label, spec)) == step
    assert without_step(label) == bare


def test_ten_checkpoints_have_ten_names_and_one_curve():
    assert labels(PYTHIA) == [f"pythia-70m@step{step}" for step in STEPS]
    assert labels(["org/name@refs/pr/1", "org/name@refs/pr/2"]) == ["name@refs/pr/1", "name@refs/pr/2"]
    shuffled = dict.fromkeys(sorted(PYTHIA), 1)
    steps = [int(name.rsplit("step", 1)[1]) for name in shuffled]
    result = made_result(shuffled, {"vit": 1, "dino": 1}, score=lambda m, i, j: steps[i] / 1e6 + j)
    ax = plot.curve(result, "cka")
    for j, line in enumerate(ax.lines):
        np.testing.assert_allclose(line.get_xydata(), [(step, step / 1e6 + j) for step in STEPS], rtol=1e-6)
    assert len(ax.lines) == 2 and legend_texts(ax) == ["vit", "dino"] and ax.get_title() == "pythia-70m"
    assert (ax.get_xlabel(), ax.get_xscale()) == ("training step", "symlog")  # step 0 has a place
    assert ax.get_ylabel() == "CKA, best over layer pairs"
    assert plot.curve(result.sel(model_x=lambda model: "step0" not in model.label), "cka").get_xscale() == "log"
    assert plot.curve(result, "cka", log=False).get_xscale() == "linear"
    found = prh_jax.trend(result, "cka", by="step")["correlation"].sel(scores="raw", kind="kendall", model="all")
    assert found.item() == pytest.approx(1)
    ax.figure.draw_without_rendering()
    box = ax.figure.legends[0].get_window_extent()
    assert box.x1 <= ax.figure.bbox.x1 + 1 and box.x0 >= ax.get_window_extent().x1 - 1


def test_models_without_a_step_are_named():
    result = made_result({"a@step1": 1, "a@main": 1, "a@step2": 1, "b": 1}, {"c": 1}, score=lambda m, i, j: i)
    for ask in (plot.curve, lambda *given: prh_jax.trend(*given, by="step")):
        with pytest.raises(ValueError, match=r"No step is recorded of a@main, b \(side x\).*assign\(step=\.\.\.\)"):
            ask(result, "cka")
    told = result.assign(step={"a@main": 3, "b": 4}).sel(model_x=slice(0, 3))
    assert points(plot.curve(told, "cka").lines[0]) == [(1, 0), (2, 2), (3, 1)]


def test_lines_join_the_checkpoints_of_one_model():
    names = {"a@step1": 1, "b@step1": 1, "a@step3": 1, "b@step2": 1}
    result = made_result(names, {"c": 1, "d": 1}, score=lambda m, i, j: i + 10 * j)
    ax = plot.curve(result, "cka")
    assert [points(line) for line in ax.lines] == [
        [(1, 0), (3, 2)],
        [(1, 10), (3, 12)],
        [(1, 1), (2, 3)],
        [(1, 11), (2, 13)],
    ]
    assert legend_texts(ax) == ["a · c", "a · d", "b · c", "b · d"] and ax.get_title() == ""
    colors, styles = ([getattr(line, f"get_{look}")() for line in ax.lines] for look in ("color", "linestyle"))
    assert colors[0] == colors[1] != colors[2] == colors[3] and styles[0] == styles[2] != styles[1] == styles[3]
    ax = plot.curve(result, "cka", mean=True)
    assert [points(line) for line in ax.lines] == [[(1, 5), (3, 7)], [(1, 6), (2, 8)]]
    band = ax.collections[0].get_paths()[0].vertices
    assert {(1, 0), (1, 10), (3, 2), (3, 12)} == {tuple(map(float, corner)) for corner in band}
    turned = made_result({"c": 1, "d": 1}, names, score=lambda m, i, j: j + 10 * i)
    assert points(plot.curve(turned, "cka", side="y").lines[0]) == [(1, 0), (3, 2)]


def test_numbers_that_were_assigned_and_families():
    result = made_result(dict.fromkeys("abcd", 1), {"e": 1}, score=lambda m, i, j: i)
    told = result.assign(params={"a": 10, "b": 10, "c": 30}, family_x=["one", "one", "one", "two"])
    ax = plot.curve(told, "cka", "params")
    assert points(ax.lines[0]) == [(10, 0.5), (30, 2)] and ax.get_xlabel() == "params" and ax.get_title() == "one"
    ax = plot.curve(told, "cka", [1, 2, 3, 4], families=dict(zip("abcd", "uvuv", strict=True)))
    assert [points(line) for line in ax.lines] == [[(1, 0), (3, 2)], [(2, 1), (4, 3)]]
    assert legend_texts(ax) == ["u", "v"]
    for wrong, message in (
        ({"x": {"a": 1}}, "at least 2 models with different numbers; 1 of 4"),
        ({"x": [-1, 2, 3, 4]}, "no place for -1: draw it with log=False"),
        ({"x": [1, 2, 3, 4], "side": "z"}, "'z'"),
        ({"x": [1, 2, 3, 4], "values": "z"}, "'z'"),
    ):
        with pytest.raises(ValueError, match=message):
            plot.curve(result, "cka", **wrong)


@pytest.mark.parametrize("larger, hardest", [(True, [0.4, 0.6]), (False, [0.2, 0.3])])
def test_chance_is_the_critical_score_that_is_hardest_to_reach(larger, hardest):
    result = made_result({"a": 1, "b": 1}, {"c": 1, "d": 1}, score=lambda m, i, j: i + j)
    with edited(result) as protocol:
        protocol["metrics"]["cka"]["larger_is_closer"] = larger
    tau = calibrated(result, lambda m, i, j: 0.01).calibration.dataset["tau"]
    tau[0] = [[0.2, 0.4], [0.6, 0.3]]
    ax = plot.curve(result, "cka", [1, 2])
    assert points(ax.lines[-1]) == [(1, hardest[0]), (2, hardest[1])]
    assert legend_texts(ax) == ["c", "d", "critical score at 0.05"]
    result.calibration.dataset["score"][0] = 0.5  # of another aggregate than what is drawn
    assert legend_texts(plot.curve(result, "cka", [1, 2])) == ["c", "d"]
    result.calibration.dataset["calibrated"][0] = [[0.125, 0.25], [0.5, 0.75]]
    ax = plot.curve(result, "cka", [1, 2], values="calibrated")
    assert points(ax.lines[0]) == [(1, 0.125), (2, 0.5)] and legend_texts(ax) == ["c", "d", "chance"]


def test_a_model_with_itself_and_a_pair_without_score_are_gaps():
    names = {"a@step1": 1, "a@step2": 1, "a@step3": 1}
    result = made_result(names, names | {"c": 1}, score=lambda m, i, j: np.nan if (i, j) == (0, 3) else 10 * i + j)
    drawn = [line.get_ydata().tolist() for line in plot.curve(result, "cka").lines]
    nan = np.nan
    np.testing.assert_array_equal(drawn, [[nan, 10, 20], [1, nan, 21], [2, 12, nan], [nan, 13, 23]])
    (mean,) = plot.curve(result, "cka", mean=True).lines
    assert mean.get_ydata().tolist() == [1.5, (10 + 12 + 13) / 3, (20 + 21 + 23) / 3]
    rho = prh_jax.trend(result, "cka", by="step")["correlation"].sel(kind="spearman", scores="raw", model="all").item()
    assert rho == pytest.approx(stats.spearmanr([1, 2, 3], mean.get_ydata()).statistic)


def test_names_that_strangers_made_up_are_drawn():
    result = made_result({f"{name}@step{i}": 1 for i, name in enumerate(EVIL * 2)}, dict.fromkeys(EVIL, 1))
    plot.curve(result, "cka").figure.draw_without_rendering()


def test_checkpoints_of_assigned_families_have_the_colours_of_these():
    """Two models of a family share its colour, and differ in their lines; so do the figures of the result."""
    names = [f"{model}@step{step}" for model in ("a", "b", "c") for step in (1, 2)]
    family = {name: "two" if name.startswith("c") else "one" for name in names}
    result = made_result(dict.fromkeys(names, 1), {"vit": 1}).assign(family_x=family, family_y="seen")
    lines = plot.curve(result, "cka", mean=True).lines[:3]
    known = colors_of(result, None, ["one", "two"])
    assert [line.get_color() for line in lines] == [known["one"], known["one"], known["two"]]
    assert lines[0].get_linestyle() != lines[1].get_linestyle()
