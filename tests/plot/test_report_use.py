"""One report, used by mouse and keyboard: sorted, searched, zoomed, switched, exported, read aloud."""

import csv
import io

import numpy as np
import pytest
from browser import column, eventually, saved
from made_results import made_result
from test_report import made_gallery, simple

import prh_jax
from prh_jax import plot
from prh_jax.results.wording import finding

RESET = """() => {
    const first = { metric: content.lead, how: "best", value: "score", order: "cluster", sort: "shown", down: true };
    Object.assign(state, first);
    for (const name of ["metric", "how", "value", "order"]) at(name).value = state[name];
    at("find").value = "";
    at("layer-table").open = false;
    scrollTo(0, 0);
    document.activeElement.blur();
    return drawAll();
}"""


@pytest.fixture(scope="module")
def report_page(tmp_path_factory, kept_open):
    ids = [f"sample {i}" for i in range(40)]
    gallery = made_gallery(ids, "one", "b", picture=lambda i: np.full((90, 60, 3), 6 * i, np.uint8))
    path = tmp_path_factory.mktemp("report") / "report.html"
    return kept_open(prh_jax.report(simple(), path, galleries=[gallery]))


@pytest.fixture
def page(report_page):
    """The report as it opened."""
    report_page.evaluate(RESET)
    return report_page


def rows_of(text):
    return list(csv.reader(io.StringIO(text)))


def test_it_opens_on_the_finding(page):
    assert page.input_value("#metric") == "mutual_knn"
    said = page.inner_text("#finding")
    assert said == finding(simple(), "mutual_knn") and "two and c: 0.4500" in said
    page.select_option("#metric", "cka")
    assert page.inner_text("#finding") == finding(simple(), "cka")


def test_tables_are_saved_as_csv_and_latex(page):
    page.select_option("#order", "given")
    heads, *rows = rows_of(saved(page, "#map-export button >> nth=0"))
    assert heads == ["mutual kNN, best over layer pairs", "a", "b", "c"] and [row[0] for row in rows] == ["one", "two"]
    np.testing.assert_array_equal(np.array([row[1:] for row in rows], np.float32), simple().scores("mutual_knn").values)
    page.fill("#find", "two")
    heads, *rows = rows_of(saved(page, "#pairs-export button >> nth=0"))
    assert heads[:3] == ["model of x", "model of y", "mutual kNN, best over layer pairs"] and len(rows) == 3
    assert (*rows[0][:2], round(float(rows[0][2]), 6)) == ("two", "c", 0.45)
    tex = saved(page, "#pairs-export button >> nth=1").splitlines()
    assert tex[1:3] == [r"\begin{tabular}{llrrrrll}", r"\toprule"] and tex[-2:] == [r"\bottomrule", r"\end{tabular}"]
    assert tex[5].startswith("two & c & 0.4500 & 0.2667 & ") and tex[5].endswith(r"\\")
    page.click("#layer-table summary")
    eventually(page, "document.querySelectorAll('#layer-table td').length > 0")
    assert len(rows_of(saved(page, "#layers-export button >> nth=0"))) == 1 + 3


def test_names_are_escaped_in_latex_and_quoted_in_csv(page):
    cells = {
        "heads": [{"text": "a_b & 50%"}, {"text": "n"}],
        "rows": [[{"text": 'x "y", z'}, {"text": "0.5000", "value": 0.5}]],
    }
    assert page.evaluate("cells => latexOf(cells)", cells).splitlines()[3] == r"a\_b \& 50\% & n \\"
    assert rows_of(page.evaluate("cells => csvOf(cells)", cells)) == [["a_b & 50%", "n"], ['x "y", z', "0.5"]]


def test_the_keyboard_reaches_everything_and_shows_where_it_is(page):
    focus = """() => { const at = document.activeElement;
        const name = at === document.body ? "" : at.id || at.className || at.tagName + at.textContent.slice(0, 6);
        return [name, getComputedStyle(at).outlineStyle]; }"""
    page.focus(".skip")
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    seen = []
    while not seen or seen[-1]:
        name, outline = page.evaluate(focus)
        seen.append(name)
        assert outline != "none" or not name, name
        page.keyboard.press("Tab")
    seen = [name for name in seen if not name.startswith("modebar")]  # of plotly
    wanted = ["skip", "theme", "metric", "how", "value", "order", "wide", "BUTTONCSV", "BUTTONLaTeX", "SUMMARYLayer "]
    assert seen[: len(wanted)] == wanted
    assert seen.index("find") < seen.index("BUTTONmodel ") < seen.index("BUTTONtwo")
    page.focus("#metric")
    page.keyboard.press("ArrowUp")
    assert page.input_value("#metric") == "cka" and page.inner_text("#finding").startswith("By CKA")
    page.focus("#map-export button")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "models-cka.csv"


def test_tables_and_plots_have_names_for_screen_readers(page):
    page.click("#layer-table summary")
    eventually(page, "document.querySelectorAll('#layer-table td').length > 0")
    count = "(what) => document.querySelectorAll(what).length"
    assert page.evaluate(count, "th:not([scope])") == 0 and page.evaluate(count, "th[scope]") > 10
    assert page.evaluate(count, "[role=img]:not([aria-label]), [role=region]:not([aria-label])") == 0
    assert page.evaluate(count, "section:not([aria-labelledby])") == 0 and page.evaluate(count, "h1") == 1
    assert page.evaluate("[...document.querySelectorAll('button')].every(b => b.textContent.trim() || b.ariaLabel)")
    assert page.evaluate("[...document.querySelectorAll('select, input')].every(e => e.labels.length === 1)")


def test_table_sorts_finds_and_opens(page):
    assert column(page, 3) == ["0.4500", "0.4200", "0.4000", "0.1500", "0.1200", "0.1000"]
    page.click("#pairs th:nth-child(3) button")
    assert column(page, 3) == ["0.1000", "0.1200", "0.1500", "0.4000", "0.4200", "0.4500"]
    assert page.get_attribute("#pairs th:nth-child(3)", "aria-sort") == "ascending"
    page.click("#pairs th:nth-child(2) button")
    assert column(page, 2) == ["a", "a", "b", "b", "c", "c"]
    page.fill("#find", "two")
    assert column(page, 1) == ["two"] * 3 and page.inner_text("#found") == "3 of 6 pairs"
    page.focus("#pairs tbody button")
    page.keyboard.press("Enter")
    assert page.inner_text("#pair-title") == "two with a"
    assert "best 0.4000 at layers x2 (3 of 3) and y0 (1 of 1)" in page.inner_text("#pair-facts")
    assert page.evaluate("document.activeElement.id") == "pair"
    assert page.evaluate("at('layers').data[0].z.map(row => Array.from(row, v => v.toFixed(2)))") == [
        ["0.20"],
        ["0.30"],
        ["0.40"],
    ]
    page.click("#layer-table summary")
    eventually(page, "document.querySelectorAll('#layer-table td').length === 3")
    assert page.eval_on_selector_all("#layer-table td", "cells => cells.map(c => c.textContent)") == [
        "0.2000",
        "0.3000",
        "0.4000",
    ]


def test_maps_zoom_and_open_a_pair(page):
    page.select_option("#order", "given")
    box = page.locator("#map .nsewdrag").bounding_box()
    cell = box["width"] / 3, box["height"] / 2
    page.mouse.click(box["x"] + 1.5 * cell[0], box["y"] + 0.5 * cell[1])
    eventually(page, "document.getElementById('pair-title').textContent === 'one with b'")
    page.evaluate("scrollTo(0, 0)")
    box = page.locator("#map .nsewdrag").bounding_box()
    page.mouse.move(box["x"] + 1.2 * cell[0], box["y"] + 0.2 * cell[1])
    page.mouse.down()
    page.mouse.move(box["x"] + 2.8 * cell[0], box["y"] + 1.8 * cell[1], steps=5)
    page.mouse.up()
    low, high = page.evaluate("at('map').layout.xaxis.range")
    assert 0.5 < low < 0.9 and 2.1 < high < 2.5
    page.mouse.move(box["x"] + 1.5 * cell[0], box["y"] + 0.5 * cell[1])
    page.wait_for_selector("#map .hoverlayer text")
    assert "mutual kNN, best over layer pairs 0." in page.text_content("#map .hoverlayer")


def test_choices_change_what_is_shown(page):
    page.select_option("#how", "mean")
    page.select_option("#metric", "mutual_knn")
    assert column(page, 3) == ["0.3400", "0.3150", "0.3000", "0.0900", "0.0650", "0.0500"]
    page.select_option("#value", "calibrated")
    expected = [max(score - 0.25, 0) / 0.75 for score in (0.45, 0.42, 0.4, 0.15, 0.12, 0.1)]
    assert column(page, 3) == [f"{value:.4f}" for value in expected]
    assert page.evaluate("at('null').data[0].y.reduce((a, b) => a + b)") == 4  # every order of the null is in a bar


def test_samples_stand_beside_their_neighbours(page):
    assert "2.00 in common" in page.inner_text("#gallery-note")
    first = page.locator(".sample").first
    assert first.locator("h4").inner_text() == "sample 0: 2 of 3 shared"
    assert first.locator("figcaption").all_inner_texts() == [f"sample {i}" for i in (0, 1, 2, 3, 2, 1, 39)]
    assert first.locator("figure.shared figcaption").all_inner_texts() == [f"sample {i}" for i in (1, 2, 2, 1)]
    assert first.locator("img").first.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [48, 72]
    assert first.locator(".side").all_inner_texts() == ["one, x0", "b, y1"]


def test_a_wide_map_scrolls_sideways_on_a_phone(tmp_path, opened):
    wide = made_result({f"x{i}": 1 for i in range(3)}, {f"network-of-a-long-name-{i}": 1 for i in range(17)})
    page = opened(prh_jax.report(wide, tmp_path / "wide.html"), width=400, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400 and page.is_visible("#sideways")
    last = "document.querySelector('#map .xtick:last-of-type').getBoundingClientRect().right"
    assert page.evaluate(last) > 400
    page.evaluate("document.querySelector('.wide').scrollLeft = 9999")
    assert page.evaluate(last) <= 400
    eight = wide.sel(model_y=slice(0, 8))
    page = opened(prh_jax.report(eight, tmp_path / "eight.html"), width=400)
    assert page.evaluate(last) <= 400 and page.is_hidden("#sideways")
    assert page.locator("#map .xtick text").count() == 8


def test_the_map_names_its_last_column_where_the_name_is_wider_than_the_column(tmp_path, opened):
    names = {f"{name}-clips": 1 for name in ("a", "b", "c", "d", "e", "f", "g")} | {"package:efficientnet-lite0": 1}
    page = opened(prh_jax.report(made_result(names, names), tmp_path / "last.html"), width=1300)
    page.select_option("#order", "given")
    shown = page.eval_on_selector_all("#map .xtick text", "all => all.map(t => [t.textContent, t.style.display])")
    assert shown == [[name, ""] for name in names]


def test_checkpoints_are_joined_and_families_have_their_colours(tmp_path, opened):
    names = {f"{model}@step{step}": 1 for model in "ab" for step in (0, 1, 100, 10000)}
    result = made_result(names, {"c": 1, "d": 1}, score=lambda m, i, j: i + j)
    page = opened(prh_jax.report(result, tmp_path / "steps.html"))
    lines = page.evaluate("at('scatter').data.slice(0, 2).map(({ x, y, line }) => [x, y, line.color])")
    assert lines == [
        [[0.1, 1, 100, 10000], [0.5, 1.5, 2.5, 3.5], "#0072B2"],
        [[0.1, 1, 100, 10000], [4.5, 5.5, 6.5, 7.5], "#D55E00"],
    ]
    assert page.evaluate("at('scatter').layout.xaxis.ticktext") == ["0", "1", "10", "100", "1k", "10k"]
    families = dict(zip([*names, "c", "d"], "uuvvuuvvwu", strict=True))
    path = prh_jax.report(result, tmp_path / "families.html", families=families, covariates=["bits_per_byte"])
    text = path.read_text("utf-8")
    assert text.index('"name": "bits_per_byte"') < text.index('"name": "training step"')
    for color in ("#0072B2", "#D55E00", "#009E73"):
        assert f'"color": "{color}"' in text
    with pytest.raises(ValueError, match="No model of this result has a number 'size'; recorded are step, bits_per"):
        prh_jax.report(result, tmp_path / "wrong.html", covariates=["size"])
    with pytest.raises(ValueError, match="No family is given for model 'a@step0'"):
        prh_jax.report(result, tmp_path / "wrong.html", families={"c": "w"})
    assert not (tmp_path / "wrong.html").exists()


def test_a_notebook_has_the_report_in_a_frame(tmp_path, opened):
    shown = plot.panels(simple(), height=500)._repr_html_()
    (tmp_path / "cell.html").write_text(f'<!DOCTYPE html><html data-ready="true"><meta charset="utf-8">{shown}</html>')
    page = opened(tmp_path / "cell.html")
    frame = page.frame_locator("iframe")
    frame.locator("html[data-ready]").wait_for()
    assert frame.locator("#finding").inner_text() == finding(simple(), "mutual_knn")
    assert page.evaluate("document.querySelector('iframe').clientHeight") == 500
    assert rows_of(saved(page, frame.locator("#map-export button").first))[1][0] in ("one", "two")
