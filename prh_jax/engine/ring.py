"""Sketches and scores of layers whose samples are spread over devices, on one host or many.

Each device holds equally many rows of a layer, the last ones filled up with rows that stand for no sample. Neighbours
are found as blocks of rows go round a ring of the devices; inner products are summed over devices. The results are on
all of them, but for the columns of a `GramFactor`, of which each device has its own rows.
"""

import dataclasses
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float, Int, Num

from ..metrics.base import Metric
from ..metrics.inner_product import packed_products
from ..numerics import linalg
from ..sketches.base import Sketcher, Summarizer
from ..sketches.gram_factor import GramFactor, GramFactorSketcher, SummarizeCentered
from ..sketches.nearest import by_blocks, candidates_of, check_k, nearest_columns, query_rows
from ..sketches.neighbors import NearestRows, SummarizeNearest
from ..sketches.sample_axis import SampleAxis
from ..sketches.scaling import near_mean_of
from .preprocess import Preprocess

AXIS = "sample"
SPREAD: Any = PartitionSpec(AXIS)
SAME: Any = PartitionSpec()
STACKED: Any = PartitionSpec(None, AXIS)
"""Of stacks of layers: the second axis is that of samples."""


@dataclasses.dataclass(frozen=True)
class SpreadSampleAxis(SampleAxis):
    """The rows of a layer of n samples that one of `devices` holds: `size` of them, in order, inside a `shard_map`."""

    n: int
    devices: int

    @property
    def size(self) -> int:
        """Rows of a device, of which the last may stand for no sample."""
        return -(-self.n // self.devices)

    @property
    def samples(self) -> Int[Array, " r"]:
        """The sample of each row here; n and more where it stands for none."""
        return lax.axis_index(AXIS) * self.size + jnp.arange(self.size)

    def _keep(self) -> Bool[Array, "r 1"]:
        return (self.samples < self.n)[:, None]

    def least(self, x: Any) -> Any:
        """The lowest value of each column, (1, d)."""
        return lax.pmin(jnp.min(jnp.where(self._keep(), x, jnp.inf), axis=0, keepdims=True), AXIS)

    def most(self, x: Any) -> Any:
        """The highest value of each column, (1, d)."""
        return lax.pmax(jnp.max(jnp.where(self._keep(), x, -jnp.inf), axis=0, keepdims=True), AXIS)

    def count(self, x: Any) -> int:
        """How many samples there are."""
        return self.n

    def first(self, x: Any) -> Any:
        """The first sample, (1, d)."""
        return lax.psum(jnp.where(self.samples[:1, None] == 0, x[:1], 0), AXIS)

    def mean(self, x: Any) -> Any:
        """The mean of each column, (1, d)."""
        return self.total(jnp.sum(self.held(x), axis=0, keepdims=True)) / self.n

    def total(self, part: Any) -> Any:
        """A sum over samples, from the sum over those that are here."""
        return lax.psum(part, AXIS)

    def gather(self, x: Any) -> Any:
        """An array of all samples, from that of the samples here."""
        return lax.all_gather(x, AXIS, tiled=True)[: self.n]

    def held(self, x: Any) -> Any:
        """The rows here, with zeros where a row has no sample."""
        return jnp.where(self._keep(), x, 0)


def ring_nearest(maker: SummarizeNearest, x: Num[Array, "r d"], rows: SpreadSampleAxis) -> NearestRows:
    """`maker(x)` of a layer whose rows are spread, on all devices; inside a `shard_map`.

    Blocks of rows go from device to device. Each finds the k nearest in every block that comes by, and keeps the k
    nearest of those and of its own list, ties to the lowest index. These are the lists of all rows at once, except
    where two similarities differ by rounding alone.
    """
    n, k = rows.n, candidates_of(rows.n, maker.k, maker.with_self)
    check_k(n, maker.k, maker.groups)
    x, columns, center = near_mean_of(x, maker.unit_rows, rows=rows)
    shifted = rows.held(jnp.where(columns.degenerate, 0, x * columns.factor - center))
    offset, margin = maker.offset_and_margin(x, shifted, center[0], columns, rows)
    factors = shifted.astype(jnp.bfloat16) if maker.bfloat16 else shifted
    here = rows.samples
    # the queries that each device holds: as many places for all
    queries = query_rows(n, maker.queries)
    device = queries // rows.size
    slot = np.arange(len(queries)) - np.searchsorted(device, device)
    table = np.zeros((rows.devices, slot.max() + 1), np.int32)
    table[device, slot] = queries - device * rows.size
    asked = jnp.asarray(table)[lax.axis_index(AXIS)]

    def owner(samples):
        return samples if maker.groups is None else jnp.asarray(maker.groups)[jnp.minimum(samples, n - 1)]

    def visit(found, passing):
        """Neighbours of the rows here, after the block that passes by."""
        there, others, their_offset = passing

        def block(places):
            barred = (there >= n)[None, :]
            if not maker.with_self:
                barred = barred | (owner(here[places])[:, None] == owner(there)[None, :])
            near, values, sums = nearest_columns(factors[places], others, their_offset, barred, min(k, rows.size))
            return there[near], values, sums

        lists, values, sums = by_blocks(block, asked, rows.size)
        merged = (jnp.concatenate(pair, axis=1) for pair in ((found[0], lists), (found[1], values)))
        # in order of samples: of equal values top_k takes the first
        lists, values = lax.sort(tuple(merged), dimension=1, num_keys=1)
        values, places = lax.top_k(values, k)
        return jnp.take_along_axis(lists, places, axis=1), values, found[2] + sums

    def step(state, _):
        found, passing = state
        ahead = [(device, (device - 1) % rows.devices) for device in range(rows.devices)]
        following = jax.tree.map(lambda z: lax.ppermute(z, AXIS, ahead), passing)
        return (visit(found, passing), following), None

    none = jnp.full((len(asked), k), n, here.dtype), jnp.full((len(asked), k), -jnp.inf, x.dtype)
    start = (*none, jnp.zeros(len(asked), x.dtype)), (here, factors, offset)
    (found, _), _ = lax.scan(step, start, length=rows.devices)
    lists, values, sums = (lax.all_gather(z, AXIS, tiled=True)[device * len(asked) + slot] for z in found)
    square = linalg.inner(center[0], center[0])
    margin, offset = rows.gather(margin)[queries], rows.gather(offset)
    return NearestRows(lists, values, margin, sums / n, offset, square, columns.factor, columns.degenerate)


@lru_cache(maxsize=256)
def sketch_program(
    sketchers: tuple[Sketcher, ...], maker: Summarizer, preprocess: Preprocess, n: int, mesh: Mesh
) -> Any:
    """Jitted `(features, threshold) -> sketches, degenerate` of features spread over the mesh."""
    rows = SpreadSampleAxis(n, mesh.size)

    def sketch(x, threshold):
        x = preprocess.apply(x, threshold)
        if isinstance(maker, SummarizeNearest):
            products = ring_nearest(maker, x, rows)
            return tuple(sketcher.sketch(products) for sketcher in sketchers), products.degenerate
        assert isinstance(maker, SummarizeCentered)
        centered = maker(x, rows)
        return tuple(
            s.sketch(centered, rows) for s in sketchers if isinstance(s, GramFactorSketcher)
        ), centered.degenerate

    shapes = tuple(
        GramFactor(SPREAD, SAME, SAME, SAME) if isinstance(s, GramFactorSketcher) else SAME for s in sketchers
    )
    spread = jax.shard_map(sketch, mesh=mesh, in_specs=(SPREAD, SAME), out_specs=(shapes, SAME), check_vma=False)
    return jax.jit(spread)


@lru_cache(maxsize=256)
def factor_scorer(metrics: tuple[Metric, ...], n: int, mesh: Mesh) -> Any:
    """Jitted `(a, b) -> scores` by each metric, for stacks of Factors whose columns are spread over the mesh."""
    rows = SpreadSampleAxis(n, mesh.size)

    def scores(a: GramFactor, b: GramFactor) -> tuple[Float[Array, "x y"], ...]:
        products = packed_products(a, b, rows)
        return tuple(metric.tile_kernel.finish(products, a, b) for metric in metrics)

    stack = GramFactor(STACKED, SAME, SAME, SAME)
    return jax.jit(jax.shard_map(scores, mesh=mesh, in_specs=(stack, stack), out_specs=SAME, check_vma=False))


def sample_mesh() -> Mesh:
    """All devices of all processes in a row, over which samples are laid out: those of a process are together."""
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    return Mesh(np.array(devices), (AXIS,))
