"""The HTML report in a browser that has no network: what it shows, what it must not run, how fast it is."""

import errno
import json
import os
import re
import time

import numpy as np
import pandas
import pytest
import xarray as xr
from browser import column, eventually
from made_results import EVIL, calibrated, edited, made_result

import prh_jax
from prh_jax import plot
from prh_jax.results.gallery import best_pair
from prh_jax.stores.shown import plain_name

METRICS = ("cycle_knn", "mutual_knn", "lcs_knn", "cka", "unbiased_cka", "cknna", "svcca", "edit_distance_knn")


def simple():
    """Two by three models, scores that tell their place: 0.1 for a layer of x, 0.01 for one of y."""
    result = made_result(
        {"one": 2, "two": 3}, {"a": 1, "b": 2, "c": 3}, ("cka", "mutual_knn"), score=lambda m, i, j: 0.1 * i + 0.01 * j
    )
    return calibrated(result, lambda m, i, j: 0.01 * (1 + i + j))


def test_the_file_stands_alone(tmp_path):
    path = prh_jax.report(simple(), tmp_path / "report.html")
    text = path.read_text("utf-8")
    assert "default-src 'none'" in text
    assert not re.search(r"<(?:link|img|iframe)\b|<script[^>]+src", text.split("<script>")[0])
    content = json.loads(re.search(r'<script id="content"[^>]*>(.*?)</script>', text, re.S)[1])
    assert content["metrics"]["cka"]["best"] == [[1, 0], [1, 1], [1, 2], [2, 0], [2, 1], [2, 2]]
    with pytest.raises(prh_jax.StoreError, match="already exists"):
        prh_jax.report(simple(), path)
    assert prh_jax.report(simple(), path, overwrite=True, title="Again").read_text("utf-8") != text


def test_a_report_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    for path, words in (
        ("folder", "is a folder"),
        ("file/report.html", "could not be written, as .*file is not a folder"),
    ):
        with pytest.raises(prh_jax.StoreError, match=words):
            prh_jax.report(simple(), tmp_path / path, overwrite=True)

    def full(path, text, encoding):
        path.write_bytes(text[:99].encode(encoding))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(prh_jax.StoreError, match="disk is full"):
        prh_jax.report(simple(), tmp_path / "report.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_covariates_are_of_models_of_the_result(tmp_path):
    """Of two sides that share some models, a model with itself does not count."""
    table = {"a": [1, 0.1, 0.2], "b": [0.3, 1, 0.2], "c": [0.5, 0.4, 0.3]}
    score = [table[name] for name in "abc"]
    result = made_result(dict.fromkeys("abc", 1), dict.fromkeys("abd", 1), score=lambda m, i, j: score[i][j])
    with pytest.raises(ValueError, match=r"no model of this result; it has \['vit'\]"):
        prh_jax.report(result, tmp_path / "report.html", covariates={"size": {"vit": 1.0}})
    path = prh_jax.report(result, tmp_path / "report.html", covariates={"size": {"a": 1.0, "b": 2.0, "c": 3.0}})
    content = content_of(path)
    found = next(c["rho"]["cka"] for c in content["covariates"] if c["name"] == "size")
    assert found == pytest.approx(1)  # 0.15, 0.25, 0.4


def content_of(path):
    return json.loads(re.search(r'<script id="content"[^>]*>(.*?)</script>', path.read_text("utf-8"), re.S)[1])


def test_the_table_has_two_models_once_and_none_with_itself(tmp_path):
    names = {"a": 2, "b": 1, "c": 1}

    def score(metric, i, j):
        return 9 if i == j else {"cka": i + j, "one_way": 10 * i + j}[metric]

    result = calibrated(made_result(names, names, ("cka", "one_way"), score), lambda m, i, j: 0.01)
    content = content_of(prh_jax.report(result, tmp_path / "report.html"))
    own = np.eye(3, dtype=bool)
    assert content["own"] == own.ravel().tolist() and "(3 pairs of two models)" in content["summary"]
    cka, one_way = content["metrics"]["cka"], content["metrics"]["one_way"]
    assert np.flatnonzero(cka["counted"]).tolist() == [1, 2, 5]
    assert cka["listed"] == [0, 1, 2, 1, 4, 5, 2, 5, 8]  # below the diagonal the pair above stands for it
    assert np.flatnonzero(one_way["counted"]).tolist() == [1, 2, 3, 5, 6, 7] and one_way["listed"] == list(range(9))
    assert cka["best"][0] == [0, 1] and cka["best"][4] == [-1, -1]  # two different layers of a; b has one
    assert [bins is None for bins in cka["null"]] == own.ravel().tolist()


def test_a_model_with_itself_is_grey_and_not_in_the_table(tmp_path, opened):
    names = {"a": 2, "b": 1, "c": 1}
    result = made_result(names, names, score=lambda m, i, j: 9 if i == j else i + j)
    page = opened(prh_jax.report(calibrated(result, lambda m, i, j: 0.01), tmp_path / "report.html"))
    assert column(page, 3) == ["5.0000", "4.0000", "3.0000"]
    page.select_option("#order", "given")
    assert page.evaluate("at('map').data[0].z") == [[None, 3, 4], [3, None, 5], [4, 5, None]]
    assert page.evaluate("at('map').data[1].z") == [[1, None, None], [None, 1, None], [None, None, 1]]
    page.evaluate("openPair(0, 0, false)")
    assert page.inner_text("#pair-title") == "a with itself" and page.is_hidden("#null")
    assert page.inner_text("#pair-facts").startswith("CKA: best of two different layers 1.0000")
    page.evaluate("openPair(2, 1, false)")
    assert page.get_attribute("#pairs tr[aria-current]", "data-pair") == "5"


def test_a_study_without_scores_and_numbers_too_small_to_print(tmp_path, opened):
    result = made_result({"a": 3, "b": 2, "c": 1}, {"d": 2, "e": 1}, score=lambda m, i, j: np.nan)
    page = opened(prh_jax.report(result, tmp_path / "nan.html"))
    assert page.evaluate("[...at('map').layout.xaxis.range, ...at('map').layout.yaxis.range]") == [-0.5, 1.5, 2.5, -0.5]
    assert "No model has both" in page.inner_text("#rho") and page.is_hidden("#scatter")
    assert page.inner_text("#pair-facts") == "CKA: no score."
    ticks = page.eval_on_selector_all("#layers .ytick text", "found => found.map(t => t.textContent)")
    assert sorted(ticks) == ["0", "1", "2"]
    room = page.evaluate("at('layers').clientWidth")
    assert page.evaluate("document.querySelector('#layers svg').clientWidth") == room > 1000
    found = calibrated(made_result({"a": 1}, {"b": 1}), lambda m, i, j: 2e-9)
    page = opened(prh_jax.report(found, tmp_path / "small.html"))
    assert column(page, 5) == ["2.0e-9"] and column(page, 6) == ["1.0e-9"]


def test_scores_are_sorted_closest_first_and_the_aggregate_is_said(tmp_path, opened):
    result = simple()
    with edited(result) as protocol:
        protocol["metrics"]["cka"]["larger_is_closer"] = False
    result.calibration.settings["null"] = result.calibration.settings["null"] | {"aggregate": "mean"}
    page = opened(prh_jax.report(result, tmp_path / "report.html"))
    assert "mean over layer pairs 0.4500: critical score 0.2500 at level 0.05" in page.inner_text("#pair-facts")
    page.select_option("#metric", "cka")
    assert column(page, 3)[:2] == ["0.0000", "0.0100"]  # the best of one layer with a, of one with b


def made_gallery(ids, model_x, model_y, layer_x="x0", layer_y="y1", picture=None):
    """Three neighbours a sample: the next three in x; the next, the one after, and the one before in y."""
    n = len(ids)
    lists = {"x": (np.arange(n)[:, None] + [1, 2, 3]) % n, "y": (np.arange(n)[:, None] + [2, 1, -1]) % n}
    data = {f"neighbors_{side}": (("sample", "rank"), found) for side, found in lists.items()}
    shared = ("sample", np.full(n, 2))
    dataset = xr.Dataset(data | {"shared": shared}, coords={"id": ("sample", np.array(ids, object))})
    place = {"model_x": model_x, "model_y": model_y, "depths": (0, 1), "layer_x": layer_x, "layer_y": layer_y}
    return prh_jax.Gallery(dataset, place, captions=list(ids), picture=picture)


def test_what_others_named_is_text(tmp_path, opened):
    names = [name + mark for name, mark in zip(EVIL, "0123456789", strict=True)]
    result = calibrated(made_result(dict.fromkeys(names, 2), dict.fromkeys(names[:3], 2)), lambda m, i, j: 0.5)
    ids = [*names, "</script><script>alert(1)</script>", "<img src=x onerror=alert(2)>"]
    gallery = made_gallery(ids, names[0], names[1], layer_x="<b>x</b>", layer_y="")
    covariates = {"<i>size</i>": {name: float(i) for i, name in enumerate(names)}}
    path = prh_jax.report(result, tmp_path / "report.html", title=EVIL[0], galleries=[gallery], covariates=covariates)
    page = opened(path)
    assert page.title() == EVIL[0] and page.inner_text("h1") == EVIL[0]
    assert set(column(page, 1)) == {plain_name(name) for name in names}
    assert page.evaluate("document.querySelectorAll('main script, main a, main svg a, main i, main b').length") == 0
    assert "script>0" in page.text_content("#map")  # a short name: its last part
    captions = set(page.eval_on_selector_all("#samples figcaption", "found => found.map(c => c.textContent)"))
    assert captions == {plain_name(name) for name in ids}
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_analyses_are_sections_of_their_own(tmp_path, opened):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 6)).astype(np.float32)
    ceiling = prh_jax.noise_ceiling([x, x + 0.1, x * 2], "cka")
    found = prh_jax.retrieval(x, x, map="orthogonal", k=[1, 5], splits=1, null=0)
    long = pandas.DataFrame({"<b>n</b>": range(600), "share_of_all": [np.nan, *(i / 600 for i in range(599))]})
    (tmp_path / "t.csv").write_text("layer,r\nlast,0.25\n")
    figure = plot.recall_curve(found).figure
    figure.savefig(tmp_path / "f.png")
    shown = {
        "Ceiling & co": [ceiling, "Three <i>repeats</i>."],
        "Retrieval": found,
        "Long": long,
        "Files": [tmp_path / "t.csv", tmp_path / "f.png"],
        "Axes": plot.recall_curve(found),
    }
    page = opened(prh_jax.report(simple(), tmp_path / "report.html", sections=shown))
    assert page.eval_on_selector_all(".told h2", "found => found.map(h => h.textContent)") == list(shown)
    widths = page.eval_on_selector_all(".told img", "found => found.map(i => i.naturalWidth)")
    assert len(widths) == 3 and min(widths) > 300
    tables = [
        [line.split("\t") for line in text.splitlines()]
        for text in page.eval_on_selector_all(".told table", "found => found.map(t => t.innerText)")
    ]
    assert [row[0] for row in tables[0]] == ["quantity", "lower", "upper"]
    assert tables[0][1][1] == f"{ceiling.lower:.4f}"
    assert tables[1][0][:4] == ["direction", "layer x", "layer y", "k"] and len(tables[1]) == 1 + 4
    assert (
        tables[2][:3] == [["<b>n</b>", "share of all"], ["0", "\N{EN DASH}"], ["1", "0.0000"]] and len(tables[2]) == 501
    )
    assert "The first 500 of 600 rows." in page.inner_text(".told >> nth=2")
    assert tables[3] == [["layer", "r"], ["last", "0.2500"]]
    assert "Three <i>repeats</i>." in page.inner_text(".told >> nth=0")
    assert page.evaluate("document.querySelectorAll('main i, main b').length") == 0


def test_sections_that_cannot_be_shown_are_refused(tmp_path):
    for section, fault in (
        (np.ones(3), "shows figures, tables .* got ndarray"),
        (tmp_path / "none.csv", "cannot be shown in a report"),
        (tmp_path / "model.pt", "files .png and .csv"),
    ):
        with pytest.raises(ValueError, match=fault):
            prh_jax.report(simple(), tmp_path / "report.html", sections={"mine": section})
    assert not (tmp_path / "report.html").exists()


def test_dark_and_a_study_without_null(tmp_path, opened):
    result = made_result({"one": 2}, {"a": 1})
    page = opened(prh_jax.report(result, tmp_path / "report.html"), color_scheme="dark")
    assert page.get_attribute("html", "data-theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.is_hidden("#null") and page.is_hidden("#value-choice") and page.is_hidden("#scaling")


TROUBLE = """() => {
    const found = [];
    const boxes = (from, what) => [...from.querySelectorAll(what)].map((part) => [part, part.getBoundingClientRect()]);
    const meet = (p, q) => Math.min(p.right, q.right) - Math.max(p.left, q.left) > 1
        && Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top) > 2;
    const within = (p, q) => p.left > q.left - 1 && p.right < q.right + 1
        && p.top > q.top - 1 && p.bottom < q.bottom + 1;
    for (const plot of ["layers", "null", "scatter"].map(at).filter((plot) => !plot.hidden)) {
        const room = plot.getBoundingClientRect();
        const [[, data]] = boxes(plot, ".nsewdrag");
        const svg = plot.querySelector("svg").getBoundingClientRect();
        if (Math.max(Math.abs(svg.width - room.width), Math.abs(svg.height - room.height)) > 1) found.push(plot.id);
        const texts = boxes(plot, "svg text").filter(([text, box]) => box.width && !text.closest(".scatterlayer"));
        const titles = texts.filter(([text]) => text.closest(".infolayer") && !text.closest(".legend"));
        found.push(...texts.filter(([, box]) => !within(box, room)).map(([text]) => `outside: ${text.textContent}`));
        for (const [text, box] of titles) {
            const others = [...boxes(plot, ".modebar-group"), ...texts].filter(([other]) => other !== text);
            if (others.some(([, its]) => meet(box, its))) found.push(`overlap: ${text.textContent}`);
        }
        if (boxes(plot, ".legend .bg").some(([, box]) => meet(box, data))) found.push(`legend on data: ${plot.id}`);
        const discs = boxes(plot, ".scatterlayer path.point").map(([, box]) => box).filter((box) => box.width > 12);
        const near = (p, q) => Math.hypot(p.left - q.left, p.top - q.top) < p.width - 2;
        if (plot.id === "scatter") {
            if (discs.some((p, i) => discs.some((q, j) => j < i && near(p, q)))) found.push("discs on discs");
            if (discs.length < 2) found.push("no discs");
        }
        if (boxes(plot, ".scrollbar").some(([, box]) => box.width && box.height > 1)) found.push("legend too long");
    }
    if (document.documentElement.scrollWidth > innerWidth) found.push("wider than the window");
    return found;
}"""


def test_texts_of_plots_have_room_on_every_screen(tmp_path, opened):
    names = {f"vit_giant_patch14_clip_224.laion2b_ft_in{i}k": 3 for i in range(16)}
    names["vit_large_patch14_dinov2.lvd142m_augreg_in21k_ft_in1k_of_many_words"] = 3
    result = made_result(names, names, ("procrustes_distance",), score=lambda m, i, j: 1 + (i * j) % 7)
    with edited(result) as protocol:
        protocol["metrics"]["procrustes_distance"]["larger_is_closer"] = False
    result = calibrated(result, lambda m, i, j: 0.5)
    families = {name: f"family of a name that is long {i % 3}" for i, name in enumerate(names)}
    page = opened(prh_jax.report(result, tmp_path / "r.html", families=families), width=1300, has_touch=True)
    for width in (1300, 400):
        page.set_viewport_size({"width": width, "height": 900})
        for pair in ("0, 0", "0, 1"):
            page.evaluate(f"openPair({pair}, false)")
            eventually(page, f"({TROUBLE})().length === 0")
    assert "mean over all other models" in page.inner_text("#rho")
    assert page.evaluate("at('map').data[0].colorbar.title.text.replaceAll('<br>', ' ')") == (
        "Procrustes distance, smaller is closer, best over layer pairs"
    )
    page.evaluate("at('layer-table').open = true")
    eventually(page, "document.querySelectorAll('#layer-table caption').length === 1")
    caption = "document.querySelector('#layer-table caption span').getBoundingClientRect()"
    assert page.evaluate(f"{caption}.left >= 0 && {caption}.right <= innerWidth")


def whole_study():
    """12 x 17 models of long names, 454 x 352 layers, eight metrics, a null of 200 orders."""
    rng = np.random.default_rng(0)
    counts_x, counts_y = [37] * 11 + [47], [20] * 16 + [32]
    xs = {f"organisation/language-model-of-many-words-{i}-7b-instruct-v0.{i}": c for i, c in enumerate(counts_x)}
    ys = {f"vit_large_patch14_dinov2.lvd142m_augreg_in21k_ft_in1k_{i}": c for i, c in enumerate(counts_y)}
    null = rng.random((8, 200, 12, 17)).astype(np.float32)
    return calibrated(made_result(xs, ys, METRICS), lambda m, i, j: 0.01 * (i + 1), null=null)


@pytest.mark.slow
def test_the_whole_study_is_small_and_quick(tmp_path, opened):
    path = prh_jax.report(whole_study(), tmp_path / "report.html")
    assert path.stat().st_size < 15e6
    waits = []
    for _ in range(2):
        start = time.perf_counter()
        page = opened(path)
        waits.append(time.perf_counter() - start)
    assert min(waits) < 3
    folder = os.environ.get("PRH_SCREENSHOTS", str(tmp_path))
    page.screenshot(path=os.path.join(folder, "report.png"), full_page=True)
    timed = """async () => {
        const act = ACT;
        const times = [];
        for (let t = 0; t < 7; t++) {
            const start = performance.now();
            await act(t);
            document.body.getBoundingClientRect();
            times.push(performance.now() - start);
        }
        return Math.min(...times);
    }"""
    acts = {
        "open": "(t) => openPair(t, 16 - t, false)",
        "sort": "(t) => at('pairs').querySelectorAll('th button')[2 + t % 3].click()",
        "map": "(t) => { state.value = t % 2 ? 'score' : 'calibrated'; return drawMap(); }",
    }
    slow = {name: took for name, act in acts.items() if (took := page.evaluate(timed.replace("ACT", act))) >= 100}
    assert not slow


def test_best_pair_leaves_a_model_with_itself_aside():
    table = {("a", "a"): 1.0, ("a", "b"): 0.2, ("b", "a"): 0.3, ("b", "b"): 1.0}
    result = made_result({"a": 1, "b": 1}, {"a": 1, "b": 1}, score=lambda m, i, j: table["ab"[i], "ab"[j]])
    assert best_pair(result, "cka") == ("b", "a")
    with edited(result) as protocol:
        protocol["metrics"]["cka"]["larger_is_closer"] = False
    assert best_pair(result, "cka") == ("a", "b")
