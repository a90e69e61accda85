"""Features of a jitted function over a loader: Flax, Equinox and Haiku models by their own intermediates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import prh_jax

N = 300
IDS = [f"s{i}" for i in range(N)]
X = np.random.default_rng(0).standard_normal((N, 6)).astype(np.float32)
SPEC = {"model": "net", "modality": "vision", "pool": "none"}


def batches(size=32):
    return [X[i : i + size] for i in range(0, N, size)]


def write(path, function, loader=None, **more):
    return prh_jax.write_features_from(
        path, function, loader or batches(), quiet=True, **{"ids": IDS, "spec": SPEC} | more
    )


def flax_model():
    nnx = pytest.importorskip("flax.nnx")

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.a, self.b = nnx.Linear(6, 5, rngs=rngs), nnx.Linear(5, 4, rngs=rngs)

        def __call__(self, x):
            x = nnx.tanh(self.a(x))
            self.sow(nnx.Intermediate, "hidden", x)
            return self.b(x)

    net = Net(nnx.Rngs(0))

    @nnx.jit
    def layers(net, x):
        out, found = nnx.capture(net, nnx.Intermediate)(x)
        return {"hidden": found["hidden"].get_value()[0], "out": out}

    def direct(x):
        hidden = nnx.tanh(net.a(x))
        return [hidden, net.b(hidden)]

    return lambda x: layers(net, x), direct


def equinox_model():
    eqx = pytest.importorskip("equinox")
    a, b = eqx.nn.Linear(6, 5, key=jax.random.key(0)), eqx.nn.Linear(5, 4, key=jax.random.key(1))

    def one(x):
        hidden = jnp.tanh(a(x))
        return {"hidden": hidden, "out": b(hidden)}

    def direct(x):
        hidden = np.tanh(x @ np.asarray(a.weight).T + np.asarray(a.bias))
        return [hidden, hidden @ np.asarray(b.weight).T + np.asarray(b.bias)]

    return eqx.filter_jit(jax.vmap(one)), direct


def haiku_model():
    hk = pytest.importorskip("haiku")

    def forward(x):
        hidden = jnp.tanh(hk.Linear(5, name="a")(x))
        return {"hidden": hidden, "out": hk.Linear(4, name="b")(hidden)}

    net = hk.without_apply_rng(hk.transform(forward))
    weights = net.init(jax.random.key(0), X[:1])
    plain = jax.tree.map(np.asarray, weights)

    def direct(x):
        hidden = np.tanh(x @ plain["a"]["w"] + plain["a"]["b"])
        return [hidden, hidden @ plain["b"]["w"] + plain["b"]["b"]]

    return jax.jit(lambda x: net.apply(weights, x)), direct


@pytest.mark.parametrize("make", [flax_model, equinox_model, haiku_model])
def test_layers_of_jax_models(make, tmp_path):
    function, direct = make()
    store = write(tmp_path / "a.zarr", function)
    assert [layer.name for layer in store.layers] == ["hidden", "out"] and list(store.ids) == IDS
    for layer, expected in enumerate(direct(X)):
        np.testing.assert_allclose(store.read_layer(layer), expected, rtol=0, atol=2e-6)
        given = np.concatenate([list(function(batch).values())[layer] for batch in batches()])
        assert np.array_equal(store.read_layer(layer), given)


def test_layers_keep_their_order_under_jit(tmp_path):
    names = [f"block {i}" for i in range(11)] + ["head"]
    function = jax.jit(lambda x: dict.fromkeys(names, x))
    assert [layer.name for layer in write(tmp_path / "a.zarr", function).layers] == names
    store = write(tmp_path / "b.zarr", lambda x: {"z": x, "b 10": x, "b 2": x})
    assert [layer.name for layer in store.layers] == ["z", "b 10", "b 2"]
    store = write(tmp_path / "c.zarr", function, layer_names=names[::-1])
    assert [layer.name for layer in store.layers] == names[::-1]
    with pytest.raises(prh_jax.StoreError, match="layer_names has head, and the function returns"):
        write(tmp_path / "d.zarr", function, layer_names=["head"])


def test_a_stopped_run_goes_on(tmp_path):
    calls = []

    def function(x):
        calls.append(len(x))
        if len(calls) == stop:
            raise KeyboardInterrupt
        return {"double": 2 * x, "sum": x.sum(axis=1, keepdims=True)}

    stop = 12
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "a.zarr", function)
    calls, stop = [], None
    store = write(tmp_path / "a.zarr", function)
    # the first batch, three calls for samples alone, and the two batches of the second block: rows 256 to 299
    assert calls == [32, 1, 1, 1, 32, 12]
    np.testing.assert_array_equal(store.read_layer(0), 2 * X)
    np.testing.assert_array_equal(store.read_layer(1), X.sum(axis=1, keepdims=True))
    with pytest.raises(prh_jax.MismatchError, match="layer 'double' differs by 50.0% of the largest"):
        write(tmp_path / "a.zarr", lambda x: {"double": 3 * x, "sum": x.sum(axis=1, keepdims=True)})


def test_batches_stay_as_they_were(tmp_path):
    """A function may write into its batch, and a loader may end with a batch of nothing."""
    given = [batch.copy() for batch in batches()]
    store = write(tmp_path / "a.zarr", lambda x: {"a": np.add(x, 1, out=x)}, [*given, X[:0]])
    np.testing.assert_array_equal(store.read_layer(0), X + 1)
    np.testing.assert_array_equal(np.concatenate(given), X)


def test_functions_and_loaders_that_cannot_be_read(tmp_path):
    rng = np.random.default_rng(0)

    class Shuffled:
        def __iter__(self):
            return iter([X[rng.permutation(N)]])

    def fails(message, function=lambda x: {"a": x}, loader=None, **more):
        with pytest.raises(prh_jax.StoreError, match=message):
            write(tmp_path / "s.zarr", function, loader, **more)
        assert not (tmp_path / "s.zarr").exists()

    fails("returns list, where a mapping", lambda x: [x])
    fails(r"'a' has shape \(6,\); the features of 32", lambda x: {"a": x.mean(axis=0)})
    fails("other features when it is alone", lambda x: {"a": x - x.mean(axis=0)})
    fails("other features at another call", lambda x: {"a": x + rng.standard_normal(x.shape)})
    fails("Two passes over the loader begin with other samples", loader=Shuffled())
    fails("more samples than the 3 ids", ids=["a", "b", "c"])
    fails("gives 64 samples, but there are 300 ids", loader=batches()[:2])
    fails("Two layers have one name, as text: 1, '1'", lambda x: {1: x, "1": 2 * x})
    fails("Layer 'a' for .* has no features", lambda x: {"a": x[:, :0]})
    with pytest.raises(prh_jax.StoreError, match="gives 64 samples, but there are 300 ids. Blocks done are kept"):
        write(tmp_path / "t.zarr", lambda x: {"a": x}, iter(batches()[:2]))
    widths = iter([6] * 4 + [5] * 99)
    with pytest.raises(prh_jax.StoreError, match="rows 32 to 63 has other layers"):
        write(tmp_path / "u.zarr", lambda x: {"a": x[:, : next(widths)]})
