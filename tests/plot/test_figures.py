"""Figures: what they draw is what the result holds; names and legends find room; made-up names stay text."""

import io
import itertools
import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import xarray as xr
from made_results import EVIL, calibrated, edited, made_result
from scipy import stats

from prh_jax import plot

figure_module = pytest.importorskip("matplotlib.figure")
from prh_jax.plot.base import labels, names_apart  # noqa: E402
from prh_jax.plot.maps import leaf_order  # noqa: E402
from prh_jax.plot.models import scale_down  # noqa: E402
from prh_jax.plot.points import spread  # noqa: E402
from prh_jax.results.covariates import pearson, spearman  # noqa: E402

LANGUAGE = {f"organisation/language-model-of-{size}-billion-parameters": 3 for size in range(12)}
VISION = {f"vit_giant_patch14_clip_224.laion2b_ft_in{i}k": 2 for i in range(17)}


def draw(ax, form="png"):
    """The figure as bytes."""
    out = io.BytesIO()
    ax.figure.savefig(out, format=form, dpi=60)
    return out.getvalue()


def ticks(axis):
    return [text.get_text() for text in axis.get_ticklabels()]


def cell_texts(ax, shape):
    """Numbers in the cells, by their place."""
    texts = {(round(t.get_position()[1]), round(t.get_position()[0])): t for t in ax.texts}
    return [[texts[i, j].get_text() for j in range(shape[1])] for i in range(shape[0])]


def legend_of(ax):
    return ax.get_legend() or (ax.figure.legends[0] if ax.figure.legends else None)


def legend_texts(ax):
    return [text.get_text() for text in legend_of(ax).get_texts()]


@pytest.fixture(scope="module")
def big():
    result = made_result(LANGUAGE, VISION, ("cka", "mutual_knn"))
    return calibrated(result, lambda metric, i, j: 0.01 if (i + j) % 2 else 0.5)


def test_rows_that_are_alike_stand_together():
    table = np.array([[0, 0], [9, 9], [0.1, 0], [9, 9.1], [0, 0.2]])
    order = leaf_order(table).tolist()
    assert sorted(order) == [0, 1, 2, 3, 4] and abs(order.index(1) - order.index(3)) == 1
    assert leaf_order(np.array([[1.0], [np.nan]])).tolist() == [0, 1]
    assert sorted(leaf_order(np.full((4, 2), np.nan)).tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize("cluster", [True, False])
def test_every_cell_of_the_model_map_is_its_score(big, cluster):
    ax = plot.model_map(big, "cka", cluster=cluster, significance="p")
    rows, columns = ticks(ax.yaxis), ticks(ax.xaxis)
    names_x, names_y = labels(LANGUAGE), labels(VISION)
    assert sorted(rows) == sorted(names_x) and sorted(columns) == sorted(names_y)
    assert cluster or (rows == names_x and columns == names_y)
    scores, p = big.scores("cka").values, big.calibration.pairs("cka")["p"].values
    at = np.ix_([names_x.index(name) for name in rows], [names_y.index(name) for name in columns])
    assert cell_texts(ax, scores.shape) == [[f"{value:.3f}" for value in row] for row in scores[at]]
    covers = {(round(r.get_y() + 0.5), round(r.get_x() + 0.5)) for r in ax.patches}
    assert covers == {tuple(place) for place in np.argwhere(p[at] > 0.05).tolist()}
    assert legend_texts(ax) == ["pale: p above 0.05"]
    assert ax.figure.axes[1].get_ylabel() == "CKA" and ax.get_title() == "best over layer pairs"


def test_calibrated_scores_and_unknown_ones():
    result = made_result(
        {"a": 1, "b": 1}, {"c": 1, "d": 1}, score=lambda m, i, j: np.nan if i == j == 1 else 0.25 + i / 2
    )
    calibrated(result, lambda metric, i, j: 0.5)
    ax = plot.model_map(result, "cka", values="calibrated")
    assert cell_texts(ax, (2, 2)) == [["0.000", "0.000"], ["0.667", "-"]]
    with pytest.raises(ValueError, match="no calibration"):
        plot.model_map(made_result({"a": 1}, {"b": 1}), "cka", significance="p")
    for bad in ({"values": "z"}, {"significance": "z"}, {"how": "z"}):
        with pytest.raises(ValueError, match="'z'"):
            plot.model_map(result, "cka", **bad)
    draw(plot.heat_map(xr.full_like(result.scores("cka"), np.nan), title="nothing known"))


def test_families_have_strips_and_a_legend(big):
    families = dict.fromkeys(LANGUAGE, "language") | {name: f"family {i % 3}" for i, name in enumerate(VISION)}
    ax = plot.model_map(big, "cka", families=families, cluster=False)
    colors = [tuple(patch.get_facecolor()) for patch in ax.patches]
    assert len(colors) == 12 + 17 and len(set(colors)) == 4 and len(set(colors[:12])) == 1
    assert colors[12:15] == colors[15:18]
    assert legend_texts(ax) == ["language", "family 0", "family 1", "family 2"]
    with pytest.raises(ValueError, match="No family is given for model 'vit_giant"):
        plot.model_map(big, "cka", families=dict.fromkeys(LANGUAGE, "language"))
    with pytest.raises(ValueError, match="8 colours.*29 families"):
        plot.model_map(big, "cka", families={name: name for name in (*LANGUAGE, *VISION)})


def test_names_and_numbers_do_not_touch(big):
    ax = plot.model_map(big, "cka", significance="q_bh")
    draw(ax)
    boxes = sorted((text.get_window_extent() for text in ax.yaxis.get_ticklabels()), key=lambda box: box.y0)
    assert all(low.y1 <= high.y0 for low, high in itertools.pairwise(boxes))
    names = ax.xaxis.get_ticklabels()
    places = [ax.transData.transform((j, 0))[0] for j in range(17)]
    angle = math.radians(names[0].get_rotation())
    height = names[0].get_fontsize() * ax.figure.dpi / 72
    assert (places[1] - places[0]) * math.sin(angle) > 1.2 * height
    width = places[1] - places[0]
    assert all(text.get_window_extent().width < 0.95 * width for text in ax.texts)
    canvas = ax.figure.bbox
    for text in (*names, *ax.yaxis.get_ticklabels()):
        box = text.get_window_extent()
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= canvas.x1 + 1


def test_the_ring_marks_the_best_layer_pair():
    result = made_result({"a": 3}, {"c": 4, "d": 2}, score=lambda m, i, j: 5 if (i, j) == (2, 1) else i / 10)
    ax = plot.layer_map(result, "cka", "a", "c")
    assert [line.get_xydata().tolist() for line in ax.lines] == [[[1, 2]]] * 2
    np.testing.assert_array_equal(ax.images[0].get_array(), result.layers("cka", "a", "c"))
    assert ax.get_title() == "best 5.0000 at depths 2, 1"
    nothing = made_result({"a": 2}, {"c": 2}, score=lambda m, i, j: np.nan)
    assert plot.layer_map(nothing, "cka", "a", "c").get_title() == "no score"
    with pytest.raises(ValueError, match="no model 'z'"):
        plot.layer_map(result, "cka", "z", "c")


def test_correlations_are_those_of_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, 30).astype(float), rng.normal(size=30)
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)
    assert pearson(a, b) == pytest.approx(stats.pearsonr(a, b).statistic)
    assert math.isnan(pearson(a, np.full(30, 0.1))) and math.isnan(spearman(a[:2], b[:2]))


def test_how_metrics_agree():
    def score(metric, i, j):
        return {"cka": 3 * i + j, "svcca": (3 * i + j) ** 2, "rtd": -(3 * i + j)}[metric]

    result = made_result({"a": 1, "b": 1}, {"c": 1, "d": 1, "e": 1}, ("cka", "svcca", "rtd"), score)
    ax = plot.metric_map(result)
    assert cell_texts(ax, (3, 3))[0] == ["1.00", "1.00", "-1.00"]
    assert ax.get_title().replace("\n", " ") == "rank correlation of scores over model pairs"
    with edited(result) as protocol:
        protocol["metrics"]["rtd"]["larger_is_closer"] = False
    for per in ("model", "layer"):
        ax = plot.metric_map(result, per=per)
        assert cell_texts(ax, (3, 3)) == [["1.00"] * 3] * 3
        assert ax.get_title().replace("\n", " ") == f"rank correlation of closeness over {per} pairs"
    ax = plot.metric_scatter(result, "cka", "svcca")
    assert ax.lines[0].get_xydata().tolist() == [[v, v**2] for v in range(6)]
    assert ax.get_title() == "Spearman 1.00, 6 model pairs"


def test_the_line_through_models_that_lie_on_one():
    result = made_result({"a": 1, "b": 1, "c": 1, "d": 1}, {"e": 1, "f": 1}, score=lambda m, i, j: i / 4 + j)
    ax = plot.covariate_scatter(result, "cka", {"a": 10, "b": 12, "c": 14})
    line = next(line for line in ax.lines if len(line.get_xdata()) == 2)
    np.testing.assert_allclose(line.get_xydata(), [[10, 0.5], [14, 1.0]], atol=1e-9)
    assert legend_texts(ax) == ["Spearman 1.00, Pearson 1.00", "1  a", "2  b", "3  c"]
    assert [text.get_text() for text in ax.texts] == ["1", "2", "3"]
    ax = plot.covariate_scatter(result, "cka", "bits_per_byte", other="f")  # 2.0, 1.9, 1.8, 1.7
    assert legend_texts(ax)[0] == "Spearman -1.00, Pearson -1.00"
    with pytest.raises(ValueError, match="no model 'z'; it has e, f"):
        plot.covariate_scatter(result, "cka", "bits_per_byte", other="z")
    with pytest.raises(ValueError, match="at least 3 models"):
        plot.covariate_scatter(result, "cka", {"a": 1, "b": 2})


def hatched(ax):
    return {(round(p.get_y() + 0.5), round(p.get_x() + 0.5)) for p in ax.patches if p.get_hatch()}


def test_a_model_with_itself_is_hatched_and_does_not_use_up_the_colours():
    study = own_study([[9, 1, 2], [1, 9, 3], [2, 3, 9]])
    calibrated(study, lambda m, i, j: 0.5)
    for ax in (plot.heat_map(study.scores("cka")), plot.model_map(study, "cka", cluster=False, significance="p")):
        assert ax.images[0].get_clim() == (1, 3) and hatched(ax) == {(0, 0), (1, 1), (2, 2)}
        assert len(ax.texts) == 6
    assert len(ax.patches) == 3 + 6 and legend_texts(ax)[1] == "a model with itself"
    part = made_result(
        {"a": 1, "b": 1, "c": 1}, {"c": 1, "d": 1}, score=lambda m, i, j: 9 if (i, j) == (2, 0) else i + j
    )
    assert hatched(plot.heat_map(part.scores("cka"))) == {(2, 0)}
    assert plot.heat_map(part.scores("cka")).images[0].get_clim() == (0, 3)
    alone = calibrated(made_result({"a": 2}, {"a": 2}), lambda m, i, j: 0.5)
    alone = plot.model_map(alone, "cka", significance="p")
    assert hatched(alone) == {(0, 0)} and not alone.texts
    draw(alone)
    box, canvas = legend_of(alone).get_window_extent(), alone.figure.bbox
    assert box.x0 >= -1 and box.x1 <= canvas.x1 + 1 and len(alone.figure.axes) == 1  # no colours to explain


def test_like_stands_with_like_whatever_a_model_is_with_itself():
    # a and c agree with b, d and e in the same way, but little with each other
    table = np.array([[0, 8, 1, 7, 6], [8, 0, 8, 1, 1], [1, 8, 0, 7, 6], [7, 1, 7, 0, 1], [6, 1, 6, 1, 0]], float)
    order = leaf_order(table + 99 * np.eye(5), np.eye(5, dtype=bool)).tolist()
    assert abs(order.index(0) - order.index(2)) == 1
    np.testing.assert_array_equal(leaf_order(table, np.eye(5, dtype=bool)), order)


def test_the_layers_of_a_model_beside_one_another():
    result = made_result({"a": 3}, {"a": 3}, score=lambda m, i, j: 9 if i == j else i + 2 * j)
    ax = plot.layer_map(result, "cka", "a", "a")
    assert hatched(ax) == {(0, 0), (1, 1), (2, 2)} and ax.images[0].get_clim() == (1, 5)
    assert ax.get_title().replace("\n", " ") == "best 5.0000 at depths 1, 2; hatched: a layer with itself"
    lone = plot.layer_map(made_result({"a": 1}, {"a": 1}), "cka", "a", "a")
    assert lone.get_title() == "one layer, with itself: nothing to compare"
    with pytest.raises(ValueError, match="a model with itself.*model_x=, model_y="):
        plot.depth_curve(result, "cka")
    assert plot.depth_curve(result, "cka", model_y="a").lines[0].get_ydata().tolist() == [4, 5, 4]
    calibrated(result, lambda m, i, j: 0.01)
    assert plot.null_histogram(result, "cka", "a", "a").get_title() == "a with itself: no evidence"


def test_curves_and_scatters_have_no_model_with_itself():
    def score(metric, i, j):
        if i // 2 == j // 2:
            return 99
        return {"cka": i + j, "svcca": (i + j) ** 2, "one_way": 10 * i + j}[metric]

    names = {"a": 2, "b": 2, "c": 2}
    result = made_result(names, names, ("cka", "svcca", "one_way"), score)
    drawn = [line.get_ydata().tolist() for line in plot.depth_curve(result, "cka").lines]
    assert drawn == [[5, 6], [7, 8], [7, 8]]
    ax = plot.metric_scatter(result, "cka", "one_way")
    # best layers: 1 + 3, 1 + 5, 3 + 5; one_way in both orders 13 and 31, 15 and 51, 35 and 53
    assert ax.lines[0].get_xydata().tolist() == [[4, 22], [6, 33], [8, 44]]
    assert ax.get_title() == "Spearman 1.00, 3 model pairs"
    for per in ("model", "layer"):
        assert cell_texts(plot.metric_map(result, per=per), (3, 3))[0][1] == "1.00"
    with pytest.raises(ValueError, match="Only 0 pairs of two different models"):
        plot.metric_scatter(made_result({"a": 2}, {"a": 2}, ("cka", "svcca")), "cka", "svcca")


def test_a_model_is_not_compared_with_itself():
    result = made_result(
        {"a": 1, "b": 1, "c": 1}, {"a": 1, "b": 1, "c": 1}, score=lambda m, i, j: 9 if i == j else i + j
    )
    ax = plot.covariate_scatter(result, "cka", [0, 1, 2])
    points = [line.get_xydata()[0].tolist() for line in ax.lines if len(line.get_xdata()) == 1]
    assert points == [[0, (1 + 2) / 2], [1, (1 + 3) / 2], [2, (2 + 3) / 2]]


def test_numbers_part_where_points_are_near():
    at = np.array([[50.0, 50.0]] * 9 + [[200.0, 80.0]])
    moved = spread(at, 13.0, np.array([[0, 0], [300, 300]]))
    apart = np.linalg.norm(moved[:, None] - moved[None], axis=-1) + 99 * np.eye(10)
    assert apart.min() > 12 and np.abs(moved - at).max() < 60
    np.testing.assert_allclose(moved[9], at[9], atol=0.01)
    # no disc lies on the point of another
    moved = spread(np.array([[50.0, 50.0], [56.0, 50.0], [90.0, 50.0]]), 13.0, np.array([[0, 0], [300, 300]]), 9.0)
    assert np.linalg.norm(moved[0] - [56, 50]) > 8.5
    assert np.linalg.norm(moved[1] - [50, 50]) > 8.5
    np.testing.assert_allclose(moved[2], [90, 50], atol=0.01)


def test_depth_curves_are_the_best_of_each_row():
    result = made_result(
        {"a": 3, "b": 1}, {"c": 2, "d": 2}, score=lambda m, i, j: np.nan if (i, j) == (1, 3) else 10 * i + j
    )
    one, two = plot.depth_curve(result, "cka").lines
    assert one.get_xydata().tolist() == [[0, 3], [0.5, 12], [1, 23]] and two.get_xydata().tolist() == [[1, 33]]
    ax = plot.depth_curve(result, "cka", model_x="a", model_y="c")
    assert ax.lines[0].get_ydata().tolist() == [1, 11, 21] and legend_texts(ax) == ["a"]


def own_study(scores):
    names = {f"model {i}": 1 for i in range(len(scores))}
    return made_result(names, names, score=lambda m, i, j: scores[i][j])


def test_the_tree_joins_at_mean_distances():
    # distances 1 - score: 0.1 within {0, 1}; 0.5 and 0.7 from 2, joined at their mean
    ax = plot.model_tree(own_study([[1, 0.9, 0.5], [0.9, 1, 0.3], [0.5, 0.3, 1]]), "cka")
    heights = sorted(max(line.get_xdata()) for line in ax.lines)
    np.testing.assert_allclose(heights, [0.1, 0.6], rtol=1e-6)
    assert sorted(ticks(ax.yaxis)) == ["model 0", "model 1", "model 2"] and ticks(ax.yaxis)[1] != "model 2"


def test_points_in_the_plane_keep_distances_of_the_plane():
    points = np.array([[0, 0], [3, 0], [0, 4], [3, 4], [1, 1]], float)
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    found, share = scale_down(distances)
    np.testing.assert_allclose(np.linalg.norm(found[:, None] - found[None], axis=-1), distances, atol=1e-9)
    assert share == pytest.approx(1)
    ax = plot.model_space(own_study((10 - distances).tolist()), "cka")
    drawn = np.array([line.get_xydata()[0] for line in ax.lines])
    np.testing.assert_allclose(np.linalg.norm(drawn[:, None] - drawn[None], axis=-1), distances, atol=1e-5)
    assert "100%" in ax.get_title()


def test_a_space_needs_one_side_with_itself():
    with pytest.raises(ValueError, match="one side with itself"):
        plot.model_space(made_result({"a": 1, "b": 1, "c": 1}, {"d": 1}), "cka")
    with pytest.raises(ValueError, match="at least 3"):
        plot.model_tree(own_study([[1, 0], [0, 1]]), "cka")
    with pytest.raises(ValueError, match="'model 0' has no score.*'model 2'"):
        plot.model_tree(own_study([[1, 0, np.nan], [0, 1, 0], [0, 0, 1]]), "cka")


def test_the_null_of_a_pair():
    result = made_result({"a": 1, "b": 1}, {"c": 1}, score=lambda m, i, j: 0.9)
    null = np.arange(200).reshape(1, 100, 2, 1) / 1000
    calibrated(result, lambda metric, i, j: 0.01, null)
    ax = plot.null_histogram(result, "cka", "b", "c")
    assert sum(bar.get_height() for bar in ax.patches) == 100
    edges = [bar.get_x() for bar in ax.patches], [bar.get_x() + bar.get_width() for bar in ax.patches]
    assert min(edges[0]) == pytest.approx(0.001) and max(edges[1]) == pytest.approx(0.199)
    assert [line.get_xdata()[0] for line in ax.lines] == [pytest.approx(0.9), 0.25]
    assert (
        legend_texts(ax) == ["100 orders", "score 0.9000", "critical at 0.05: 0.2500"] and "p = 0.01" in ax.get_title()
    )
    with pytest.raises(ValueError, match="no model 'z'"):
        plot.null_histogram(result, "cka", "z", "c")
    result.calibration = None
    with pytest.raises(ValueError, match="no calibration"):
        plot.null_histogram(result, "cka", "a", "c")


@pytest.mark.parametrize("along", ["n", "k"])
def test_curves_of_samples_and_neighbours(along):
    names = ("score", "null_mean", "null_sd", "tau", "p", "calibrated")
    curve = xr.Dataset({name: (along, np.arange(3.0) + i) for i, name in enumerate(names)}, coords={along: [5, 10, 20]})
    ax = plot.sample_curve(curve)
    assert [line.get_ydata().tolist() for line in ax.lines] == [[1, 2, 3], [3, 4, 5], [0, 1, 2]]
    assert ax.lines[2].get_xdata().tolist() == [5, 10, 20]
    assert ("samples" if along == "n" else "neighbours") in ax.get_xlabel()
    with pytest.raises(ValueError, match="dimension n or k"):
        plot.sample_curve(curve.rename({along: "m"}))


def every_figure(result, models_x, models_y):
    """One of each that a study of one side with itself has; families of any name."""
    families = {name: f"fam${i % 3}_{{ <b>" for i, name in enumerate(dict.fromkeys((*models_x, *models_y)))}
    metric, (x, y) = result.metrics[0], (models_x[0], models_y[-1])
    yield plot.model_map(result, metric, families=families, significance="q_by", alpha=0.2)
    yield plot.layer_map(result, metric, x, y)
    yield plot.metric_map(result)
    yield plot.covariate_scatter(result, metric, "bits_per_byte", families=families, other=y)
    yield plot.curve(result, metric, "bits_per_byte", families=families, mean=True, log=False)
    yield plot.depth_curve(result, metric, model_y=y, families=families)
    yield plot.model_tree(result, metric, families=families)
    yield plot.model_space(result, metric, families=families)
    yield plot.groups(result, metric, families=families, orders=9)
    yield plot.null_histogram(result, metric, x, y)


@pytest.mark.filterwarnings("error::UserWarning")
def test_made_up_names_are_drawn_as_text():
    names = dict.fromkeys(EVIL, 2)
    result = calibrated(made_result(names, names, ("cka", "$x_{")), lambda metric, i, j: 0.5)
    for ax in every_figure(result, EVIL, EVIL):
        root = ElementTree.fromstring(draw(ax, "svg"))
        tags = {element.tag.rsplit("}", 1)[-1] for element in root.iter()}
        assert "script" not in tags and "b" not in tags
    assert ticks(plot.metric_map(result).xaxis) == ["CKA", r"\$x_{"]


def test_names_that_look_alike_when_short_are_told_apart():
    assert labels(["a/m", "b/m", "c"]) == ["a/m", "b/m", "c"]
    long = [f"{'x' * 40}{i}{'y' * 40}" for i in range(3)]
    assert len(set(labels(long))) == 3 and max(map(len, labels(long))) < 70
    assert labels(["", " "])[0].startswith("(empty name)")
    controls = [f"efficientnet-lite{i} [random init 0]" for i in range(3)]
    assert names_apart(controls, 16) == [f"effic…-lite{i} [random init 0]" for i in range(3)]  # all of the mark


def test_axes_that_are_given_are_drawn_into():
    figure = figure_module.Figure(figsize=(9, 4))
    left, right = figure.subplots(1, 2)
    result = made_result({"a": 2, "b": 2, "c": 2}, {"a": 2, "b": 2, "c": 2})
    assert plot.depth_curve(result, "cka", ax=left) is left and plot.model_space(result, "cka", ax=right) is right
    assert not figure.legends and left.get_legend() and right.get_legend()


def test_nothing_is_shown():
    files = list(Path(plot.__file__).parent.glob("*.py"))
    assert len(files) >= 5
    for path in files:
        text = path.read_text()
        assert "pyplot" not in text and ".show(" not in text
