"""Matrices whose inner product is a score, in three forms, and their sums of which the moments of a null are made.

    score = sum_ij A_ij B_ij

A layer's matrix is `Dense`; or `Edges`, a few entries of each row; or, of many samples, `low_rank.LowRank`. Of the
latter two no matrix of all pairs ever exists, for mean, spread or skewness. All sums are in float64.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..numerics import linalg
from ..numerics.linalg import HIGHEST

MATRICES, ENTRIES = 4, 2**22
"""Matrices of all pairs that `Dense` holds at once, in float64; and most entries that `Edges` looks up at once."""


class Parts(NamedTuple):
    """Sums of a matrix A, once its off-diagonal entries and its diagonal are centred, each by its mean.

    means    the two means
    samples  of each sample i: "d", `A_ii`; of p letters r and q letters c, "rrc" say, `sum_j A_ij^p A_ji^q`
    through  `sum_j A_ij v_j`, with v the "d", "r" and "c" of `samples`
    rings    `sum_abc A_ab A_bc A_ca` and `sum_abc A_ab A_bc A_ac`

    Terms of the third moment alone (three letters, through, rings) are left out where that is not asked for.
    """

    means: Any
    samples: dict[str, Any]
    through: dict[str, Any]
    rings: Any


def _keys(third: bool) -> tuple[str, ...]:
    return ("r", "c", "rr", "rc", "cc", *(("rrr", "rrc") if third else ()))


class Dense(NamedTuple):
    """A matrix as it is."""

    matrix: Float[Array, "n n"]

    def u_centered(self, norm: Float[Array, ""]) -> "Dense":
        """The matrix U-centred and divided by `norm`."""
        return Dense(linalg.u_center(self.matrix) / norm)

    @property
    def needed(self) -> int:
        """Bytes that `parts` takes, about; from shapes alone."""
        return MATRICES * 8 * self.matrix.shape[0] ** 2

    def parts(self, *, third: bool) -> Parts:
        """The sums; `third` costs a product, `2 n^3` operations."""
        return _dense_parts(self.matrix, third)


@partial(jax.jit, static_argnums=1)
def _dense_parts(matrix: Float[Array, "n n"], third: bool) -> Parts:
    n, kind = matrix.shape[0], matrix.dtype
    matrix = matrix.astype(jnp.result_type(float))
    trace, total = jnp.trace(matrix), jnp.sum(matrix)
    means = jnp.stack([(total - trace) / (n * (n - 1)), trace / n])
    centred = matrix - jnp.where(jnp.eye(n, dtype=bool), means[1], means[0])
    samples = {"d": jnp.diagonal(centred)}
    for key in _keys(third):
        samples[key] = jnp.sum(centred ** key.count("r") * centred.T ** key.count("c"), axis=1)
    if not third:
        return Parts(means, samples, {}, jnp.zeros(0))
    through = {key: jnp.matmul(centred, samples[key], precision=HIGHEST) for key in ("d", "r", "c")}
    # in the type of the features: its rounding does not show in a curve that is an approximation
    rounded = centred.astype(kind)
    square = jnp.matmul(rounded, rounded, precision=HIGHEST).astype(centred.dtype)
    return Parts(means, samples, through, jnp.stack([jnp.sum(square * z) for z in (centred.T, centred)]))


class Edges(NamedTuple):
    """A matrix with the `values` of each row at the columns `neighbors`, each once and none on the diagonal; else zero.

    NaN values, with any neighbours, for a degenerate layer.
    """

    neighbors: Int[Array, "n k"]
    values: Float[Array, "n k"]

    @property
    def needed(self) -> int:
        """Bytes that `parts` takes, about; from shapes alone."""
        n, k = self.neighbors.shape
        return 8 * (12 * n * k + 4 * max(k * k, min(n * k * k, ENTRIES)))

    def parts(self, *, third: bool) -> Parts:
        """The sums, on the host, in `n k^2` steps."""
        lists, values = np.maximum(np.asarray(self.neighbors), 0), np.asarray(self.values, np.float64)
        n, k = lists.shape
        mean = values.sum() / (n * (n - 1))
        returned, back = np.empty(lists.shape, bool), np.empty(lists.shape)  # whether, and with what, j lists i too
        step = max(1, ENTRIES // k**2)
        blocks = [slice(start, min(start + step, n)) for start in range(0, n, step)]
        for block in blocks:
            found = lists[lists[block]] == np.arange(block.start, block.stop)[:, None, None]
            returned[block] = found.any(axis=2)
            back[block] = np.where(found, values[lists[block]], 0).sum(axis=2)

        def scattered(weights):
            return np.bincount(lists.ravel(), weights=weights.ravel(), minlength=n)

        listed = k + scattered(~returned)

        def row_sums(key):
            """Entries with their opposites: those listed, those of which only the opposite is, and the rest."""
            p, q = key.count("r"), key.count("c")
            own = ((values - mean) ** p * (back - mean) ** q).sum(axis=1)
            others = scattered(np.where(returned, 0, (-mean) ** p * (values - mean) ** q))
            return own + others + (n - 1 - listed) * (-mean) ** (p + q)

        samples = {"d": np.zeros(n)} | {key: row_sums(key) for key in _keys(third)}
        means = np.array([mean, 0 * mean])
        if not third:
            return Parts(means, samples, {}, np.zeros(0))
        through = {
            key: (values * samples[key][lists]).sum(axis=1) - mean * (samples[key].sum() - samples[key])
            for key in ("d", "r", "c")
        }
        # of A = X + mean I - mean J, with X the listed values and J of ones, whose products with A are r and c
        cycles, against = _listed_rings(values, lists, step)
        twice, squares = (values * back).sum(), (values**2).sum()
        cycles += 3 * mean * twice + n * mean**3 - (n * mean) ** 3
        against += mean * (twice + 2 * squares) + n * mean**3 - (n * mean) ** 3
        r, c = samples["r"], samples["c"]
        rings = np.array([cycles - 3 * mean * (c @ r), against - mean * (c @ c + c @ r + r @ r)])
        return Parts(means, samples, through, rings)


def _listed_rings(values: Float[Any, "n k"], lists: Int[Any, "n k"], step: int) -> tuple[float, float]:
    """`rings` of the matrix as it is, neither centred nor on the diagonal: products of some sparse rows with all."""
    from scipy import sparse  # slow to import, and needed here alone

    n, k = lists.shape
    matrix = sparse.csr_array((values.ravel(), lists.ravel(), np.arange(0, n * k + 1, k)), shape=(n, n))
    transposed = matrix.T.tocsr()
    cycles = against = 0.0
    for start in range(0, n, step):
        square = matrix[start : start + step] @ matrix
        cycles += square.multiply(transposed[start : start + step]).sum()
        against += square.multiply(matrix[start : start + step]).sum()
    return cycles, against
