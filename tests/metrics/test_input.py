"""What a metric refuses, and what it says of degenerate, extreme and odd input."""

from functools import partial

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from inputs import correlated, make_store, scored
from jaxtyping import TypeCheckError

import prh_jax
from prh_jax import FunctionMetric, StreamingCka, batch_cka, gram_cka
from prh_jax.compat import AlignmentMetrics
from prh_jax.metrics import Cka, Cknna, MutualKnn
from prh_jax.metrics.base import _checked
from prh_jax.metrics.registry import METRICS, make_metric, parse_metric
from prh_jax.numerics.real import as_real
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


@pytest.fixture
def odd():
    """What is no feature, by the words that name it."""
    x = correlated()[0].astype(np.float64)
    return {
        "complex128 numbers: take np.abs": x + 1j,
        "complex64 numbers": jnp.asarray(x + 1j),
        "complex.* numbers": (x + 1j).tolist(),
        "masked values.*fill": np.ma.masked_array(x, x > 1),
        "masked values": [np.ma.masked_array(row, row > 1) for row in x],
        "records of .*stack their fields": np.zeros((40, 2), [("a", "f4"), ("b", "f4")]),
        "values of type object: convert": x.astype(object),
        "values of type <U.*astype": x.astype(str),
        "values of type .S.*astype": x.astype("S8"),
        "values of type datetime64": x.astype("M8[s]"),
        "values of type .*void|V8": np.zeros((40, 2), "V8"),
        "what is no array.*convert": [["one", "two"]] * 40,
        "values of type key": jax.random.split(jax.random.key(0), (40, 2)),
    }


def test_features_are_real_numbers(odd, tmp_path):
    """In the place that all metrics share, in training, where features are stored, and where stores are opened."""
    x, y = correlated()
    shared = MutualKnn(k=3), FunctionMetric("mine", lambda x, y: x.sum() + y.sum())
    streamed = partial(StreamingCka().update, StreamingCka().empty(12, 12))
    for words, bad in odd.items():
        for score in (*shared, prh_jax.cka, batch_cka, gram_cka, streamed):
            for pair in ((bad, y[:, :2]), (x[:, :2], bad)):
                with pytest.raises(TypeError, match=f"real numbers.*{words}"):
                    score(*pair)
    numpys = {words: bad for words, bad in odd.items() if isinstance(bad, np.ndarray)}
    for words, bad in numpys.items():
        with pytest.raises(TypeError, match=words):
            AlignmentMetrics.mutual_knn(bad, y, topk=3)
        with pytest.raises(prh_jax.StoreError, match=f"'b' holds .*{words}"):
            prh_jax.write_features(
                tmp_path / "a.zarr", [x, bad], layer_names=["a", "b"], ids=list(map(str, range(40))), spec={}
            )
    assert not list(tmp_path.iterdir())
    store = make_store(tmp_path / "m.zarr", "m", (6,))
    store.dtype = np.dtype(np.complex128)  # as a source of one's own may have it
    with pytest.raises(prh_jax.StoreError, match="m.zarr holds complex128 numbers"):
        open_stores([store])


def test_real_numbers_of_every_type_are_features():
    """Their values as they are; and under transformations of JAX, where shapes and types are all that is known."""
    x, y = correlated()
    whole = np.round(4 * x)
    for form in (
        whole.astype(np.int8),
        whole.astype(np.float16),
        whole.astype(ml_dtypes.bfloat16),
        jnp.asarray(whole, jnp.float8_e4m3fn),
        whole.tolist(),
        list(map(jnp.asarray, whole)),
    ):
        np.testing.assert_array_equal(np.asarray(as_real("cka", form), np.float32), np.asarray(form, np.float32))
    assert as_real("cka", x > 0).dtype == bool
    large = np.round(2.0**40 * x).astype(np.int64)  # beyond 32 bits
    for form in (
        large,
        (large + 2**50).astype(np.uint64),
        large.astype(">f8"),
        large.tolist(),
        large.astype(np.longdouble),
    ):
        expected = np.asarray(form).astype(np.float32)
        np.testing.assert_array_equal(np.asarray(as_real("cka", form), np.float32), expected)
    assert abs(float(prh_jax.cka(large, x)) - 1) < 1e-5
    gradients = jax.vmap(jax.value_and_grad(prh_jax.cka), (0, None))
    assert [z.shape for z in jax.eval_shape(gradients, np.stack([x, x]), y)] == [(2,), (2, *x.shape)]
    with pytest.raises(TypeError, match="complex64 numbers"):
        jax.eval_shape(prh_jax.cka, jax.ShapeDtypeStruct((40, 3), np.complex64), y)


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
