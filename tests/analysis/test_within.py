"""Scores of the tokens of one sample, against a loop over samples; and grids of patches, against their definition."""

import inspect

import numpy as np
import pytest
from oracles import ORACLES

import prh_jax

COUNTS = [16, 9, 16, 4, 9]
SAMPLES = [name for name, count in zip("abcde", COUNTS, strict=True) for _ in range(count)]


def layers(seed, shared):
    own = np.random.default_rng(seed).normal(size=(2, len(SAMPLES), 6))
    return [layer.astype(np.float32) for layer in own + np.random.default_rng(9).normal(size=own.shape) * shared]


@pytest.mark.parametrize("text, left_out", [("cka", 0), ("mutual_knn:k=4", 1)])
def test_the_score_is_the_mean_of_a_loop_over_samples(text, left_out):
    """Rows of a sample need not be adjacent; a sample of 4 tokens has no 4 neighbours."""
    x, y = layers(0, 1.0), layers(1, 1.0)
    mixed = np.random.default_rng(2).permutation(len(SAMPLES))
    labels = [SAMPLES[row] for row in mixed]
    found = prh_jax.within_samples([z[mixed] for z in x], [z[mixed] for z in y], text, groups=labels)
    name, settings = text.split(":")[0], {"k": 4} if ":" in text else {}
    expected = np.full((2, 2, 5), np.nan)
    for place, sample in enumerate("abcde"):
        rows = np.array([label == sample for label in SAMPLES])
        if rows.sum() > 4 or not left_out:
            expected[:, :, place] = [[ORACLES[name](u[rows], v[rows], **settings) for v in y] for u in x]
    each = found["each"].sel(sample=list("abcde"))
    np.testing.assert_allclose(each, expected, atol=1e-5)
    np.testing.assert_allclose(found["score"], np.nanmean(expected, axis=2), atol=1e-5)
    assert found.attrs["left_out"] == left_out
    assert found["tokens"].sel(sample=list("abcde")).values.tolist() == COUNTS


def test_permutations_stay_within_samples(tmp_path):
    """Layers that share only what all tokens of a sample have are no closer than chance."""
    rng = np.random.default_rng(0)
    of_sample = np.repeat(5 * rng.normal(size=(5, 6)), COUNTS, axis=0)
    x = (of_sample + rng.normal(size=of_sample.shape)).astype(np.float32)
    y = np.stack([of_sample + rng.normal(size=of_sample.shape), x + 0.1 * rng.normal(size=x.shape)]).astype(np.float32)
    stores = [
        prh_jax.write_features(
            tmp_path / f"{name}.zarr",
            list(z),
            ids=prh_jax.token_ids("abcde", COUNTS),
            spec={"model": name, "tokens": {"kind": "text"}},
        )
        for name, z in (("x", x[None]), ("y", y))
    ]
    found = prh_jax.within_samples(*stores, "cka", null=49)
    assert found["p"].values[0, 0] > 0.05 and found["p"].values[0, 1] == 0.02
    assert found["sample"].values.tolist() == list("abcde")
    usual = prh_jax.Preprocess()
    prepared = [usual.apply(z, t) for z, t in zip(y, usual.thresholds(stores[1]), strict=True)]
    first = usual.apply(x, usual.thresholds(stores[0])[0])
    again = prh_jax.within_samples([first], prepared, "cka", groups=SAMPLES, null=49)
    np.testing.assert_array_equal(found["null"], again["null"])


def test_what_cannot_be_grouped_is_refused():
    x = np.eye(6, 3, dtype=np.float32)
    for given, words in (
        ({}, "give groups="),
        ({"groups": ["a"] * 5}, "6] rows, and 5 labels"),
        ({"groups": list("aabbcc"), "metric": "mutual_knn"}, "No sample has enough tokens .at most 2"),
        ({"groups": ["a"] * 6, "null": -1}, "at least 0, got -1"),
    ):
        with pytest.raises(ValueError, match=words):
            prh_jax.within_samples(x, x, **given)
    with pytest.raises(ValueError, match="3 samples and 2 counts"):
        prh_jax.token_ids("abc", [1, 2])
    for counts in (1.7, [1, 2.0, 1]):
        with pytest.raises(ValueError, match="Counts of tokens are whole numbers"):
            inspect.unwrap(prh_jax.token_ids)("abc", counts)


@pytest.mark.parametrize("antialias", [False, True])
def test_grids_are_interpolated_as_torch_does(antialias):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=(3, 16 * 14, 5)).astype(np.float32)
    maps = torch.tensor(x).double().reshape(3, 16, 14, 5).permute(0, 3, 1, 2)
    for to in ((14, 16), (32, 28), (5, 3), (1, 1)):
        whole = torch.nn.functional.interpolate(maps, to, mode="bilinear", align_corners=False, antialias=antialias)
        expected = whole.permute(0, 2, 3, 1).reshape(3, -1, 5).numpy()
        found = prh_jax.resample_grid(x, (16, 14), to, antialias=antialias)
        np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)
        flat = prh_jax.resample_grid(x.reshape(-1, 5), [16, 14], to, antialias=antialias)
        np.testing.assert_array_equal(flat, np.asarray(found).reshape(-1, 5))
    for wrong in ({"grid": (16, 16)}, {"grid": (224,)}, {"to": (0, 3)}, {"to": (2.5, 2)}, {"to": "22"}, {"to": 4}):
        with pytest.raises(ValueError, match="of a grid"):
            inspect.unwrap(prh_jax.resample_grid)(x, **({"grid": (16, 14), "to": (2, 2)} | wrong))


def test_a_sample_of_equal_tokens_takes_no_part_in_the_mean_nor_in_p():
    """Its score is not a number; the other samples' score and permutations are those of a call without it."""
    x, y = layers(0, 1.0), layers(1, 1.0)
    x[0][:16] = 1  # all tokens of the first sample, in one layer
    found = prh_jax.within_samples(x, y, "cka", groups=SAMPLES, null=19)
    rows = np.arange(16, len(SAMPLES))
    expected = np.mean(
        [[ORACLES["cka"](x[0][part], v[part]) for v in y] for part in np.split(rows, [9, 25, 29])], axis=0
    )
    np.testing.assert_allclose(found["score"][0], expected, atol=1e-5)
    assert np.isfinite(found["null"]).all() and found.attrs["left_out"] == 0
    np.testing.assert_allclose(
        found["p"], (1 + (found["null"].values >= found["score"].values - 1e-6).sum(axis=0)) / 20, atol=1e-12
    )
    none = prh_jax.within_samples(np.ones_like(x[0]), y, "cka", groups=SAMPLES, null=19)
    assert none.attrs["left_out"] == 5 and np.isnan(none["score"]).all() and np.isnan(none["p"]).all()
