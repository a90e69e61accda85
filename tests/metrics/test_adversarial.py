"""Every metric, called as users do, against float64 arithmetic on layers where float32 loses digits."""

import re

import numpy as np
import pytest

from prh_jax.metrics.registry import METRICS

from .adversarial import LAYERS, METRIC_TEXTS, SLOW_TEXTS, measure, reason

TOLERANCE = 1e-4
"""Of the score, or of the scale of what it is made of."""

SLOW_LAYERS = (
    *("ordinary", "wider than samples", "scale 1e30", "signed dimension 1e4", "constant dimension 1e4"),
    *("row 1e2 times", "rows 1e2 times in both", "row 1e6 times", "row 3e4 times"),
)
"""Left out of the quick run, as are settings: another shape, or a milder form of a layer that is in it."""


def check(text, name):
    measured = measure(text, name)
    if reason(text, name):
        assert np.isnan(measured.found).any(), (name, measured)
        assert re.search(rf"^{text.split(':')[0]} is NaN: (x|y|x or y) \w+ ", measured.warned[0]), (name, measured)
    else:
        assert measured.error <= TOLERANCE and not measured.warned, (name, measured)


@pytest.mark.parametrize("text", METRICS)
def test_a_score_is_that_of_float64(text):
    for name in LAYERS.keys() - set(SLOW_LAYERS):
        check(text, name)


@pytest.mark.slow
@pytest.mark.parametrize("text", METRIC_TEXTS + SLOW_TEXTS)
def test_a_score_is_that_of_float64_everywhere(text):
    for name in SLOW_LAYERS if text in METRICS else LAYERS:
        check(text, name)
