"""Arrays of every kind that people have, at the one door: right numbers, or one sentence that says what they are."""

import inspect
import re
import warnings
from functools import partial

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import prh_jax
from prh_jax._names import HOME, ON_HOST
from prh_jax._names import METRIC_NAMES as KNOWN_METRICS
from prh_jax.arrays import NotRealError, real_numbers
from prh_jax.compat import Alignment, AlignmentMetrics
from prh_jax.numerics.real import as_real

METRIC_NAMES = [name for name in KNOWN_METRICS if name not in ON_HOST]  # the functions of JAX
N, IDS = 40, [f"s{i}" for i in range(40)]
RNG = np.random.default_rng(0)
PLAIN = RNG.integers(-8, 8, (N, 6)).astype(np.float32)
"""Whole numbers of 4 bits, which floats of 8 bits have, too."""
PARTNER = (PLAIN @ RNG.normal(size=(6, 5)) + 4 * RNG.normal(size=(N, 5))).astype(np.float32)


class HasArray:
    def __init__(self, x):
        self.x = x

    def __array__(self, dtype=None, copy=None):
        return self.x


class HasDlpack(HasArray):
    __array__ = None

    def __getattribute__(self, name):
        if name == "__array__":
            raise AttributeError(name)
        return super().__getattribute__(name)

    def __dlpack__(self, **settings):
        return self.x.__dlpack__(**settings)

    def __dlpack_device__(self):
        return self.x.__dlpack_device__()


class Unknown:
    """What no function can use: only the door says so in these words."""


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def mapped(x, tmp_path):
    np.save(tmp_path / "x.npy", x)
    return np.load(tmp_path / "x.npy", mmap_mode="r")


def numpy_kinds(x, tmp_path):
    yield "columns first", np.asfortranarray(x)
    yield "reversed", x[::-1].copy()[::-1]
    yield "every other column", np.repeat(x, 2, axis=1)[:, ::2]
    yield "read only", read_only(x)
    yield "memory map", mapped(x, tmp_path)
    for kind in (">f4", ">f8", "f2", "f8", "g", "i1", "i4", "i8", ">i8"):
        yield kind, x.astype(kind)
    for kind in ("bfloat16", "float8_e4m3fn", "int4"):
        yield kind, x.astype(getattr(ml_dtypes, kind))
    yield "matrix", np.asmatrix(x)
    yield "mask that hides nothing", np.ma.masked_array(x)
    yield "lists", x.tolist()
    yield "rows", tuple(x)
    yield "__array__", HasArray(x)
    yield "__dlpack__", HasDlpack(x)


def jax_kinds(x):
    yield "jax", jnp.asarray(x)
    for kind in (jnp.bfloat16, jnp.float16, jnp.int8, jnp.float8_e4m3fn):
        yield f"jax {kind.__name__}", jnp.asarray(x, kind)
    yield "jax rows", list(jnp.asarray(x))
    yield "jax scalars", [list(row) for row in jnp.asarray(x[:2])] + x[2:].tolist()


def torch_kinds(x):
    torch = pytest.importorskip("torch")
    t = torch.tensor(x)
    yield "tensor", t
    for kind in ("float64", "float16", "bfloat16", "float8_e4m3fn", "int64", "int8"):
        yield f"torch.{kind}", t.to(getattr(torch, kind))
    yield "with a gradient", t.bfloat16().requires_grad_()
    yield "parameter", torch.nn.Parameter(t)
    yield "transposed", t.T.contiguous().T
    yield "bfloat16, transposed", t.bfloat16().T.contiguous().T
    yield "negated view", torch._neg_view(-t)
    yield "imaginary part", torch.complex(t, -t).conj().imag
    yield "rows with a gradient", list(t.clone().requires_grad_())


def pandas_kinds(x):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(x, columns=list("abcdea"))
    yield "pandas", frame
    for kind in ("int64", "Int64", "Float32", pandas.SparseDtype(float, 0)):
        yield f"pandas {kind}", frame.astype(kind)
    yield "pandas, mixed", frame.set_axis(list("abcdef"), axis=1).astype({"a": "int8", "c": "Float64"})


def pyarrow_kinds(x):
    pyarrow = pytest.importorskip("pyarrow")
    yield "table", pyarrow.table({str(i): column for i, column in enumerate(x.T)})


def polars_kinds(x):
    polars = pytest.importorskip("polars")
    yield "polars", polars.DataFrame(x)
    yield "polars, mixed", polars.DataFrame(x).with_columns(column_0=polars.col("column_0").cast(polars.Int64))


def xarray_kinds(x):
    yield "xarray", pytest.importorskip("xarray").DataArray(x)


LIBRARIES = {f.__name__: f for f in (jax_kinds, torch_kinds, pandas_kinds, pyarrow_kinds, polars_kinds, xarray_kinds)}


@pytest.mark.parametrize("library", ["numpy_kinds", *LIBRARIES])
def test_every_kind_has_its_values(library, tmp_path):
    kinds = dict(numpy_kinds(PLAIN, tmp_path) if library == "numpy_kinds" else LIBRARIES[library](PLAIN))
    for name, given in kinds.items():
        found = as_real("cka", given)
        assert isinstance(found, jax.Array), name
        np.testing.assert_array_equal(np.asarray(found.astype(jnp.float32)), PLAIN, err_msg=name)
        assert np.asarray(real_numbers(given)).dtype.byteorder in "=|", name


def test_values_of_other_ranges_are_kept():
    large = np.round(2.0**40 * PLAIN).astype(np.int64)
    for form in (large, (large + 2**50).astype(np.uint64), large.tolist(), [jnp.zeros(6), *large[1:]]):
        expected = np.asarray(form[1:]).astype(np.float32)
        np.testing.assert_array_equal(np.asarray(as_real("cka", form), np.float32)[1:], expected)
    np.testing.assert_array_equal(as_real("cka", np.full((4, 2), 2**32 - 1, np.uint32)), 2.0**32)
    np.testing.assert_array_equal(
        as_real("cka", np.broadcast_to(np.arange(3.0), (4, 3))), np.tile(np.arange(3.0), (4, 1))
    )
    np.testing.assert_array_equal(as_real("cka", PLAIN > 0), np.float32(PLAIN > 0))
    bits = np.asarray(1 + RNG.random(9), ml_dtypes.bfloat16)
    torch = pytest.importorskip("torch")
    half = torch.tensor(bits.astype(np.float32)).bfloat16()
    assert real_numbers(half).dtype == bits.dtype and (real_numbers(half) == bits).all()
    as_given = jnp.asarray(PLAIN)
    assert as_real("cka", as_given) is as_given


def refused(tmp_path):
    """What holds no real numbers, by what is said of it."""
    x = PLAIN
    yield "complex64 numbers: take np.abs", x + 1j
    yield "complex64 numbers", jnp.asarray(x + 1j)
    yield "complex128 numbers", (x + 1j).tolist()
    yield "masked values.*fill", np.ma.masked_array(x, x > 1)
    yield "masked values", [np.ma.masked_array(row, row > 1) for row in x]
    yield "records of .*stack their fields", np.zeros((N, 2), [("a", "f4"), ("b", "f4")])
    yield "values of type object: convert", x.astype(object)
    yield "values of type object", [[1.0, None]] * N
    yield "values of type <U.*astype", x.astype(str)
    yield "values of type <U", [["one", "two"]] * N
    yield "values of type .S", x.astype("S8")
    yield "values of type datetime64", x.astype("M8[s]")
    yield "values of type timedelta64", x.astype("m8[s]")
    yield "values of type .*V8", np.zeros((N, 2), "V8")
    yield r"ragged list, of items of shapes \(6,\) and \(5,\)", [*x[1:].tolist(), [1.0] * 5]
    yield "generator.*np.stack", (row for row in x)
    yield "a dict", {"layer": x}
    yield "str 'features.npy': read the file", "features.npy"
    yield "PosixPath .*: read the file", tmp_path / "features.npy"
    yield r"no array of them \(NoneType\)", None
    yield r"no array of them \(.*Unknown\): convert", Unknown()
    yield "values of type key", jax.random.split(jax.random.key(0), (N, 2))


def refused_of_libraries():
    x = PLAIN
    torch, sparse = (pytest.importorskip(name) for name in ("torch", "scipy.sparse"))
    pandas, pyarrow = (pytest.importorskip(name) for name in ("pandas", "pyarrow"))
    t = torch.tensor(x)
    frame = pandas.DataFrame(x, columns=list("abcdef"))
    yield "torch.complex64 numbers: take x.abs", t + 1j
    yield "sparse tensor.*to_dense", t.to_sparse()
    yield "sparse tensor.*to_dense", t.to_sparse_csr()
    yield "quantised tensor.*dequantize", torch.quantize_per_tensor(t, 0.1, 0, torch.qint8)
    yield "without values.*meta", t.to("meta")
    yield "nested tensor: pad", torch.nested.nested_tensor([t[:3], t[:5]])
    yield "sparse array.*todense", sparse.csr_matrix(x)
    yield "sparse array.*todense", sparse.coo_array(x)
    yield "missing values in column 'c'", frame.astype("Int64").mask(frame > 6).assign(a=1, b=1)
    yield "column 'b' of type str", frame.assign(b="text")
    yield "column 'b' of type datetime64", frame.assign(b=pandas.Timestamp(0))
    yield "column 'b' of type category", frame.assign(b=frame["b"].astype("category"))
    yield "missing values in column 'a'", pyarrow.table({"a": [1.0, None]})
    yield "column 'a' of type string", pyarrow.table({"a": ["text"]})
    yield "1 missing values", pyarrow.array([1.0, None])


def test_what_holds_no_real_numbers_is_refused_in_a_sentence(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of sparse and quantised tensors
        kinds = [*refused(tmp_path), *refused_of_libraries()]
    for words, given in kinds:
        with pytest.raises(TypeError, match=f"^cka compares real numbers, and was given .*{words}") as told:
            as_real("cka", given)
        assert "\n" not in str(told.value)
    with pytest.raises(TypeError, match="complex64 numbers"):
        jax.eval_shape(prh_jax.cka, jax.ShapeDtypeStruct((N, 3), np.complex64), PARTNER)


STREAM = prh_jax.StreamingCka()
REPEAT = np.random.default_rng(1).normal(size=(N, 6)).astype(np.float32)
FEATURES = {"x", "y", "features", "repeats", "residuals", "gram_x", "gram_y", "layers", "feats_A", "feats_B"}
"""What parameters are called that take features."""


def streamed(x, y, widths=(6, 5)):
    return STREAM.compute(STREAM.update(STREAM.empty(*widths), x, y))


def minibatch(x, y):
    made = prh_jax.MinibatchCka()
    return made.compute(made.update(made.empty(), x, y))


def squared(x):
    """What gram_cka takes: as many rows as columns."""
    return x[:5, :5] if getattr(x, "ndim", 0) == 2 else x


def curve(x, y, by):
    null = prh_jax.Null(orders=3)
    if by == "k":
        return prh_jax.curve_over_k(x, y, "mutual_knn", [3], null)["score"].item()
    return prh_jax.curve_over_n(x, y, "cka", [N], null)["score"].item()


def over_gallery(x, y):
    return prh_jax.curve_over_gallery(x, y, k=3, progress=False)["score"].item()


def written(tmp_path, x, y):
    store = prh_jax.write_features(tmp_path / "f.zarr", [x, y], ids=IDS, spec={"model": "m"}, overwrite=True)
    return np.asarray(store.read_layer(0), float).sum()


def repeated(function, x, y):
    """A number of two repeats of which the first is x, and of two of which it is y."""
    widths = [z.shape[1] if getattr(z, "ndim", 0) == 2 else 6 for z in (x, y)]
    return sum(function([z, REPEAT[:, :width]]) for z, width in zip((x, y), widths, strict=True))


def stored(tmp_path, x, y):
    def total(repeats):
        store = prh_jax.write_repeats(tmp_path / "r.zarr", [repeats], ids=IDS, spec={"model": "m"}, overwrite=True)
        return np.asarray(prh_jax.read_repeats(store), float).sum()

    return repeated(total, x, y)


TAKERS = {
    "FunctionMetric.__call__": prh_jax.FunctionMetric("total", lambda x, y: x.sum() - y.sum()),
    "FeatureUnbiasedCka.__call__": prh_jax.FeatureUnbiasedCka(),
    "MinibatchCka.update": minibatch,
    "Preprocess.apply": lambda x, y: (
        prh_jax.Preprocess().apply(x, 5.0).sum() + 0 * prh_jax.Preprocess().apply(y, 5.0)[0, 0]
    ),
    "StreamingCka.update": streamed,
    "batch_cka": prh_jax.batch_cka,
    "curve_over_gallery": over_gallery,
    "curve_over_k": partial(curve, by="k"),
    "curve_over_n": partial(curve, by="n"),
    "crossnobis": partial(repeated, lambda z: prh_jax.crossnobis(z).sum()),
    "feature_unbiased_cka": prh_jax.feature_unbiased_cka,
    "gram_cka": lambda x, y: prh_jax.gram_cka(squared(x), squared(y)),
    "resample_grid": lambda x, y: sum(
        np.asarray(prh_jax.resample_grid(z, (1, 1), (2, 1)), float).sum() for z in (x, y)
    ),
    "within_samples": lambda x, y: prh_jax.within_samples(x, y, groups=[0] * N)["score"].item(),
    "ridge_prediction": lambda x, y: prh_jax.ridge_prediction(x, y, folds=2)["mean_r"].item(),
    "retrieval": lambda x, y: prh_jax.retrieval(x, y, k=3, null=0).dataset["reciprocal_rank"].mean().item(),
    "RidgePrediction.__call__": prh_jax.RidgePrediction(folds=2),
    "Retrieval.__call__": prh_jax.Retrieval(k=3),
    "interval": lambda x, y: prh_jax.interval(x, y, "cka", splits=2).score,
    "noise_ceiling": partial(repeated, lambda z: prh_jax.noise_ceiling(z, "cka").lower),
    "noise_precision": lambda x, y: sum(prh_jax.noise_precision(z).sum() for z in (x, y)),
    "soft_mutual_knn": prh_jax.soft_mutual_knn,
    "split_half_reliability": partial(repeated, lambda z: prh_jax.split_half_reliability(z, "cka").mean),
    "write_features": written,
    "write_repeats": stored,
}
"""Public functions that take features and are no metric, each as a function of two layers."""
NOT_GIVEN = {"Preprocess.thresholds"}
"""Layers that belong to a store beside them."""


def test_every_public_function_that_takes_features_is_in_the_table():
    found = set()
    for name in HOME:
        thing = getattr(prh_jax, name)
        functions = {name: thing}
        if isinstance(thing, type):
            methods = {m for m in dir(thing) if m == "__call__" or m[0] != "_"}
            if issubclass(thing, prh_jax.Metric):  # whose other methods are handed what a call has checked
                methods = {"__call__"}
            functions = {f"{name}.{m}": getattr(thing, m) for m in methods}
            own = thing is prh_jax.FunctionMetric or thing in prh_jax.HOST_METRICS.values()
            if issubclass(thing, prh_jax.Metric) and not own:  # one function: another test's
                assert functions.pop(f"{name}.__call__") is prh_jax.Metric.__call__
        for label, function in functions.items():
            if inspect.isfunction(function) and FEATURES & set(inspect.signature(function).parameters):
                found.add(label)
    assert found == {*TAKERS, *NOT_GIVEN, *METRIC_NAMES}


def takers(tmp_path):
    placed = {name: partial(TAKERS[name], tmp_path) for name in ("write_features", "write_repeats")}
    yield from (TAKERS | placed).items()


def test_what_is_given_reaches_the_door_first(tmp_path):
    """Of every metric and every other function, on either side: what nobody else would refuse in these words."""
    functions = {name: getattr(prh_jax, name) for name in METRIC_NAMES} | dict(takers(tmp_path))
    functions |= {f"compat.{name}": partial(AlignmentMetrics.measure, name, topk=3) for name in ("mutual_knn", "cknna")}
    for name, function in functions.items():
        for pair in ((Unknown(), PARTNER), (PLAIN, Unknown())):
            with pytest.raises((TypeError, prh_jax.StoreError), match=r"what is no array of them \(.*Unknown\)"):
                function(*pair)
        shapes = ((N,), (), (N, 2, 3))
        if "curve" in name or name in ("retrieval", "ridge_prediction", "noise_precision"):
            shapes = shapes[:2]  # an array of N layers, or of N repeats, is one that they take
        for shape in shapes if name != "Preprocess.apply" else ():  # which takes any
            with pytest.raises((TypeError, ValueError), match=r"shape|\(n, d|samples"):
                function(np.ones(shape, np.float32), np.zeros(shape, np.float32))
    assert set(METRIC_NAMES) == set(prh_jax.METRICS)


TRACED = {name: getattr(prh_jax, name) for name in METRIC_NAMES} | {
    "minibatch": minibatch,
    "streamed": partial(streamed, widths=(14, 11)),
    **{name: getattr(prh_jax, name) for name in ("batch_cka", "soft_mutual_knn")},
}


@pytest.mark.parametrize("name", TRACED)
def test_functions_compute_in_floats_whatever_they_are_given(name):
    """Traced alone: promotion of types is strict here, so that arithmetic in another type fails."""
    for kind in (np.bool_, np.int8, np.uint16, np.float16, jnp.bfloat16, jnp.float8_e4m3fn):
        x, y = (jax.ShapeDtypeStruct((N, width), kind) for width in (14, 11))
        assert jax.eval_shape(TRACED[name], x, y).dtype == np.float32


def test_scores_of_every_kind_are_those_of_plain_arrays(tmp_path):
    """Kinds whose numbers reach the arithmetic in another type, or by another library."""
    torch, pandas = pytest.importorskip("torch"), pytest.importorskip("pandas")
    kinds = {
        "float8": jnp.asarray(PLAIN, jnp.float8_e4m3fn),
        "tensor with a gradient": torch.tensor(PLAIN).double().requires_grad_(),
        "table": pandas.DataFrame(PLAIN),
    }
    half = (torch.tensor(z).bfloat16().requires_grad_() for z in (PLAIN, PARTNER))
    rounded = float(prh_jax.cka(PLAIN, PARTNER.astype(ml_dtypes.bfloat16).astype(np.float32)))
    assert float(prh_jax.cka(*half)) == pytest.approx(rounded, rel=1e-6)
    for name, function in [("cka", prh_jax.cka), *takers(tmp_path)]:
        expected = float(function(PLAIN, PARTNER))
        assert np.isfinite(expected)
        for kind, given in kinds.items():
            if name != "gram_cka" or kind != "table":  # which takes its rows from an array
                assert float(function(given, PARTNER)) == pytest.approx(expected, rel=1e-5, abs=1e-6), (name, kind)


def test_features_beside_a_store(tmp_path):
    torch = pytest.importorskip("torch")
    store = prh_jax.write_features(tmp_path / "a.zarr", [PARTNER], ids=IDS, spec={"model": "m", "pool": "mean"})
    scorer, expected = Alignment([store]), AlignmentMetrics.mutual_knn(PLAIN, PARTNER, topk=3)
    for given in (torch.tensor(PLAIN).bfloat16().requires_grad_(), [torch.tensor(PLAIN)], PLAIN.astype(">f8")):
        whole = given[0] if isinstance(given, list) else given
        assert AlignmentMetrics.mutual_knn(whole, PARTNER, topk=3) == pytest.approx(expected)
        assert scorer.score(given, topk=3) == scorer.score(PLAIN, topk=3)
    for given in (Unknown(), [Unknown()]):
        with pytest.raises(TypeError, match="no array of them"):
            scorer.score(given)
    with pytest.raises(NotRealError, match="masked"):
        real_numbers(np.ma.masked_array(PLAIN, PLAIN > 0))
    whole = prh_jax.write_features(tmp_path / "b.zarr", torch.tensor(np.stack([PLAIN, PLAIN])), ids=IDS, spec={})
    assert len(whole.layers) == 2 and re.search("f4|float32", str(whole.dtype))
