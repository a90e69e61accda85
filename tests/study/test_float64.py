"""Studies of layers on which float32 loses digits: as exact as single calls, and with words for what has no score."""

import numpy as np
import pytest
from metrics.adversarial import layer, partner
from metrics.exact import exact_value

from prh_jax import Preprocess, StoreError, align, write_features
from prh_jax.metrics import Cca, Cknna, Rsa

PLAIN = Preprocess(clip_quantile=1.0, normalize=False)


NAME = "signed dimension 1e5"


def stores(where, x):
    ids = [f"s{i}" for i in range(len(x))]
    return [
        write_features(where / f"{name}.zarr", [z], ids=ids, spec={"model": name})
        for name, z in (("x", x), ("y", partner(NAME)))
    ]


def unit_rows(x):
    x = x.astype(np.float64)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("normalize", [False, True])
def test_ranks_and_directions_of_a_study_are_those_of_float64(tmp_path, normalize):
    x, y = layer(NAME), partner(NAME)
    asked = {"rsa": Rsa(), "cca": Cca()}
    result = align(
        *stores(tmp_path, x),
        metrics=list(asked.values()),
        preprocess=Preprocess(clip_quantile=1.0, normalize=normalize),
    )
    for name, metric in asked.items():
        # correlations of rows are the same for unit rows
        sides = map(unit_rows, (x, y)) if normalize and name == "cca" else (x, y)
        assert float(result.dataset[name].squeeze()) == pytest.approx(exact_value(metric, *sides), abs=1e-5)


def test_a_layer_without_a_score_is_named(tmp_path):
    sides = stores(tmp_path, layer("offset 1e3"))
    with pytest.warns(RuntimeWarning, match=r"x\.zarr, layer '.*' .*standardise or clip"):
        result = align(*sides, metrics=[Cknna(k=4, unbiased=False)], preprocess=PLAIN)
    assert np.isnan(result.dataset["cknna"].values).all()


def test_features_below_the_range_of_float32_are_not_called_constant(tmp_path):
    sides = stores(tmp_path, layer("scale 1e-40"))
    with pytest.raises(StoreError, match=r"x\.zarr, layer '.*' has no value above .*multiply its features"):
        align(*sides, metrics="cka", preprocess=PLAIN)
