"""CKNNA: CKA that looks at shared nearest neighbours only."""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from ...null.forms import Edges
from ...numerics.varying import varying_as
from ...sketches.masks import at_least
from ...sketches.neighbor_kernel import NeighborKernel, NeighborKernelSketcher
from ..base import Metric, Score, check_positive
from ..kernels import TileKernel
from .lists import any_lists, compact_lists, scan_samples, table_of, table_rows

Formula = Literal["code", "paper"]


@dataclasses.dataclass(frozen=True)
class Cknna(Metric):
    """CKA restricted to pairs of samples that are near neighbours in both layers.

    `score = HSIC(M * K, M * L) / sqrt(HSIC(M_x * K, M_x * K) HSIC(M_y * L, M_y * L))`, with 0/1 neighbour masks
    `M = M_x * M_y` and Gram matrices K and L. Rows are taken as they are, and neighbours are by the dot product. The
    function `cknna` has the details.

    Parameters
    ----------
    k, unbiased, formula, eps
        As in `cknna`.
    """

    name = "cknna"
    source = "Huh et al. 2024, arXiv:2405.07987"
    differentiable = True
    bounds = (float("-inf"), float("inf"))

    k: int = 10
    unbiased: bool = True
    formula: Formula = "code"
    eps: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        check_positive(self.name, k=self.k)
        if self.k < 2:
            raise ValueError(f"{self.name} needs k >= 2, got {self.k}.")
        if self.formula not in ("code", "paper"):
            raise ValueError(f"{self.name} has formulas 'code' and 'paper', got {self.formula!r}.")
        if self.formula == "paper" and not self.unbiased:
            raise ValueError(f"{self.name} in the paper's form leaves the diagonal out; unbiased=False has no meaning.")
        if not self.eps >= 0:
            raise ValueError(f"{self.name} needs eps >= 0, got {self.eps!r}.")

    @property
    def symmetric(self) -> bool:
        return self.formula == "paper" or not self.unbiased

    @property
    def invariances(self) -> frozenset[str]:
        names = {"orthogonal"} if self.eps else {"orthogonal", "isotropic_scaling"}
        return frozenset(names)

    @property
    def sketcher(self) -> NeighborKernelSketcher:
        return NeighborKernelSketcher(self.k, self.unbiased, self.formula == "paper")

    def masked(self, x: Any, y: Any, where: Any) -> Score:
        a, b = (self.sketcher.masked(self.sketcher.summarizer(z), where) for z in (x, y))
        candidates = jnp.sum(where) - (0 if self.sketcher.with_self else 1)
        return jnp.where(candidates >= self.k, self._of(a, b, at_least(where, 4)), jnp.nan)

    def compare(self, a: NeighborKernel, b: NeighborKernel) -> Score:
        return self._of(a, b)

    def _of(self, a: NeighborKernel, b: NeighborKernel, n: Any = None) -> Score:
        same = a.neighbors[:, :, None] == b.neighbors[:, None, :]
        values_a = jnp.where(jnp.any(same, axis=2), a.values, 0)
        values_b = jnp.sum(jnp.where(same, b.values[:, None, :], 0), axis=2)
        joint = self.sketcher.align(a.neighbors, values_a, values_b, n)
        return self.ratio(joint, a, b)

    @property
    def tile_kernel(self) -> TileKernel:
        return SharedNeighborKernel(self)

    def inner_form(self, sketch: NeighborKernel) -> Edges | None:
        # the code's formula has row sums of shared neighbours in it
        if self.formula == "code" or self.eps:
            return None
        return Edges(sketch.neighbors, sketch.values / jnp.sqrt(sketch.self_alignment))

    def ratio(self, joint: Any, a: NeighborKernel, b: NeighborKernel) -> Any:
        """The score, from the alignment of the two layers with each other and of each with itself."""
        squared = a.self_alignment * b.self_alignment
        positive = squared > 0
        own = jnp.sqrt(jnp.where(positive, squared, 1))
        # not divided by NaN, which would make gradients of what is masked out NaN
        return jnp.where(positive, joint / (own + self.eps * a.factor * b.factor if self.eps else own), jnp.nan)


@dataclasses.dataclass(frozen=True)
class SharedNeighborKernel(TileKernel):
    """All pairs of a tile by tables of neighbour lists, a few samples at a time."""

    def tile(self, a: NeighborKernel, b: NeighborKernel) -> Float[Array, "x y"]:
        joint = aligned_tile(self.metric.sketcher, a, b)
        one, other = jax.tree.map(lambda z: z[:, None], a), jax.tree.map(lambda z: z[None], b)
        return self.metric.ratio(joint, one, other)


def aligned_tile(sketch: NeighborKernelSketcher, a: NeighborKernel, b: NeighborKernel) -> Float[Array, "x y"]:
    """`NeighborKernelSketcher.align` on the shared neighbours of all pairs: sums over b's lists of tables of a's."""
    lists_a, lists_b = any_lists(a.neighbors), any_lists(b.neighbors)
    (x, n, _), y = lists_a.shape, lists_b.shape[0]
    compact_a, compact_b, size = compact_lists(lists_a, lists_b)
    mutual = (reciprocal(z).astype(a.values.dtype) for z in (lists_a, lists_b))
    zeros = varying_as(jnp.zeros((y, x), a.values.dtype), a.values, b.values)

    def sum_entries(terms, lists, *values):
        """Sums over the entries of b's lists, each an array (samples, y, x)."""

        def step(total, entry):
            return [t + more for t, more in zip(total, terms(*entry), strict=True)], None

        rows = table_rows(lists, size)
        empty = varying_as(jnp.zeros((rows.shape[1], y, x), zeros.dtype), a.values, b.values)
        start = [empty] * len(terms(rows[0], *(v[:, 0] for v in values)))
        return lax.scan(step, start, (rows, *(v.transpose(1, 0, 2) for v in values)))[0]

    def rows(total, step):
        """Row sums of both masked kernels, and the sum of products."""
        (list_a, values_a, mutual_a), (list_b, values_b, mutual_b) = step
        listed, kernel, both = (table_of(list_a, v, size) for v in (jnp.ones_like(values_a), values_a, mutual_a))

        def terms(row, value, factor):
            return listed[row] * value[..., None], kernel[row], both[row] * factor[..., None]

        rows_b, rows_a, product = sum_entries(terms, list_b, values_b, mutual_b)
        return total + jnp.sum(product, axis=0), (rows_a, rows_b)

    def cross(total, step):
        """Column sums of one masked kernel times row sums of the other."""
        (list_a, values_a), (list_b, values_b, samples_b) = step
        listed, kernel = (table_of(list_a, v, size) for v in (jnp.ones_like(values_a), values_a))
        layer = jnp.arange(y, dtype=list_b.dtype)[None, :]

        def terms(row, value, sample):
            sample = sample * y + layer
            found = [kernel[row] * rows_b[sample]]
            return found if sketch.unbiased else [*found, listed[row] * value[..., None] * rows_a[sample]]

        sums = sum_entries(terms, list_b, values_b, samples_b)
        return [t + jnp.sum(more, axis=0) for t, more in zip(total, sums, strict=True)], None

    if sketch.row_centered:  # only the sum of products, of all shared entries
        mutual = (jnp.ones_like(a.values), jnp.ones_like(b.values))
    side_a, side_b = (
        (lists, kernel.values, kernel.values * both)
        for lists, kernel, both in zip((compact_a, compact_b), (a, b), mutual, strict=True)
    )
    product, (rows_a, rows_b) = scan_samples(rows, zeros, side_a, side_b, size)
    if sketch.row_centered:
        return product.T
    totals = jnp.sum(rows_a, axis=0) * jnp.sum(rows_b, axis=0)
    rows_a, rows_b = (z.reshape(n * y, x) for z in (rows_a, rows_b))
    start = [zeros] * (1 if sketch.unbiased else 2)
    crossed, _ = scan_samples(cross, start, side_a[:2], (*side_b[:2], lists_b), size)
    return sketch.combine(product, totals, crossed[0], crossed[-1], n).T


def reciprocal(lists: Int[Array, "layers n k"]) -> Bool[Array, "layers n k"]:
    """Whether sample i is in the list of its own entry (i, r)."""
    home = jnp.arange(lists.shape[1], dtype=lists.dtype)[:, None, None]
    return jax.vmap(lambda z: jnp.any(z[z] == home, axis=2))(lists)


def cknna(
    x: Any,
    y: Any,
    *,
    k: int = 10,
    unbiased: bool = True,
    formula: Formula = "code",
    eps: float = 0.0,
    where: Any = None,
) -> Score:
    """Return the CKA of two layers over the pairs of samples that are neighbours in both (CKNNA).

    `score = HSIC(M * K, M * L) / sqrt(HSIC(M_x * K, M_x * K) HSIC(M_y * L, M_y * L))`, with 0/1 neighbour masks
    `M = M_x * M_y` and Gram matrices K and L. Rows are taken as they are, and neighbours are by the dot product. The
    gradient holds the neighbours fixed.

    Parameters
    ----------
    x, y
        Features (n, dx) and (n, dy), n >= 4. Row i of both is the same sample.
    k
        Number of neighbours of each sample, 2 <= k < n.
    unbiased
        True takes the HSIC of Song et al., with the diagonal left out. False takes `tr(K H L H)`, where a sample
        competes with its neighbours for a place among the k.
    formula
        "code" is the formula above, as in the code of the reference: masks are directed and Gram matrices are not
        centred, so the unbiased score is not quite symmetric. "paper" is
        `sum_ij a_ij (K_ij - mean_l K_il) (L_ij - mean_l L_il)`, normalised in the same way, with a_ij = 1 where j !=
        i is a neighbour of i in both layers.
    eps
        Number added to the denominator. The reference adds 1e-6. With it the score depends on the scale of the
        features.
    where
        Booleans (n,), True for the rows that count. All rows count if None.

    Returns
    -------
    Array
        Score, 1 for a layer with itself and not bounded otherwise. NaN where a layer's own HSIC is negative. So
        it is where all samples of a layer are equal, or a feature is not finite.

    Raises
    ------
    ValueError
        If the shapes do not match or a setting is out of range.
    TypeError
        If the features are not real numbers.

    References
    ----------
    Huh et al. 2024, arXiv:2405.07987.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> y = x + rng.normal(size=(20, 4))
    >>> print(f"{prh_jax.cknna(x, y):.2f}")
    0.70
    """
    return Cknna(k, unbiased, formula, eps)(x, y, where=where)
