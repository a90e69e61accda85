"""The curve of recall draws what the result holds, for the layers that were asked for."""

import numpy as np
import pytest
from inputs import correlated

from prh_jax import plot, retrieval

pytest.importorskip("matplotlib.figure")


def test_recall_and_chance_are_those_of_the_layer_pair():
    x, y = correlated(40)
    found = retrieval([x, x[:, :2]], [y], k=[1, 4, 9], splits=2, null=0)
    ax = plot.recall_curve({"one$": found, "two": found}, layer_x="1")
    cell = found.dataset.sel(layer_x="1", layer_y="0")
    drawn = [line.get_ydata().tolist() for line in ax.lines if line.get_marker() == "o"]
    assert drawn == 2 * [cell["recall"].sel(direction=way).values.tolist() for way in ("x_to_y", "y_to_x")]
    (chance,) = {tuple(line.get_ydata()) for line in ax.lines if line.get_color() == "#808080"}
    np.testing.assert_allclose(chance, [1 / 20, 4 / 20, 9 / 20])
    assert ax.get_xticks().tolist() == [1, 4, 9]
    texts = [text.get_text() for text in ax.figure.legends[0].get_texts()]
    assert texts == [*(rf"one\$ · {way}" for way in ("x to y", "y to x")), "two · x to y", "two · y to x", "chance"]
    assert plot.recall_curve(found).figure.legends[0].get_texts()[0].get_text() == "x to y"
    with pytest.raises(ValueError, match="no layer 'z'"):
        plot.recall_curve(found, "z")
    with pytest.raises(ValueError, match="no result"):
        plot.recall_curve({})
