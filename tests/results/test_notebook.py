"""What terminals and notebooks show of results and stores: true numbers, and no markup of strangers."""

import html
from html.parser import HTMLParser

import numpy as np
import pytest
import xarray as xr
from made_results import EVIL, calibrated, made_result

import prh_jax
from prh_jax import Gallery
from prh_jax.results.wording import finding
from prh_jax.stores.memory import MemoryStore

TAGS = {"div", "span", "b", "table", "thead", "tbody", "tr", "th", "td"}


class Page(HTMLParser):
    """Tags, attributes, and the text of every cell by row."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.tags, self.attributes, self.text = [], [], [], ""
        self.cell = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        self.cell = self.cell or tag in ("td", "th")

    def handle_endtag(self, tag):
        self.cell = self.cell and tag not in ("td", "th")

    def handle_data(self, data):
        self.text += data
        if self.cell:
            self.rows[-1][-1] += data


def page_of(thing):
    """The HTML of a thing, held to what is harmless on a light and on a dark page."""
    page = Page(thing._repr_html_())
    assert set(page.tags) <= TAGS and {name for name, _ in page.attributes} <= {"style", "title", "dir"}
    styles = {value for name, value in page.attributes if name == "style"}
    assert not any(word in style for style in styles for word in ("color:#", "background", "url", ";color"))
    assert not set("\u202e\n\t") & set(page.text)
    return page


def test_a_result_shows_its_first_metric_by_models():
    score = {(0, 1): 0.25, (1, 0): 0.25}
    result = made_result({"a": 1, "b": 1}, {"a": 1, "b": 1}, score=lambda m, i, j: score.get((i, j), 0.9))
    assert page_of(result).rows == [["CKA", "a", "b"], ["a", "self", "0.250"], ["b", "0.250", "self"]]
    assert "By CKA, one pair of two models has a score, a and b: 0.2500" in page_of(result).text
    lines = repr(result).splitlines()
    assert lines[0] == "Alignment of 2 x 2 models, 2 x 2 layers, n = 100: cka"
    assert lines[1].split() == ["x", "a,", "b"] and lines[2].split() == ["y", "the", "same", "models"]
    assert "clipped at quantile 0.95 (auto), rows of unit length" in repr(result) and "chance" not in repr(result)
    result = made_result({"a": 2}, {"b": 2, "c": 1}, score=lambda m, i, j: np.nan if j == 2 else (i + j) / 4)
    calibrated(result, lambda m, i, j: 0.08)  # q is p / 2
    assert page_of(result).rows == [["CKA", "b", "c"], ["a", "0.500*", "-"]]
    assert finding(result, "cka") in page_of(result).text
    assert "critical 0.2500, p 0.08, q 0.04" in dict(page_of(result).attributes)["title"]
    assert "4 orders, seed 0, level 0.05, max over layer pairs" in repr(result)
    calibrated(result, lambda m, i, j: 0.11)
    assert page_of(result).rows[1] == ["a", "0.500", "-"]


def test_a_calibration_shows_calibrated_scores():
    names = {"a": 1, "b": 1, "c": 1}
    result = calibrated(made_result(names, names, score=lambda m, i, j: 9 if i == j else 0.55), lambda m, i, j: 0.2)
    assert page_of(result.calibration).rows[1] == ["a", "11.667", "0.400", "0.400"]
    part = result.sel(model_x=[0, 1], model_y=[0, 1]).calibration
    assert page_of(part).rows == [["cka", "a", "b"], ["a", "self", "0.400"], ["b", "0.400", "self"]]
    first, *lines = repr(part).splitlines()
    assert first == "Calibration of cka" and [line.split(maxsplit=1)[1] for line in lines] == [
        "2 x 2",
        "4 random orders, seed 0",
        "max over layer pairs, critical at level 0.05",
    ]


def test_a_large_result_shows_a_small_table():
    many = {f"organisation/model-{i}": 1 for i in range(40)}
    result = calibrated(made_result(many, {"y": 1}), lambda m, i, j: 0.01)
    for thing in (result, result.calibration):
        page = page_of(thing)
        assert len(page.rows) == 1 + 12 and "28 more models of x" in page.text and len(thing._repr_html_()) < 20_000
    assert repr(result).count("organisation/model-") == 4 and "and 36 more" in repr(result)


@pytest.mark.filterwarnings("error")
def test_names_that_strangers_made_up_stay_text(tmp_path):
    result = calibrated(made_result(dict.fromkeys(EVIL, 1), dict.fromkeys(EVIL, 1)), lambda m, i, j: 0.01)
    features = [np.ones((3, 2), np.float32)] * 2
    places = {f"{name}_{side}": EVIL[0] for name in ("model", "layer") for side in "xy"}
    variables = {name: (("sample", "rank"), np.array([[1], [2], [0]])) for name in ("neighbors_x", "neighbors_y")}
    variables["shared"] = ("sample", np.array([1, 0, 1]))
    dataset = xr.Dataset(variables, coords={"id": ("sample", np.array(EVIL[:3], object))})
    for thing in (
        result,
        result.calibration,
        Gallery(dataset, places, captions=EVIL[:3]),
        MemoryStore(EVIL[0], dict(zip(EVIL[:2], features, strict=True)), ids=EVIL[:3]),
    ):
        page = page_of(thing)
        assert EVIL[0] in page.text and "&lt;script&gt;" in thing._repr_html_()
        assert not set("\u202e\t") & set(repr(thing)) and html.unescape(repr(thing)) == repr(thing)
    assert len(page_of(result).rows) == 1 + len(EVIL)


def test_a_gallery_shows_the_samples_at_both_ends():
    variables = {name: (("sample", "rank"), np.zeros((20, 3), int)) for name in ("neighbors_x", "neighbors_y")}
    variables["shared"] = ("sample", np.arange(20) % 4)
    dataset = xr.Dataset(variables, coords={"id": ("sample", np.array([f"s{i}" for i in range(20)], object))})
    place = {"model_x": "a", "layer_x": "l0", "model_y": "b", "layer_y": "l1"}
    gallery = Gallery(dataset, place)
    rows = page_of(gallery).rows
    assert rows[0] == ["sample", "shared neighbours"] and rows[1:6] == [[f"s{i}", "3"] for i in (3, 7, 11, 15, 19)]
    assert rows[6:] == [[f"s{i}", "0"] for i in (16, 12, 8, 4, 0)]
    assert repr(gallery).splitlines()[0] == "Gallery of 20 samples" and "1.50 of 3 neighbours" in repr(gallery)


def test_stores_show_layers_samples_and_place(tmp_path):
    widths = [8] * 13 + [16]
    features = [np.ones((5, width), np.float32) for width in widths]
    stored = prh_jax.write_features(tmp_path / "m.zarr", features, ids=list("abcde"), spec={"model": "vit"})
    for store, kind, where in (
        (stored, "FeatureStore of vit", str(tmp_path / "m.zarr")),
        (MemoryStore("vit", features, ids=list("abcde")), "MemoryStore of vit", "vit in memory"),
    ):
        text = repr(store)
        assert text.splitlines()[0] == kind and where in text
        assert "14 of width 8 to 16" in text and "5: a, b, c and 2 more" in text
        assert "float32, 2.3 KiB" in text  # 5 samples x 120 features x 4 bytes
        page = page_of(store)
        assert [row[1] for row in page.rows] == ["width", *["8"] * 12] and "and 2 more layers" in page.text
