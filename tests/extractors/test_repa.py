"""The recipe of CKNNA for diffusion features against a float64 script from the definition."""

import numpy as np
import pytest
from oracles import ORACLES

pytest.importorskip("diffusers")
from benchmarks import repa


def test_the_recipe_is_the_definition():
    images = repa.pictures(24)
    x = repa.diffusion_patches(repa.tiny_dit(), images)
    y = repa.dinov2_patches(repa.tiny_dinov2(), images)
    assert x.shape == (24, 64, 64) and y.shape == (24, 49, 48)
    means = [z.astype(np.float64).mean(axis=1) for z in (x, y)]
    unit = [z / np.sqrt((z * z).sum(axis=1, keepdims=True)) for z in means]
    for settings in ({}, {"k": 5}, {"unbiased": False}):
        assert repa.recipe(x, y, **settings) == pytest.approx(ORACLES["cknna"](*unit, **settings), abs=1e-6)
    assert repa.recipe(x, y, normalize=False) == pytest.approx(
        ORACLES["cknna"](*means),
        rel=1e-5,  # vectors of unequal lengths, in float32
    )
    assert abs(ORACLES["cknna"](*means) - ORACLES["cknna"](*unit)) > 0.01
