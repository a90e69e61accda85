"""Which samples are scored, and rows that share a partner: scores and chance from the definition, in float64."""

import unicodedata

import numpy as np
import pytest
from study.test_in_memory import features, same, stored

import prh_jax
from prh_jax import Null, Preprocess
from prh_jax.errors import StoreError
from prh_jax.null.orders import count_orders, make_orders
from prh_jax.results.provenance import origin_lines

PLAIN = Preprocess(clip_quantile=1.0, normalize=False)
METRICS = ["mutual_knn:k=4,normalize=false", "cka"]


@pytest.mark.parametrize(
    "chosen",
    [
        {"samples": [str(i) for i in range(40) if i % 7]},
        {"samples": np.arange(40) % 7 > 0},
        {"exclude": [0, 7, 14, 21, 28, 35]},
        {"samples": slice(None), "exclude": np.arange(40) % 7 == 0},
    ],
    ids=["ids", "mask", "excluded", "both"],
)
def test_scores_of_chosen_samples_are_those_of_stores_that_hold_no_others(tmp_path, chosen):
    kept = np.flatnonzero(np.arange(40) % 7)
    cut = {name: [layer[kept] for layer in layers] for name, layers in features().items()}
    result = prh_jax.align(features(), None, METRICS, **chosen)
    same(result, prh_jax.align(cut, None, METRICS))
    assert result.provenance.samples["of"] == 40 and result.provenance.n == 34
    assert origin_lines(result.provenance, None)[0][1].startswith("34 of 40,")


def test_a_result_of_chosen_samples_is_taken_up_again(tmp_path):
    stores, path = stored(tmp_path, features()), tmp_path / "r.zarr"
    excluded = tmp_path / "bad.txt"
    excluded.write_text("3\n\n17\n")
    first = prh_jax.align(stores, None, METRICS, exclude=excluded, output=path, groups=np.arange(40) % 2)
    again = prh_jax.calibrate(path, 30)
    same(again, first)
    right = prh_jax.align(
        stores, None, METRICS, samples=[i for i in range(40) if i not in (3, 17)], groups=np.arange(40) % 2, null=30
    )
    np.testing.assert_array_equal(again.calibration.dataset["null"], right.calibration.dataset["null"])
    with pytest.raises(StoreError, match="overwrite"):
        prh_jax.align(stores, None, METRICS, exclude=[3], output=path, groups=np.arange(40) % 2)


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"samples": ["3", "nobody"]}, "nobody"),
        ({"exclude": [-1]}, "'-1'"),
        ({"samples": np.ones(39, bool)}, "shape"),
        ({"exclude": slice(None)}, "none of the 40"),
        ({"exclude": "no such file"}, "no such file"),
        ({"samples": slice(3)}, "at least 4"),
        ({"exclude": [0] * 5 + [1] * 35}, "'0' more than once"),
        ({"samples": {"x": slice(3)}}, "a slice or a file"),
    ],
)
def test_samples_that_cannot_be_chosen(chosen, words):
    with pytest.raises((ValueError, StoreError), match=words):
        prh_jax.align(features(), None, ["cka"], **chosen)


def captions_of_images(signal, seed=0, images=24, captions=5):
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(images, 4))
    image_of = rng.permutation(np.repeat(np.arange(images), captions))
    seen = latent if signal else rng.normal(size=(images, 4))
    y = latent @ rng.normal(size=(4, 7)) + 0.5 * rng.normal(size=(images, 7))
    x = seen[image_of] @ rng.normal(size=(4, 9)) + rng.normal(size=(len(image_of), 9))
    return x.astype(np.float32), y.astype(np.float32), image_of


def neighbors(sims, k):
    """Of each row the k of the largest entries but its own; the lowest index first among equal ones."""
    return [
        set(sorted((j for j in range(len(sims)) if j != i), key=lambda j: (-s[j], j))[:k]) for i, s in enumerate(sims)
    ]


def defined(x, y, image_of, k=4):
    """mutual_knn and linear CKA of captions, each with its image's features, as loops over captions."""
    a, b = x.astype(float), y.astype(float)
    sims_x, sims_y = a @ a.T, (b @ b.T)[np.ix_(image_of, image_of)]
    shared = [len(p & q) for p, q in zip(neighbors(sims_x, k), neighbors(sims_y, k), strict=True)]
    n = len(x)
    h = np.eye(n) - 1 / n
    kx, ky = h @ sims_x @ h, h @ sims_y @ h
    return sum(shared) / (n * k), (kx * ky).sum() / np.sqrt((kx**2).sum() * (ky**2).sum())


@pytest.mark.parametrize("turned", [False, True])
def test_captions_are_scored_with_their_images_as_defined(tmp_path, turned):
    x, y, image_of = captions_of_images(signal=True)
    names = [f"image {i}" for i in range(len(y))]
    ids = {"x": [f"caption {i}" for i in range(len(x))], "y": names}
    partners = [names[i] for i in image_of]
    path = tmp_path / "r.zarr"
    texts = stored(tmp_path, {"text": [x, x[:, :5]]}, ids["x"])
    pictures = stored(tmp_path, {"vision": [y]}, ids["y"])
    sides = (
        (pictures, texts, {"y": dict(zip(ids["x"], partners, strict=True))})
        if turned
        else (texts, pictures, {"x": partners})
    )
    result = prh_jax.align(*sides[:2], METRICS, pair=sides[2], preprocess=PLAIN, output=path)
    for metric, right in zip(
        result.metrics, zip(defined(x, y, image_of), defined(x[:, :5], y, image_of), strict=True), strict=True
    ):
        found = result.dataset[metric].values.ravel()
        np.testing.assert_allclose(found, right, rtol=2e-6)
    side = "y" if turned else "x"
    assert result.provenance.partners == {side: partners}
    assert "one of 24 of" in origin_lines(result.provenance, None)[0][1] and not result.provenance.by_position
    null = prh_jax.calibrate(path, 50).calibration
    assert null.settings["null"]["exchange"] == "whole"
    orders = make_orders(120, 50, 0, codes_of(image_of), "whole")
    for order, value in zip(orders[:6], null.null("cka").values.ravel()[:6], strict=True):
        moved = order if turned else np.argsort(order)  # side y is the one that is put in another order
        assert len(set(zip(image_of.tolist(), image_of[moved].tolist(), strict=True))) == 24  # of an image all captions
        scores = [defined(z[moved], y, image_of)[1] for z in (x, x[:, :5])]
        np.testing.assert_allclose(value, max(scores), rtol=2e-6)


def codes_of(image_of):
    codes = {image: code for code, image in enumerate(dict.fromkeys(image_of.tolist()))}
    return [codes[image] for image in image_of.tolist()]


def test_orders_of_whole_groups():
    """Groups of a size change places, sample by sample; all such orders, once each, where they are few."""
    groups = [0, 1, 0, 2, 1, 2, 3, 4, 5]  # three of two, three of one
    assert count_orders(9, groups, "whole") == 36
    orders = make_orders(9, 40, 0, groups, "whole")
    assert len({order.tobytes() for order in orders}) == len(orders) == 35
    pairs = {(0, 2), (1, 4), (3, 5)}
    for order in (*orders, *make_orders(9, 20, 1, groups, "whole")):
        assert {(order[i], order[j]) for i, j in pairs} == pairs and sorted(order[6:]) == [6, 7, 8]
    with pytest.raises(ValueError, match="equally many"):
        make_orders(6, 20, 0, [0, 1, 1, 2, 2, 2], "whole")


def test_chance_of_repeated_inputs_is_refused_where_it_cannot_tell(tmp_path):
    x, y, image_of = captions_of_images(signal=True)
    sides = {"text": [x]}, {"vision": [y]}
    pair, repeated = {"pair": {"x": image_of}}, ({"text": [x]}, {"vision": [y[image_of]]})
    with pytest.raises(ValueError, match='exchange="whole"'):
        prh_jax.align(*repeated, ["cka"], groups=image_of, null=20)
    with pytest.raises(ValueError, match='exchange="whole"'):
        prh_jax.align(*sides, ["cka"], **pair, null=Null(20, exchange="within"))
    with pytest.raises(ValueError, match="groups="):
        prh_jax.align(*repeated, ["cka"], null=Null(20, exchange="whole"))
    one = prh_jax.align(*repeated, ["cka"], groups=image_of, null=Null(20, exchange="whole"))
    other = prh_jax.align(*sides, ["cka"], **pair, null=20)
    np.testing.assert_array_equal(one.calibration.dataset["null"], other.calibration.dataset["null"])
    assert one.calibration.dataset["p"].item() == 1 / 21


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ({"x": [0] * 119}, "119 ids of y"),
        ({"x": [*range(24), *[99] * 96]}, "'99'"),
        ({"x": {"0": "0"}}, "no partner for 119 of 120"),
        ({"x": [0], "y": [0]}, "keys"),
        ({"x": "0"}, "an id of y for each row"),
        ({"x": set(range(24))}, "an id of y for each row"),
    ],
)
def test_partners_that_cannot_be_paired(pair, words):
    x, y, _ = captions_of_images(signal=True)
    with pytest.raises((ValueError, StoreError), match=words):
        prh_jax.align({"text": [x]}, {"vision": [y]}, ["cka"], pair=pair)


@pytest.mark.parametrize("cached", [False, True])
def test_partners_in_another_order_are_other_features(tmp_path, cached):
    """One model on both sides, and partners one to one: neither its path nor its ids tell which rows are taken."""
    x, _, _ = captions_of_images(signal=True, images=24, captions=1)
    settings = {"preprocess": PLAIN, "sketch_cache": tmp_path / "sketches" if cached else None}
    for shift in (1, 5):
        partners = np.roll(np.arange(24), shift)
        result = prh_jax.align({"m": [x]}, {"m": [x]}, METRICS, pair={"x": partners}, **settings)
        np.testing.assert_allclose(
            [result.dataset[m].item() for m in result.metrics], defined(x, x, partners), rtol=2e-6
        )


def test_partners_by_label(tmp_path):
    import pandas as pd

    x, y, image_of = captions_of_images(signal=True)
    ids = {"x": [f"cafe\u0301 {i}" for i in range(120)], "y": [f"bild e\u0301 {i}" for i in range(24)]}
    partners = pd.Series([ids["y"][i].encode() for i in image_of], index=ids["x"])
    sides, pair = ({"text": [x]}, {"vision": [y]}), {"x": partners.sample(frac=1, random_state=0)}
    result = prh_jax.align(*sides, METRICS, pair=pair, ids=ids, preprocess=PLAIN)
    right = defined(x, y, image_of)
    np.testing.assert_allclose([result.dataset[m].item() for m in result.metrics], right, rtol=2e-6)
    composed = {"x": [unicodedata.normalize("NFC", value.decode()) for value in partners]}
    result = prh_jax.align(*sides, METRICS, pair=composed, ids=ids, preprocess=PLAIN, normalize_ids=True)
    np.testing.assert_allclose([result.dataset[m].item() for m in result.metrics], right, rtol=2e-6)
    with pytest.raises(StoreError, match="are in no store"):  # images are no samples here
        prh_jax.align(*sides, METRICS, pair=pair, ids=ids, exclude=ids["y"][:3])


def test_partners_are_of_another_side():
    with pytest.raises(ValueError, match="another side"):
        prh_jax.align(features(), None, ["cka"], pair={"x": range(40)})


@pytest.mark.slow
def test_independent_captions_are_rarely_called_aligned():
    """Of 200 data sets whose captions agree with one another and not with the images about 10 have p <= 0.05.

    Fewer than 4 or more than 17 have with probability 0.03. If captions were exchanged one by one, as if they were
    independent, most of them would.
    """
    below = wrong = 0
    for seed in range(200):
        x, y, image_of = captions_of_images(signal=False, seed=seed, images=12)
        sides = {"text": [x]}, {"vision": [y]}
        result = prh_jax.align(*sides, ["cka"], pair={"x": image_of}, null=Null(1999, seed=seed), progress=False)
        below += result.calibration.dataset["p"].item() <= 0.05
        if seed < 20:
            naive = prh_jax.align(
                sides[0], {"vision": [y[image_of]]}, ["cka"], null=Null(199, seed=seed), progress=False
            )
            wrong += naive.calibration.dataset["p"].item() <= 0.05
    assert 4 <= below <= 17 and wrong > 10
