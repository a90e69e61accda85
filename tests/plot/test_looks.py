"""How figures look: texts have room, a colour means one thing, axes suit their numbers, dark styles are legible."""

import numpy as np
import pytest
import xarray as xr
from made_results import calibrated, edited, made_result

from prh_jax import plot

pytest.importorskip("matplotlib.figure")
from matplotlib.colors import to_hex
from test_figures import LANGUAGE, VISION, draw, every_figure, legend_of, legend_texts, ticks

from prh_jax.plot.base import short_number, wrapped
from prh_jax.plot.colors import COLORS, GREY, ink_upon
from prh_jax.plot.html_report import _models


def texts_of(ax):
    """Every text that stands outside the data: names of axes, ticks, titles, legends."""
    for axes in ax.figure.axes:
        yield from (axes.title, axes.xaxis.label, axes.yaxis.label)
        for axis, place in ((axes.xaxis, 0), (axes.yaxis, 1)):
            low, high = sorted(axis.get_view_interval())
            yield from (text for text in axis.get_ticklabels() if low <= text.get_position()[place] <= high)
    yield from () if legend_of(ax) is None else legend_of(ax).get_texts()


def check_room(ax):
    """All texts lie within the figure, and no name of an axis, title or legend on another text or on the data."""
    ax.figure.draw_without_rendering()
    canvas, data, legend = ax.figure.bbox, ax.get_window_extent(), legend_of(ax)
    seen = {text: text.get_window_extent() for text in texts_of(ax) if text.get_text()}
    for text, box in seen.items():
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= canvas.x1 + 1 and box.y1 <= canvas.y1 + 1, text
    names = [text for text in seen if text in (ax.title, ax.xaxis.label, ax.yaxis.label)]
    for text in names:
        assert not any(seen[text].padded(-1).overlaps(box) for other, box in seen.items() if other is not text), text
    if legend is not None:
        assert not legend.get_window_extent().overlaps(data)
    assert data.width > 0.3 * canvas.width and data.height > 0.2 * canvas.height


@pytest.fixture(scope="module")
def long_names():
    names = dict.fromkeys([*LANGUAGE, *VISION], 1)
    result = calibrated(made_result(names, names, ("mutual_knn", "procrustes_distance")), lambda metric, i, j: 0.5)
    with edited(result) as protocol:
        protocol["metrics"]["procrustes_distance"]["larger_is_closer"] = False
    return result


def test_texts_lie_inside_the_figure_and_on_nothing_else(long_names):
    few = long_names.sel(model_x=slice(0, 4), model_y=slice(0, 4))
    for result in (long_names, few.sel(metric="procrustes_distance")):
        for ax in every_figure(result, result.models_x, result.models_y):
            check_room(ax)


def test_the_legend_of_a_small_map_takes_as_many_lines_as_it_needs():
    names = dict.fromkeys("abcd", 1)
    result = calibrated(made_result(names, names), lambda metric, i, j: 0.5)
    for significance in ("p", "q_bh"):
        check_room(plot.model_map(result, "cka", significance=significance))


COLOR_OF = {"a": "#0072B2", "b": "#D55E00", "c": "#009E73"}


def test_a_family_has_one_colour_in_all_figures_and_in_the_report(long_names):
    kinds = ["a", "b", "c"] * 10
    result = long_names.assign(family=dict(zip([*LANGUAGE, *VISION], kinds, strict=False)), size=list(range(29)))
    metric = "mutual_knn"
    made = [
        plot.model_map(result, metric),
        plot.model_tree(result, metric),
        plot.curve(result, metric, "size"),
        plot.curve(result.sel(model_y=slice(2, 4)), metric, "size", side="y", mean=True),
        plot.covariate_scatter(result.sel(model_x=slice(0, 9)), metric, "size"),
        plot.depth_curve(result, metric),
    ]
    points = [line for line in plot.groups(result, metric, orders=9).lines if line.get_marker() == "o"]
    assert [to_hex(line.get_color()).upper() for line in points[:3]] == list(COLOR_OF.values())
    for ax in made:
        for handle, text in zip(legend_of(ax).legend_handles, legend_texts(ax), strict=True):
            family = text.split(" · ")[-1]
            if family in ("a", "b", "c"):
                shown = handle.get_facecolor() if hasattr(handle, "get_facecolor") else handle.get_color()
                assert to_hex(shown).upper() == COLOR_OF[family]
    told = _models(result)
    assert {(m["family"], m["color"]) for side in "xy" for m in told[side]} == set(COLOR_OF.items())


def test_the_squares_of_a_tree_stand_between_its_branches_and_its_names(long_names):
    ax = plot.model_tree(long_names, "mutual_knn", families=two_families(long_names))
    draw(ax)
    squares = [line for line in ax.lines if line.get_marker() == "s"]
    places = [line.get_transform().transform(line.get_xydata())[0] for line in squares]
    half = 2.5 * ax.figure.dpi / 72
    names = [text.get_window_extent() for text in ax.get_yticklabels()]
    assert len(squares) == len(names) == 29
    assert all(
        ax.bbox.x1 < place[0] - half and place[0] + half < box.x0 for place, box in zip(places, names, strict=True)
    )
    branches = {line.get_color() for line in ax.lines if line.get_marker() != "s"}
    assert branches == {GREY}  # no family's colour


def contrast(one, other):
    """Ratio of the relative luminances of two sRGB colours, as in WCAG 2.2."""
    light = []
    for color in (one, other):
        parts = np.array([int(to_hex(color)[start : start + 2], 16) / 255 for start in (1, 3, 5)])
        light.append(
            np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
        )
    return (max(light) + 0.05) / (min(light) + 0.05)


def test_numbers_are_legible_on_every_colour(long_names):
    from matplotlib import colormaps

    every = [colormaps[name](np.linspace(0, 1, 256))[:, :3].tolist() for name in ("cividis", "PuOr")]
    for color in (*COLORS, *every[0], *every[1]):
        assert contrast(color, ink_upon(color)) >= 4.5
    ax = plot.model_map(long_names, "mutual_knn", significance="p")  # all p are 0.5: pale, of every colour of the map
    (grey,) = {text.get_color() for text in ax.texts}
    for color in every[0]:
        assert contrast(0.8 + 0.2 * np.array(color), grey) >= 4.5


def test_chance_scores_and_rings_have_no_colour_of_a_family(long_names):
    numbers = {name: ("n", [1.0, 2.0]) for name in ("score", "null_mean", "null_sd", "tau")}
    name = long_names.models_x[0]
    made = [
        plot.null_histogram(long_names, "mutual_knn", name, long_names.models_y[1]),
        plot.sample_curve(xr.Dataset(numbers, coords={"n": [10, 20]})),
        plot.layer_map(long_names, "mutual_knn", name, long_names.models_y[1]),
        plot.metric_scatter(varied := made_result({"a": 1, "b": 1}, {"c": 1, "d": 1}, ("cka", "rtd")), *varied.metrics),
    ]
    for ax in made:
        drawn = [line.get_markeredgecolor() if line.get_marker() == "o" else line.get_color() for line in ax.lines]
        drawn += [np.ravel(part.get_facecolor())[:4] for part in (*ax.patches, *ax.collections)]
        assert drawn and {to_hex(color) for color in drawn} <= {"#000000", "#ffffff", GREY}
    assert all(float(text.get_text()) % 1 == 0 for text in made[0].get_yticklabels())  # whole orders


def test_words_next_to_a_figure_say_what_it_counts(long_names):
    few = long_names.sel(model_x=slice(0, 5), model_y=slice(0, 5))
    for ax in (
        plot.covariate_scatter(few, "mutual_knn", range(5)),
        plot.curve(few, "mutual_knn", list(range(5)), mean=True),
    ):
        assert "mean over 5 models, itself aside" in ax.get_ylabel().replace("\n", " ")
    ax = plot.model_space(few, "mutual_knn")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("first coordinate", "second coordinate")


def test_pale_cells_are_explained_by_no_colour_of_a_family(long_names):
    from matplotlib import style

    kinds = [str(i % 8) for i in range(29)]
    with style.context("dark_background"):
        result = long_names.assign(family=dict(zip(long_names.models_x, kinds, strict=True)))
        ax = plot.model_map(result, "mutual_knn", significance="p")
        drawn = [to_hex(patch.get_facecolor()) for patch in legend_of(ax).get_patches()]
    assert len(drawn) == len(set(drawn)) == 8 + 1 + 1  # families, pale (the first of its two), a model with itself


def test_lines_of_text_end_between_words():
    text = "language-model-bloom-0.5b-instruct-v0.0 with hog: p = 0.0164"
    assert wrapped(text, 3.8, 9).split("\n") == ["language-model-bloom-0.5b-instruct-v0.0", "with hog: p = 0.0164"]


def two_families(result):
    return {name: "language" if name in LANGUAGE else "vision" for name in result.models_x}


def test_close_is_bright_whichever_way_a_metric_counts():
    result = made_result({"a": 2}, {"b": 2}, ("cka", "rtd"), score=lambda m, i, j: i + j)
    with edited(result) as protocol:
        protocol["metrics"]["rtd"]["larger_is_closer"] = False
    for draw_map in (lambda m: plot.model_map(result, m), lambda m: plot.layer_map(result, m, "a", "b")):
        assert draw_map("cka").images[0].get_cmap().name == "cividis"
        ax = draw_map("rtd")
        assert ax.images[0].get_cmap().name == "cividis_r"
        assert ax.figure.axes[1].get_ylabel().replace("\n", " ") == "rtd, smaller is closer"


def test_numbers_that_span_decades_have_a_logarithmic_axis():
    result = made_result(dict.fromkeys("abcd", 1), {"e": 1}, score=lambda m, i, j: i)
    ax = plot.covariate_scatter(result, "cka", [1e6, 1e7, 1e8, 1e9], xlabel="parameters")
    line = next(line for line in ax.lines if len(line.get_xdata()) == 2)
    np.testing.assert_allclose(line.get_xydata(), [[1e6, 0], [1e9, 3]], atol=1e-9)
    assert (ax.get_xscale(), ax.get_xlabel()) == ("log", "parameters")
    assert legend_texts(ax)[0] == "Spearman 1.00, Pearson 1.00 (log)"
    draw(ax)
    assert [t for t in ticks(ax.xaxis) if t] == ["100k", "1M", "10M", "100M", "1B", "10B"]
    assert plot.covariate_scatter(result, "cka", [60, 70, 75, 80]).get_xscale() == "linear"
    assert plot.covariate_scatter(result, "cka", [1, 9, 99, 999], log=False).get_xscale() == "linear"
    with pytest.raises(ValueError, match="no place for 0: draw it with log=False"):
        plot.covariate_scatter(result, "cka", [0, 9, 99, 999], log=True)
    assert [short_number(v) for v in (0, 7.5, 999, 1e3, 7e7, 1.4e9, 3e12)] == [
        "0",
        "7.5",
        "999",
        "1k",
        "70M",
        "1.4B",
        "3T",
    ]


def test_a_dark_style_has_no_black_lines():
    from matplotlib import style

    names = dict.fromkeys("abcdefgh", 2)
    result = calibrated(made_result(names, {"y": 2}), lambda m, i, j: 0.5)
    with style.context("dark_background"):
        for ax in (
            plot.depth_curve(result, "cka"),
            plot.curve(result, "cka", list(range(8)), families={n: n for n in names}),
        ):
            assert {to_hex(line.get_color()) for line in ax.lines} & {"#000000", "#666666"} == set()
