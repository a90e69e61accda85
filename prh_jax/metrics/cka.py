"""Centred kernel alignment, biased and unbiased: the cosine of two centred Gram matrices."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .. import linalg
from ..metric import Metric, Score, check_positive
from ..sketches import CenteredGram, Gram, Kernel


@dataclasses.dataclass(frozen=True)
class Cka(Metric):
    """Cosine of the two layers' centred Gram matrices.

    `score = <HKH, HLH> / (|HKH| |HLH|)`, in [0, 1]; K, L Gram matrices of the kernel, `H = I - 11'/n`. Independent
    features score far above 0 when they are wider than there are samples: compare with chance, or use unbiased_cka.

    Settings: `kernel`, "linear" or "rbf" (`exp(-|x_i - x_j|^2 / (2 sigma^2))`); `sigma` > 0; `eps`, added to the
    denominator `|HKH| |HLH|` by the reference (1e-6 there, 0 here: with it the score depends on the input's scale).
    """

    name = "cka"
    source = "Kornblith et al. 2019, arXiv:1905.00414"
    differentiable = True

    kernel: Kernel = "linear"
    sigma: float = 1.0
    eps: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        if self.kernel not in ("linear", "rbf"):
            raise ValueError(f"{self.name} has kernels 'linear' and 'rbf', got {self.kernel!r}.")
        check_positive(self.name, sigma=self.sigma)
        if not self.eps >= 0:
            raise ValueError(f"{self.name} needs eps >= 0, got {self.eps!r}.")

    @property
    def invariances(self) -> frozenset[str]:
        scale_free = self.kernel == "linear" and self.eps == 0
        return frozenset({"orthogonal", "translation"} | ({"isotropic_scaling"} if scale_free else set()))

    @property
    def sketch(self) -> CenteredGram:
        return CenteredGram(self.kernel, self.sigma if self.kernel == "rbf" else 1.0)

    def compare(self, a: Gram, b: Gram) -> Score:
        return self._score(linalg.inner(a.upper, b.upper), linalg.inner(a.diagonal, b.diagonal), a, b)

    @property
    def contraction(self) -> Callable[[Gram, Gram], Any]:
        return gram_products

    def finish_tile(self, contracted: Any, a: Gram, b: Gram) -> Float[Array, "x y"]:
        upper, diagonal = contracted
        one, other = jax.tree.map(lambda z: z[:, None], a), jax.tree.map(lambda z: z[None], b)
        return self._score(upper, diagonal, one, other)

    def compare_orders(self, a: Gram, b: Gram, orders: Int[Array, "orders n"]) -> Float[Array, "orders x y"]:
        upper = linalg.order_inner(a.upper, b.upper, orders)
        diagonal = jax.vmap(lambda order: linalg.tile_inner(a.diagonal, b.diagonal[:, order]))(orders)
        one, other = jax.tree.map(lambda z: z[None, :, None], a), jax.tree.map(lambda z: z[None, None], b)
        return self._score(upper, diagonal, one, other)

    def inner_matrix(self, sketch: Gram) -> Float[Array, "n n"] | None:
        if self.eps:
            return None
        return linalg.unpack_upper(sketch.upper) + jnp.diag(sketch.diagonal)

    def _score(self, upper: Any, diagonal: Any, a: Gram, b: Gram) -> Any:
        """From the inner products of the halves and the diagonals; everything broadcasts over pairs."""
        cosine = 2 * upper + diagonal
        return cosine / (1 + self.eps * a.inverse_norm * b.inverse_norm) if self.eps else cosine


@dataclasses.dataclass(frozen=True)
class UnbiasedCka(Cka):
    """Cosine of the two layers' U-centred Gram matrices: CKA from the unbiased HSIC, 0 on average at chance.

    `score = <A, B> / (|A| |B|)` with A, B the U-centred Gram matrices, equal to Song et al.'s unbiased
    `HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))`; in [-1, 1]. Needs n >= 4.

    Settings as for cka; `eps` is added to `sqrt(HSIC(K, K) HSIC(L, L))` with HSIC divided by `n (n - 3)`, where 1e-6 is
    not small: 0.1 % at n = 1024.
    """

    name = "unbiased_cka"
    source = "Song et al. 2012, JMLR 13, eq. 5; Szekely and Rizzo 2014, arXiv:1310.2926"

    @property
    def bounds(self) -> tuple[float, float]:
        return (-1.0, 1.0)

    def _score(self, upper: Any, diagonal: Any, a: Gram, b: Gram) -> Any:
        n = a.diagonal.shape[-1]
        traces = jnp.sum(a.diagonal, axis=-1) * jnp.sum(b.diagonal, axis=-1)
        own = a.unbiased_norm * b.unbiased_norm
        if self.eps:
            own = own + self.eps * float(n * (n - 3)) * a.inverse_norm * b.inverse_norm
        return linalg.u_centered(upper, diagonal, traces, n) / own

    def inner_matrix(self, sketch: Gram) -> Float[Array, "n n"] | None:
        matrix = super().inner_matrix(sketch)
        return None if matrix is None else linalg.u_center(matrix) / sketch.unbiased_norm

    def chance(self, n: int) -> float:
        return 0.0


def gram_products(a: Gram, b: Gram) -> tuple[Float[Array, "x y"], Float[Array, "x y"]]:
    """Inner products of the halves and of the diagonals of all pairs: all that either CKA needs."""
    return linalg.tile_inner(a.upper, b.upper), linalg.tile_inner(a.diagonal, b.diagonal)


def cka(x: Any, y: Any, *, kernel: Kernel = "linear", sigma: float = 1.0, eps: float = 0.0) -> Score:
    """Cosine of the two layers' centred Gram matrices: `Cka(kernel, sigma, eps)(x, y)`.

    x (n, dx) and y (n, dy) hold one sample a row, in the same order. Range [0, 1]. Differentiable.
    """
    return Cka(kernel, sigma, eps)(x, y)


def unbiased_cka(x: Any, y: Any, *, kernel: Kernel = "linear", sigma: float = 1.0, eps: float = 0.0) -> Score:
    """CKA from the unbiased HSIC, 0 on average at chance: `UnbiasedCka(kernel, sigma, eps)(x, y)`.

    x (n, dx) and y (n, dy) hold one sample a row, in the same order, n >= 4. Range [-1, 1]. Differentiable.
    """
    return UnbiasedCka(kernel, sigma, eps)(x, y)
