"""Linear algebra of one layer: scaling, centring, unit rows, Gram matrices; exact where float arithmetic allows it."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Num

HIGHEST = lax.Precision.HIGHEST
"""Asked of every product of features: the default on recent GPUs rounds inputs to 10 bits, which changes neighbours."""


def at_least_float32(x: Num[Array, "n d"]) -> Float[Array, "n d"]:
    """The features as float32, or as float64 where they come so."""
    return x.astype(jnp.float64 if x.dtype == jnp.float64 else jnp.float32)


def power_of_two(x: Float[Array, "*shape"], axis: int | None = None) -> Float[Array, "..."]:
    """The power of two that brings the largest |x| (along `axis`) into [0.5, 1); multiplying by it is exact.

    1 for all-zero input. No gradient flows through it.
    """
    largest = lax.stop_gradient(jnp.max(jnp.abs(x), axis=axis, keepdims=axis is not None))
    _, exponent = jnp.frexp(largest)
    limit = 120 if x.dtype == jnp.float32 else 1000
    return jnp.ldexp(jnp.ones_like(largest), -jnp.clip(exponent, -limit, limit))


def is_degenerate(x: Float[Array, "n d"]) -> Bool[Array, ""]:
    """True where no similarity is defined: a value is not finite, or all rows are equal up to rounding."""
    x = lax.stop_gradient(x)
    spread = jnp.max(jnp.abs(x - x[:1]))
    return ~(spread > 4 * jnp.finfo(x.dtype).eps * jnp.max(jnp.abs(x)))


def prescale(x: Num[Array, "n d"]) -> tuple[Float[Array, "n d"], Float[Array, ""]]:
    """Features times a power of two (largest magnitude in [0.5, 1)), and that factor: products cannot overflow."""
    x = at_least_float32(x)
    factor = power_of_two(x)
    return x * factor, factor


def unit_rows(x: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Rows divided by their Euclidean norm; a zero row stays zero, as in `sklearn.preprocessing.normalize`."""
    x = x * power_of_two(x, axis=1)
    squares = jnp.sum(x * x, axis=1, keepdims=True)
    return x / jnp.sqrt(jnp.where(squares > 0, squares, 1))


def center_columns(x: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Features minus their mean over samples; twice, as the first mean is itself rounded."""
    x = x - jnp.mean(x, axis=0, keepdims=True)
    return x - jnp.mean(x, axis=0, keepdims=True)


def gram(x: Float[Array, "n d"]) -> Float[Array, "n n"]:
    """Gram matrix `x @ x.T`."""
    return jnp.matmul(x, x.T, precision=HIGHEST)


def rbf_gram(x: Float[Array, "n d"], sigma: float) -> Float[Array, "n n"]:
    """Gaussian kernel `exp(-|x_i - x_j|^2 / (2 sigma^2))`."""
    product = gram(center_columns(x))
    squares = jnp.diagonal(product)
    distances = jnp.maximum(squares[:, None] + squares[None, :] - 2 * product, 0)
    return jnp.exp(-without_diagonal(distances) / (2 * sigma * sigma))


def without_diagonal(matrix: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """The matrix with its diagonal set to zero."""
    return jnp.where(jnp.eye(matrix.shape[0], dtype=bool), 0, matrix)


def double_center(matrix: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """`H K H` with `H = I - 11'/n`: rows and columns of mean zero."""
    matrix = matrix - jnp.mean(matrix, axis=0, keepdims=True)
    return matrix - jnp.mean(matrix, axis=1, keepdims=True)


def u_center(matrix: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """U-centred symmetric matrix, zero on the diagonal (Szekely and Rizzo 2014).

    `<A, B> / (n (n - 3))` of two such matrices is the unbiased HSIC.
    `A_ij = K_ij - r_i / (n - 2) - r_j / (n - 2) + s / ((n - 1)(n - 2))` with row sums r and total s off the diagonal.
    """
    n = matrix.shape[0]
    matrix = without_diagonal(matrix)
    rows = jnp.sum(matrix, axis=1) / (n - 2)
    total = jnp.sum(rows) / (n - 1)
    return without_diagonal(matrix - rows[:, None] - rows[None, :] + total)


def inner(a: Float[Array, "*shape"], b: Float[Array, "*shape"]) -> Float[Array, ""]:
    """Sum of products, spelled as a contraction: over many pairs it becomes one matrix product."""
    return jnp.vdot(a, b, precision=HIGHEST)


def exact_ratio(count: Int[Array, ""], total: int) -> Float[Array, ""]:
    """`count / total` rounded once, for 0 <= count and 0 < total < 2^29; in JAX's default float type.

    By integer long division, as compilers turn division by a scalar into multiplication by its rounded reciprocal in
    vectorised code only: the score of a pair would then depend on the tile it is computed in.
    """
    kind = jnp.result_type(float)
    integer, word, width = (jnp.int64, 53, 63) if kind == jnp.float64 else (jnp.int32, 24, 31)
    count = count.astype(integer)
    whole, rest = count // total, count % total
    parts = [whole.astype(kind)]
    for part in (1, 2):  # the first and the second `word` binary digits: each is exact as a float
        digits, left = jnp.zeros_like(rest), word
        while left:
            step = min(left, width - total.bit_length())
            rest = rest << step
            digits = (digits << step) | (rest // total)
            rest, left = rest % total, left - step
        parts.append(digits.astype(kind) * 2.0 ** (-word * part))
    return parts[0] + (parts[1] + parts[2])


@jax.custom_jvp
def top_eigenvectors(matrix: Float[Array, "n n"], rank: Float[Array, " r"]) -> Float[Array, "n r"]:
    """Eigenvectors of the largest eigenvalues of a symmetric matrix, largest first; as many as `rank` has entries.

    The derivative is that of the subspace they span: it needs a gap after eigenvalue r, but not within the first r.
    """
    return jnp.linalg.eigh(matrix)[1][:, ::-1][:, : rank.shape[0]]


@top_eigenvectors.defjvp
def _top_eigenvectors_jvp(primals, tangents):
    matrix, rank = primals
    change = tangents[0]
    r = rank.shape[0]
    values, vectors = jnp.linalg.eigh(matrix)
    values, vectors = values[::-1], vectors[:, ::-1]
    top, rest = vectors[:, :r], vectors[:, r:]
    gaps = values[None, :r] - values[r:, None]
    mixing = jnp.matmul(rest.T, jnp.matmul(change, top, precision=HIGHEST), precision=HIGHEST)
    safe = jnp.where(gaps > 0, gaps, 1)
    return top, jnp.matmul(rest, jnp.where(gaps > 0, mixing / safe, 0), precision=HIGHEST)
