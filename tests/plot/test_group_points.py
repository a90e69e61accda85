"""Families within and between: the figure and the section of the report have the means of the scores."""

import numpy as np
import pytest
from made_results import made_result

import prh_jax
from prh_jax import compare_groups, plot

pytest.importorskip("matplotlib.figure")


def five_models(families):
    """Pairs within the first two and the next two score 8 and 6; the others 1 to 5."""
    table = np.array([[0, 8, 1, 2, 5], [8, 0, 3, 4, 5], [1, 3, 0, 6, 5], [2, 4, 6, 0, 5], [5, 5, 5, 5, 0]])
    names = dict.fromkeys("abcde", 1)
    return made_result(names, names, score=lambda _, i, j: table[i, j]).assign(family=families)


def test_each_mean_is_a_point_and_each_interval_a_line():
    result = five_models(list("uuvvw"))
    ax = plot.groups(result, "cka")
    points = [line for line in ax.lines if line.get_marker() == "o" and len(line.get_xdata())]
    drawn = [float(line.get_xdata()[0]) for line in points]
    assert drawn[:4] == pytest.approx([8, 6, np.nan, 7], nan_ok=True)
    assert drawn[4:] == pytest.approx([20 / 6, 20 / 6, 5, 30 / 8])
    hollow = [line.get_markerfacecolor() == ax.get_facecolor() for line in points]
    assert hollow == [False] * 4 + [True] * 4
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert names == ["u", "v", "w", "all groups"] and "Difference 3.250, p = " in ax.get_title()
    bars = [line.get_xdata() for line in ax.lines if len(line.get_xdata()) == 2 and line.get_lw() == 1.4]
    ends = compare_groups(result).table[["low", "high"]].sel(part=["within", "between"])
    assert [bar[0] for bar in bars] == pytest.approx(ends["low"].values.ravel().tolist(), nan_ok=True)
    assert [bar[1] for bar in bars] == pytest.approx(ends["high"].values.ravel().tolist(), nan_ok=True)


def test_more_families_than_colours_have_one_colour():
    names = dict.fromkeys("abcdefghijklmnopqrst", 1)
    families = {name: f"family {i // 2}" for i, name in enumerate(names)}
    ax = plot.groups(made_result(names, names), "cka", families=families, orders=9)
    assert len(ax.get_yticks()) == 11
    assert len({line.get_color() for line in ax.lines if line.get_marker() == "o"}) == 3  # those of "all", the legend


def test_the_report_compares_families_if_two_of_them_have_pairs(tmp_path, opened):
    result = five_models(["u", "u", "<b>v", "<b>v", "w"])
    page = opened(prh_jax.report(result, tmp_path / "families.html"))
    words = "CKA, best over layer pairs: mean 7.0000 within groups (2 pairs), 3.7500 between groups (8 pairs)"
    assert page.inner_text("#grouped-note").startswith(words)
    rows = page.locator("#groups tbody tr").all_inner_texts()
    assert [row.split() for row in rows] == [
        ["u", "8.0000", "1", "3.3333", "6", "4.6667"],
        ["<b>v", "6.0000", "1", "3.3333", "6", "2.6667"],
        ["w", "none", "0", "5.0000", "4", "none"],
        ["all", "7.0000", "2", "3.7500", "8", "3.2500"],
    ]
    alone = prh_jax.report(result, tmp_path / "alone.html", families=dict(zip("abcdef", "uuvwxy", strict=True)))
    assert '"groups": null' in alone.read_text("utf-8")
