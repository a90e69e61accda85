"""All layers of one network with all of another."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inputs import correlated, counts

import prh_jax
from prh_jax.metrics.registry import METRICS
from prh_jax.sketches.base import SketchContext


def networks(n=40):
    pairs = [correlated(n=n, dx=dx, dy=dy, seed=s) for s, (dx, dy) in enumerate([(14, 11), (12, 17), (14, 11)])]
    return [x for x, _ in pairs], [y for _, y in pairs[:2]]


@pytest.mark.parametrize("text", ["mutual_knn:k=4", "normalized_bures"])
def test_each_entry_is_the_metric_of_its_pair(text):
    xs, ys = networks()
    metric = prh_jax.metrics.registry.parse_metric(text)
    expected = [[float(metric(x, y)) for y in ys] for x in xs]
    close = {"atol": 0, "rtol": 0} if counts(metric) else {"atol": 2e-6, "rtol": 2e-6}
    np.testing.assert_allclose(prh_jax.layer_matrix(xs, ys, text), expected, **close)
    traced = jax.jit(lambda xs, ys: prh_jax.layer_matrix(xs, ys, metric))(xs, ys)
    np.testing.assert_allclose(traced, expected, **close)


NARROW = ["procrustes_distance", "angular_shape_distance", "normalized_bures", "aligned_cosine", "mean_cca"]


@pytest.mark.parametrize("name", [*NARROW, "procrustes_distance:unit_norm=false", "mean_cca:variance=0.9"])
def test_layers_much_narrower_than_samples_are_many(name):
    """Their sketches are features, of widths filled up to one, and score as the n x n matrices do."""
    xs, ys = networks(180)
    near = xs[0] + 0.01 * np.random.default_rng(9).normal(size=xs[0].shape).astype(np.float32)
    metric = prh_jax.metrics.registry.parse_metric(name)
    context = SketchContext(180, (11, 12, 14, 17))
    narrow, wide = metric.sketcher.specialise(context), metric.sketcher
    assert context.narrow == 128 and type(narrow) is not type(wide)
    assert SketchContext(170, (14,)).narrow is None and SketchContext(1024, (768,)).narrow == 768
    compare = jax.jit(metric.compare)
    for x, y in [(xs[0], ys[0]), (xs[1], ys[1]), (xs[0], near)]:
        of_narrow, of_wide = (float(compare(*map(s, map(jnp.asarray, (x, y))))) for s in (narrow, wide))
        assert of_narrow == pytest.approx(of_wide, abs=3e-5, rel=3e-5)


@pytest.mark.parametrize("name", METRICS)
def test_shapes_of_every_metric(name):
    xs, ys = networks(20)
    found = jax.eval_shape(lambda xs, ys: prh_jax.layer_matrix(xs, ys, name), xs, ys)
    assert found.shape == (3, 2) and found.dtype == jnp.float32


def test_stacks_gradients_and_batches():
    xs, ys = networks()
    stack, other = jnp.stack(xs[::2]), jnp.asarray(ys[0])[None]
    slopes = jax.jit(jax.grad(lambda xs: prh_jax.layer_matrix(xs, other, prh_jax.Cka()).sum()))(stack)
    for found, x in zip(slopes, stack, strict=True):
        np.testing.assert_allclose(found, jax.jit(jax.grad(prh_jax.cka))(x, other[0]), atol=1e-7)
    batched = jax.jit(jax.vmap(lambda xs: prh_jax.layer_matrix(xs, other, "cka")))(stack[:, None])
    np.testing.assert_allclose(batched[:, 0], prh_jax.layer_matrix(stack, other, "cka"), atol=1e-6)
    with pytest.raises(TypeError, match="soft_mutual_knn"):
        jax.grad(lambda xs: prh_jax.layer_matrix(xs, other, "mutual_knn:k=4").sum())(stack)


def test_what_cannot_be_meant_is_refused():
    xs, ys = networks()
    for layers, match in (
        ([], "no layers"),
        ([xs[0][0]], r"Layer 0 of layers_x .* \(14,\)"),
        ([xs[0][:9]], r"\[9, 40\]"),
    ):
        with pytest.raises(ValueError, match=match):
            prh_jax.layer_matrix(layers, ys, "cka")
    with pytest.raises(ValueError, match="Unknown metric"):
        prh_jax.layer_matrix(xs, ys, "ckka")
