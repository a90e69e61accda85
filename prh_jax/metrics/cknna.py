"""CKNNA: CKA that looks at shared nearest neighbours only."""

import dataclasses
from typing import Any, Literal

import jax.numpy as jnp

from ..metric import Metric, Score, check_positive
from ..sketches import MaskedKernel, NeighborKernel

Formula = Literal["code", "paper"]


@dataclasses.dataclass(frozen=True)
class Cknna(Metric):
    """CKA restricted to pairs of samples that are near neighbours in both layers.

    With 0/1 neighbour masks `M = M_x * M_y` and Gram matrices K, L:
    `score = HSIC(M * K, M * L) / sqrt(HSIC(M_x * K, M_x * K) HSIC(M_y * L, M_y * L))`, 1 for a layer with itself,
    without a bound otherwise (NaN where a layer's own HSIC is negative). Rows are taken as given, neighbours are by dot
    product, gradients hold the neighbours fixed.

    Settings: `k`, 2 <= k < n; `unbiased`, Song's HSIC with the diagonal left out (default), or `tr(K H L H)` where the
    diagonal competes for a place among the k; `formula`, "code" as the reference's code has it (the masks are directed
    and Gram matrices not centred, so the unbiased score is not quite symmetric), or "paper":
    `sum_ij a_ij (K_ij - mean_l K_il) (L_ij - mean_l L_il)`, a_ij = 1 where j != i is a neighbour of i in both; `eps`,
    added to the denominator by the reference (1e-6 there, 0 here: with it the score depends on the scale of the input).
    """

    name = "cknna"
    source = "Huh et al. 2024, arXiv:2405.07987"
    differentiable = True

    k: int = 10
    unbiased: bool = True
    formula: Formula = "code"
    eps: float = 0.0

    def __post_init__(self):
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
    def bounds(self) -> tuple[float, float]:
        return (float("-inf"), float("inf"))

    @property
    def symmetric(self) -> bool:
        return self.formula == "paper" or not self.unbiased

    @property
    def invariances(self) -> frozenset[str]:
        names = {"orthogonal"} if self.eps else {"orthogonal", "isotropic_scaling"}
        return frozenset(names)

    @property
    def sketch(self) -> MaskedKernel:
        return MaskedKernel(self.k, self.unbiased, self.formula == "paper")

    def compare(self, a: NeighborKernel, b: NeighborKernel) -> Score:
        same = a.neighbors[:, :, None] == b.neighbors[:, None, :]
        values_a = jnp.where(jnp.any(same, axis=2), a.values, 0)
        values_b = jnp.sum(jnp.where(same, b.values[:, None, :], 0), axis=2)
        joint = self.sketch.align(a.neighbors, values_a, values_b)
        squared = a.self_alignment * b.self_alignment
        positive = squared > 0
        own = jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1)), jnp.nan)
        return joint / (own + self.eps * a.factor * b.factor) if self.eps else joint / own


def cknna(x: Any, y: Any, *, k: int = 10, unbiased: bool = True, formula: Formula = "code", eps: float = 0.0) -> Score:
    """CKA restricted to pairs of samples that are near neighbours in both layers: `Cknna(...)(x, y)`.

    x (n, dx) and y (n, dy) hold one sample a row, in the same order. 1 for a layer with itself. ValueError unless
    2 <= k < n. Differentiable with the neighbours held fixed.
    """
    return Cknna(k, unbiased, formula, eps)(x, y)
