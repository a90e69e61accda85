"""Gram matrices of numbers of samples at which they are kept as factors: the sums of `null.forms` in feature space.

With `A = L R' + diag(e)` rows are summed by `R (L' 1)`, squares are `R (L'L) R'`, and only the cubes of entries take
products of samples with samples, a block at a time.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from ..numerics.linalg import HIGHEST
from .forms import Parts

ROWS_PER_BLOCK = 1024
"""Samples of a block."""


class LowRank(NamedTuple):
    """`A_ij = weight <f_i, f_j> + side_i + side_j + constant` off the diagonal, with f the rows of `columns`."""

    columns: Float[Array, "n w"]
    weight: Float[Array, ""]
    side: Float[Array, " n"]
    constant: Float[Array, ""]
    diagonal: Float[Array, " n"]

    @classmethod
    def of(cls, columns: Float[Array, "n w"]) -> "LowRank":
        """`F F'`."""
        lengths = _products(columns, columns)
        zero = jnp.zeros((), lengths.dtype)
        return cls(columns, zero + 1, jnp.zeros_like(lengths), zero, lengths)

    def u_centered(self, norm: Float[Array, ""]) -> "LowRank":
        """The matrix U-centred and divided by `norm`; what `side` and `constant` were does not matter then."""
        n, weight = self.columns.shape[0], self.weight / norm.astype(self.weight.dtype)
        sums = _products(self.columns, _column_sums(self.columns)[None, :])
        rows = weight * (sums - _products(self.columns, self.columns)) / (n - 2)
        return LowRank(self.columns, weight, -rows, jnp.sum(rows) / (n - 1), jnp.zeros_like(rows))

    @property
    def needed(self) -> int:
        """Bytes that `parts` takes, about; from shapes alone. A GPU keeps more blocks of products than a CPU."""
        n, width = self.columns.shape
        size = min(n, ROWS_PER_BLOCK)
        return 8 * (4 * size * (width + 2) + 3 * (width + 2) ** 2 + 5 * size**2 + 8 * n)

    def parts(self, *, third: bool) -> Parts:
        """The sums, in `4 n w^2` operations; `third` costs `n^2 w` more, for the cubes of all entries."""
        return _low_rank_parts(self, third)


def _products(rows: Float[Array, "n w"], others: Float[Array, "m w"]) -> Float[Array, " n"]:
    """Inner product of each row with its other, or with one; raised within the sum, as copies of features are large."""
    kind = jnp.result_type(float)
    return jnp.sum(rows.astype(kind) * others.astype(kind), axis=1)


def _column_sums(columns: Float[Array, "n w"]) -> Float[Array, " w"]:
    return jnp.sum(columns, axis=0, dtype=jnp.result_type(float))


@partial(jax.jit, static_argnums=1)
def _low_rank_parts(form: LowRank, third: bool) -> Parts:
    (n, width), kind = form.columns.shape, jnp.result_type(float)
    size = min(n, ROWS_PER_BLOCK)
    blocks = jnp.arange(-(-n // size) * size).reshape(-1, size)
    sums = _column_sums(form.columns)
    inner = form.weight * (jnp.dot(sums, sums) - jnp.sum(_products(form.columns, form.columns)))
    means = jnp.stack([inner / n / (n - 1) + 2 * jnp.mean(form.side) + form.constant, jnp.mean(form.diagonal)])
    constant, diagonal = form.constant - means[0], form.diagonal - means[1]

    def sides(samples, kind=kind):
        """L and R with `A = L R' = R L'` off the diagonal; rows of zeros beyond the last sample."""
        one, side = (samples < n).astype(kind), _taken(form.side, samples).astype(kind)
        features = _taken(form.columns, samples).astype(kind) * jnp.sqrt(form.weight).astype(kind)
        return (
            jnp.column_stack([features, one, side]),
            jnp.column_stack([features, side + constant.astype(kind) * one, one]),
        )

    def summed(product, start):
        return lax.scan(lambda so_far, samples: (so_far + product(samples), None), start, blocks)[0]

    def of_samples(values):
        return jax.tree.map(lambda z: z.reshape(-1, *z.shape[2:])[:n], lax.map(values, blocks))

    def left_gram(samples):
        left, _ = sides(samples)
        return _matmul(left.T, left)

    def own_and_sums(samples):
        left, right = sides(samples)
        through = _matmul(right, gram)
        return jnp.sum(left * right, axis=1), through[:, width], jnp.sum(through * right, axis=1)

    gram = summed(left_gram, jnp.zeros((width + 2, width + 2), kind))
    own, rows, squares = of_samples(own_and_sums)  # of L R', whose diagonal is not that of A
    extra = diagonal - own
    samples = {"d": diagonal, "r": rows + extra, "c": rows + extra}
    samples |= dict.fromkeys(("rr", "rc", "cc"), squares - own**2 + diagonal**2)
    if not third:
        return Parts(means, samples, {}, jnp.zeros(0))

    vectors = jnp.column_stack([diagonal, samples["r"]])
    weights = summed(lambda s: _matmul(sides(s)[0].T, _taken(vectors, s)), jnp.zeros((width + 2, 2), kind))
    through = of_samples(lambda s: _matmul(sides(s)[1], weights)) + extra[:, None] * vectors
    # L'R from L'L: the last two columns of R are combinations of those of L
    turned = gram.at[:, width].set(constant * gram[:, width] + gram[:, width + 1]).at[:, width + 1].set(gram[:, width])
    # tr (L R' + diag(extra))^3
    ring = jnp.sum(_matmul(turned, turned) * turned.T)
    ring += jnp.sum(extra * (3 * squares + 3 * extra * own + extra**2))

    def cubes(so_far, pair):
        # in the type of the features: its rounding does not show in a curve that is an approximation
        i, j = pair
        (_, right), (left, _) = (sides(blocks[place], form.columns.dtype) for place in pair)
        cube = _matmul(right, left.T).astype(kind) ** 3
        so_far = so_far.at[i].add(jnp.sum(cube, axis=1))
        return so_far.at[j].add(jnp.where(i == j, 0, jnp.sum(cube, axis=0))), None

    pairs = jnp.stack(jnp.triu_indices(len(blocks)), axis=1)
    cubed = lax.scan(cubes, jnp.zeros(blocks.shape, kind), pairs)[0].reshape(-1)[:n]
    samples |= dict.fromkeys(("rrr", "rrc"), cubed - own**3 + diagonal**3)
    return Parts(means, samples, {"d": through[:, 0], "r": through[:, 1], "c": through[:, 1]}, jnp.stack([ring, ring]))


def _matmul(a: Float[Array, "x y"], b: Float[Array, "y z"]) -> Float[Array, "x z"]:
    return jnp.matmul(a, b, precision=HIGHEST)


def _taken(values: Float[Array, "n ..."], samples: Int[Array, " b"]) -> Float[Array, "b ..."]:
    """The values of some samples; zero for a sample that there is not."""
    return values.at[samples].get(mode="fill", fill_value=0)
