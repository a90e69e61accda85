"""Metrics and losses spread over two devices: `test_transforms.py` runs this in a process that has two."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inputs import correlated, counts, scored
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import prh_jax
from prh_jax.metrics.registry import METRICS

ROWS = PartitionSpec("data")
METRICS_OF_FEW = [cls(**({"k": 4} if "k" in cls().settings else {})) for cls in METRICS.values()]


@pytest.fixture(scope="module")
def mesh():
    assert jax.device_count() == 2
    return Mesh(np.array(jax.devices()), ("data",))


@pytest.mark.parametrize("metric", {type(m.sketcher): m for m in METRICS_OF_FEW}.values(), ids=str)
def test_samples_spread_over_devices(metric, mesh):
    """A compiled metric takes layers whose rows lie on two devices, and scores them as on one: one of each sketch."""
    x, y = correlated(dx=14, dy=11)
    placed = [jax.device_put(z, NamedSharding(mesh, ROWS)) for z in (x, y)]
    assert len(placed[0].sharding.device_set) == 2
    close = {"atol": 0, "rtol": 0} if counts(metric) else {"atol": 2e-5, "rtol": 2e-5}
    np.testing.assert_allclose(float(jax.jit(metric)(*placed)), float(scored(metric, x, y)), **close)


def each_device_its_pairs(metric, mesh):
    return jax.shard_map(jax.vmap(metric), mesh=mesh, in_specs=(ROWS, ROWS), out_specs=ROWS)


@pytest.mark.parametrize("metric", [METRICS["mutual_knn"](k=4), METRICS["svcca"](), METRICS["mean_cca"]()], ids=str)
def test_pairs_spread_over_devices(metric, mesh):
    """Each device scores pairs of its own, under shard_map: counts, iterations, decompositions."""
    pairs = [correlated(seed=seed, dx=14, dy=11) for seed in range(2)]
    xs, ys = (jnp.stack([pair[side] for pair in pairs]) for side in (0, 1))
    found = jax.jit(each_device_its_pairs(metric, mesh))(xs, ys)
    assert len(found.sharding.device_set) == 2
    close = {"atol": 0, "rtol": 0} if counts(metric) else {"atol": 2e-5, "rtol": 2e-5}
    np.testing.assert_allclose(np.asarray(found), [float(scored(metric, x, y)) for x, y in pairs], **close)


@pytest.mark.parametrize("metric", [*METRICS_OF_FEW, METRICS["rsa"](compare_by="kendall")], ids=str)
def test_shard_map_knows_what_differs_between_devices(metric, mesh):
    """Its checks pass, of enough samples for iterations and of layers wide enough to be taken in pieces."""
    xs = jax.ShapeDtypeStruct((2, 300, 2100), jnp.float32)
    assert jax.eval_shape(each_device_its_pairs(metric, mesh), xs, xs).shape == (2,)


@pytest.mark.parametrize("score", [prh_jax.batch_cka, partial(prh_jax.soft_mutual_knn, k=3)])
def test_a_loss_of_rows_on_two_devices(score, mesh, x64):
    """Under shard_map with an axis name, and under jit with sharded inputs: value and gradient are those of one."""
    x, y = correlated(n=16, dx=7, dy=5, dtype=np.float64)
    part = partial(score, axis_name="data")
    inside = jax.shard_map(part, mesh=mesh, in_specs=(ROWS, ROWS), out_specs=PartitionSpec(), check_vma=False)
    expected, gradient = jax.jit(jax.value_and_grad(score))(x, y)
    found, spread = jax.jit(jax.value_and_grad(inside))(x, y)
    assert float(found) == pytest.approx(float(expected), abs=1e-12)
    np.testing.assert_allclose(np.asarray(spread), np.asarray(gradient), atol=1e-12)
    placed = [jax.device_put(z, NamedSharding(mesh, ROWS)) for z in (x, y)]
    assert float(jax.jit(score)(*placed)) == pytest.approx(float(expected), abs=1e-12)


def test_a_study_on_two_devices_is_planned():
    """Each device compiles every width, and scores a tile of rows beside the other's."""
    found = prh_jax.plan(64, [[8] * 3, [9] * 150], None, ["mutual_knn", "cka"])
    assert found.blocks == 2 * 2 and found.pair_s > 0 and found.compile_s > 0  # two tiles of rows a block, two sketches
