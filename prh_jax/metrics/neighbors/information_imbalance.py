"""Information imbalance: how far away in one layer the nearest neighbours in another layer are."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ...numerics.blocks import COMPARED_AT_ONCE, in_chunks
from ...numerics.varying import varying_as
from ...sketches.base import MANY
from ...sketches.nearest import relabel
from ...sketches.neighbor_ranks import NeighborRanks, NeighborRankSketcher, nearest_on_host, ranks_on_host
from ...sketches.on_host import LEAST
from ..base import Metric, Score, check_positive, on_host
from ..kernels import TileKernel
from .lists import any_lists, scan_samples

DIGIT = 2**16
"""Sums of ranks, which may be too large for 32 bits, are kept in two digits of this size."""
MOST_ALONE = 16
"""Largest k for which a plain call counts the ranks of neighbours, instead of ranking all samples."""


@dataclasses.dataclass(frozen=True)
class InformationImbalance(Metric):
    """Mean rank, in y, of each sample's k nearest neighbours in x, in units of the rank at chance.

    `score = 2 / (n^2 k) sum_i sum_{j in knn_x(i)} rank_y(i, j)`, with knn the k nearest samples and rank 1 for the
    nearest. The function `information_imbalance` has the details.

    Parameters
    ----------
    k, swapped
        As in `information_imbalance`.
    """

    name = "information_imbalance"
    source = "Glielmo et al. 2022, doi:10.1093/pnasnexus/pgac039"
    larger_is_closer = False
    bounds = (0.0, 2.0)
    symmetric = False
    self_score = None
    stand_in = "prh_jax.soft_mutual_knn or prh_jax.cknna"
    invariances = frozenset({"orthogonal", "isotropic_scaling", "translation"})

    k: int = 1
    swapped: bool = False

    def __post_init__(self):
        super().__post_init__()
        check_positive(self.name, k=self.k)

    @property
    def sketcher(self) -> NeighborRankSketcher:
        return NeighborRankSketcher(self.k)

    def compare(self, a: NeighborRanks, b: NeighborRanks) -> Score:
        a, b = (b, a) if self.swapped else (a, b)
        lists = any_lists(a.neighbors)
        ranks = jnp.take_along_axis(b.ranks, lists, axis=1)
        return self.share(_digits(jnp.sum(ranks, axis=1, dtype=jnp.int32)), a.neighbors, b.neighbors)

    @property
    def tile_kernel(self) -> TileKernel:
        return RankKernel(self)

    def share(self, total: Any, a: Any, b: Any) -> Any:
        """The score, from the digits of the sum of ranks; NaN where a layer is degenerate, and its lists hold -1."""
        n, k = a.shape[-2:]
        high, low = (jnp.asarray(digit, float) for digit in total)
        score = (high * float(DIGIT) + low) * (2 / (n * n * k))
        return jnp.where((a[..., 0, 0] < 0) | (b[..., 0, 0] < 0), jnp.nan, score)

    def alone(self, x: Any, y: Any) -> Any:
        a, b = (np.asarray(z) for z in ((y, x) if self.swapped else (x, y)))
        if not on_host(x, y) or self.k > MOST_ALONE or len(a) > MANY or self.k >= len(a):
            return None
        if not all(np.isfinite(z).all() and np.abs(z).max() > LEAST and (z != z[0]).any() for z in (a, b)):
            return None
        ranks = ranks_on_host(b, nearest_on_host(a, self.k))
        return np.float32(2 * ranks.sum() / (len(a) ** 2 * self.k))

    def chance(self, n: int) -> float:
        return 1.0


@dataclasses.dataclass(frozen=True)
class RankKernel(TileKernel):
    """All pairs of a tile: rows of a table of ranks, looked up at the neighbours of the other layers."""

    def tile(self, a: NeighborRanks, b: NeighborRanks) -> Float[Array, "x y"]:
        return self._turned(a, b, summed_ranks)

    def orders(self, a: NeighborRanks, b: NeighborRanks, orders: Int[Array, "orders n"]) -> Float[Array, "orders x y"]:
        def lists_in_order(lists: Any, ranks: Any) -> Any:
            """Sums for lists relabelled by each order: more layers of lists, and the same tables of ranks."""

            def some(chunk: Any) -> Any:
                again = jax.vmap(lambda order: jax.vmap(partial(relabel, order=order))(lists))(chunk)
                found = summed_ranks(again.reshape(-1, *lists.shape[1:]), ranks)
                return found.reshape(2, len(chunk), len(lists), -1).swapaxes(0, 1)

            return in_chunks(some, chosen, max(1, COMPARED_AT_ONCE // len(lists))).swapaxes(0, 1)

        # lists of y are permuted by an order, those of x against y that is permuted, by its inverse
        chosen = orders if self.metric.swapped else jnp.argsort(orders, axis=1).astype(orders.dtype)
        return self._turned(a, b, lists_in_order)

    def _turned(self, a: NeighborRanks, b: NeighborRanks, sums: Any) -> Any:
        """Scores (..., x, y), from sums (digits, ..., layers of lists, layers of ranks)."""
        lists, ranks = (b.neighbors, a.ranks) if self.metric.swapped else (a.neighbors, b.ranks)
        total = sums(lists, ranks)
        total = jnp.swapaxes(total, -1, -2) if self.metric.swapped else total
        return self.metric.share(total, a.neighbors[:, None], b.neighbors[None])


def _digits(sums: Any) -> Any:
    """The digits (2, ...) of the total of sums (samples, ...)."""
    return jnp.stack([jnp.sum(sums // DIGIT, axis=0), jnp.sum(sums % DIGIT, axis=0)])


def summed_ranks(lists: Int[Array, "x n k"], ranks: Int[Array, "y n n"]) -> Int[Array, "2 x y"]:
    """The digits of the sum of the ranks of all entries of lists, of all pairs; any for a degenerate layer."""
    n = lists.shape[1]

    def samples(total, given):
        """A few samples: their tables of ranks (samples n, y), and the rows that are looked up."""
        (entries,), (table,) = given
        entries = any_lists(entries, axis=1)
        start = jnp.arange(entries.shape[0], dtype=entries.dtype)[:, None, None] * n
        rows = table.reshape(-1, table.shape[-1])[entries + start]
        return total + _digits(jnp.sum(rows, axis=1, dtype=jnp.int32)), None

    total = varying_as(jnp.zeros((2, lists.shape[0], ranks.shape[0]), jnp.int32), lists, ranks)
    return scan_samples(samples, total, (lists,), (ranks,), n)[0]


def information_imbalance(x: Any, y: Any, *, k: int = 1, swapped: bool = False) -> Score:
    """Return the mean rank in y of each sample's k nearest neighbours in x, in units of the mean rank at chance.

    `score = 2 / (n^2 k) sum_i sum_{j in knn_x(i)} rank_y(i, j)`, with knn the k nearest samples by Euclidean distance,
    and rank 1 for the nearest. It is 1 on average at chance, and (k + 1) / n if the k nearest are the same. A low score
    says that distances in x tell those in y. The score is not symmetric: x contains more information than y if
    `information_imbalance(x, y)` is smaller than `information_imbalance(y, x)`.

    Parameters
    ----------
    x, y
        Features (n, dx) and (n, dy), n >= 4. Row i of both is the same sample.
    k
        Number of neighbours of each sample, 1 <= k < n.
    swapped
        True returns the score of (y, x), so that a study of two sets of models has both directions.

    Returns
    -------
    Array
        Score in (0, 2), smaller is closer. NaN where all samples of a layer are equal, or a feature is not finite.

    Raises
    ------
    ValueError
        If the shapes do not match or a setting is out of range.
    TypeError
        If the features are not real numbers, or `jax.grad` asks for a derivative, which the metric lacks.

    References
    ----------
    Glielmo et al. 2022, doi:10.1093/pnasnexus/pgac039.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(100, 4))
    >>> y = x[:, :2]  # y is a part of x
    >>> print(f"{prh_jax.information_imbalance(x, y):.2f} {prh_jax.information_imbalance(y, x):.2f}")
    0.17 0.54
    """
    return InformationImbalance(k, swapped)(x, y)
