"""Studies of models that have nothing in common: how often one of their pairs is called aligned."""

import numpy as np
import pytest

from prh_jax import Null, align, write_features

MODELS, N, STUDIES = 8, 64, 200


@pytest.mark.slow
def test_rates_of_whole_studies_of_independent_models(tmp_path):
    """A rejection in a study of independent models is false: of 200 such studies about 0.05 may have one.

    At that rate more than 14 (0.07) do with probability 0.08. The first of 28 pairs is rejected at p = 0.05 / 28, so
    that enough orders are drawn for p to fall below.
    """
    rng, rejected = np.random.default_rng(0), 0
    upper = np.triu_indices(MODELS, 1)
    for study in range(STUDIES):
        stores = [
            write_features(
                tmp_path / f"{study}_{model}.zarr",
                [rng.normal(size=(N, 16)).astype(np.float32) for _ in range(3)],
                ids=[str(sample) for sample in range(N)],
                spec={"model": f"m{model}"},
            )
            for model in range(MODELS)
        ]
        result = align(stores, metrics=["mutual_knn"], null=Null(1999, seed=study), progress=False)
        assert result.calibration is not None
        pairs = result.calibration.dataset.sel(metric="mutual_knn")
        assert np.isnan(np.diag(pairs["q_bh"])).all() and (pairs["p"].values[upper] >= 1 / 2000).all()
        rejected += bool((pairs["q_bh"].values[upper] <= 0.05).any())
    assert rejected <= 14
