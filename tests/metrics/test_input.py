"""What a metric refuses, and what it says of degenerate, extreme and odd input."""

import jax
import numpy as np
import pytest
from inputs import correlated, make_store, scored
from jaxtyping import TypeCheckError

import prh_jax
from prh_jax.metrics import Cka, Cknna, RsmNormDifference
from prh_jax.metrics.base import _checked
from prh_jax.metrics.registry import METRICS, make_metric, parse_metric
from prh_jax.stores.reader import open_stores
from tests.metrics.test_contract import EVERY, VARIANTS, close, small


@pytest.mark.parametrize("name", [n for n, cls in METRICS.items() if "k" in cls().settings])
def test_k_must_fit(name):
    x, y = correlated(n=12)
    with pytest.raises(ValueError, match="12 samples.*k = 12"):
        scored(make_metric(name, k=12), x, y)
    for k in (0, -3):
        with pytest.raises(ValueError, match="k"):
            make_metric(name, k=k)


@EVERY
def test_shapes_must_fit(metric):
    x, y = correlated(dx=14, dy=11)
    with pytest.raises(ValueError, match=r"\(40, 14\) and \(39, 11\)"):
        metric(x, y[:-1])
    with pytest.raises(ValueError, match="shapes"):
        metric(x[0], y[0])


def test_stores_hold_real_numbers(tmp_path):
    x = correlated()[0]
    with pytest.raises(prh_jax.StoreError, match="'b' holds complex64 numbers"):
        prh_jax.write_features(
            tmp_path / "a.zarr", [x, x + 1j], layer_names=["a", "b"], ids=list(map(str, range(40))), spec={}
        )
    assert not list(tmp_path.iterdir())
    store = make_store(tmp_path / "m.zarr", "m", (6,))
    store.dtype = np.dtype(np.complex128)  # as a source of one's own may have it
    with pytest.raises(prh_jax.StoreError, match="m.zarr holds complex128 numbers"):
        open_stores([store])


def test_transformations_know_shapes_and_types_alone():
    x, y = correlated()
    gradients = jax.vmap(jax.value_and_grad(prh_jax.cka), (0, None))
    assert [z.shape for z in jax.eval_shape(gradients, np.stack([x, x]), y)] == [(2,), (2, *x.shape)]


def test_unknown_names_and_settings_are_named_with_the_known_ones():
    with pytest.raises(ValueError, match="'ckka'.*unbiased_cka"):
        make_metric("ckka")
    with pytest.raises(ValueError, match="cka has no setting 'k'.*eps, kernel, median, sigma"):
        make_metric("cka", k=3)
    for text in ("cka:sigma=-1", "cka:sigma=x", "cka:rbf", "mutual_knn:normalize=2", "svcca:dim=0"):
        with pytest.raises(ValueError, match=text.split(":")[0]):
            parse_metric(text)
    # the run-time type check of the tests is faster than the metric's own error here
    with pytest.raises((ValueError, TypeCheckError), match="kernel"):
        parse_metric("cka:kernel=poly")
    assert parse_metric("cka:kernel=rbf,sigma=2") == Cka(kernel="rbf", sigma=2.0)
    assert parse_metric("cknna", k=7) == Cknna(k=7) and parse_metric("cka", k=7) == Cka()
    assert parse_metric("cknna:k=5", prh=True) == Cknna(k=5, eps=1e-6)
    assert str(Cka(kernel="rbf", sigma=2.0)) == "cka:kernel=rbf,sigma=2.0"


@pytest.mark.parametrize("metric", {m.sketcher.summarizer: m for m in VARIANTS.values()}.values(), ids=str)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_bad_number_in_a_large_layer_gives_nan(metric, bad):
    """Large enough for vectorised reductions, which pass a NaN over where small ones do not; a metric of each maker."""
    x, y = correlated(n=130, dx=80, dy=70)
    x[3, 3] = bad
    assert np.isnan(scored(metric, x, y)) and np.isnan(scored(metric, y, x))


@pytest.mark.parametrize("value, rdm", [(0, "cosine"), (0, "correlation"), (2.5, "correlation")])
def test_a_row_without_direction_leaves_no_dissimilarities(value, rdm):
    """In a study, too; distances have a value."""
    x, y = correlated()
    x[5] = value
    reason = r"x has rows of (zeros, which have no direction|equal features, which correlate .*) \(samples 5\)"
    for metric in (prh_jax.Rsa(rdm), prh_jax.Rsa(rdm, "pearson"), prh_jax.Rsa(rdm, "kendall"), RsmNormDifference(rdm)):
        with pytest.warns(RuntimeWarning, match=f"{metric.name} is NaN: {reason}"):
            assert np.isnan(metric(x, y))
        assert np.isnan(scored(metric, x, y))
    assert np.isfinite(prh_jax.rsa(x, y, rdm="euclidean"))


@pytest.mark.parametrize("scale", [1e-30, 1e-24, 1e24])
@pytest.mark.parametrize("name", [n for n, cls in METRICS.items() if "isotropic_scaling" in cls().invariances])
def test_extreme_scales(name, scale):
    x, y = correlated(dx=14, dy=11)
    metric = small(METRICS[name]())
    expected = float(scored(metric, x, y))
    assert float(scored(metric, x * np.float32(scale), y)) == pytest.approx(expected, **close(metric))


def test_settings_of_a_wrong_type_are_refused_and_numpy_numbers_accepted():
    for name, settings in (
        ("mutual_knn", {"k": 4.0}),
        ("mutual_knn", {"k": "4"}),
        ("mutual_knn", {"k": True}),
        ("mutual_knn", {"normalize": "yes"}),
        ("svcca", {"dim": 2.5}),
        ("cka", {"eps": "a"}),
        ("cka", {"sigma": float("inf")}),
    ):
        with pytest.raises((ValueError, TypeCheckError), match=next(iter(settings))):
            make_metric(name, **settings)
    for given, default, kind in ((np.int64(4), 10, int), (4, 1.0, float), (np.float32(4), 1.0, float)):
        checked = _checked("cka", "setting", given, default)
        assert checked == 4 and type(checked) is kind
