"""Linear algebra of one layer: scaling, centring, unit rows, Gram matrices; exact where float arithmetic allows it."""

from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Num

from .backends import choices

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
    limit = 120 if x.dtype == jnp.float32 else 1000
    return two_to(-jnp.clip(exponent_of(largest), -limit, limit), x.dtype)


def exponent_of(x: Float[Array, "*shape"]) -> Int[Array, "*shape"]:
    """The e of `x = m 2^e` with m in [0.5, 1), of positive normal numbers; 0 where x is zero or not finite.

    From the bits of the number: `jnp.frexp` takes a tenth of the time in which a sketch is compiled.
    """
    kind, digits, bias = _bits(x.dtype)
    exponent = (lax.bitcast_convert_type(x, kind) >> digits) - bias + 1
    return jnp.where((x > 0) & (x < jnp.inf), exponent, 0)


def two_to(exponent: Int[Array, "*shape"], dtype: Any) -> Float[Array, "*shape"]:
    """`2^exponent`, of exponents of normal numbers."""
    kind, digits, bias = _bits(dtype)
    return lax.bitcast_convert_type((exponent.astype(kind) + bias) << digits, dtype)


def _bits(dtype: Any) -> tuple[Any, int, int]:
    """The integers of a float's size, how many of its bits are digits, and what its exponents are stored plus."""
    return (jnp.int32, 23, 127) if dtype == jnp.float32 else (jnp.int64, 52, 1023)


def centered_rows(x: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Rows times a power of two each, minus their mean; a row of equal numbers gives zeros."""
    x = x * power_of_two(x, axis=1)
    equal = jnp.max(x, axis=1, keepdims=True) == jnp.min(x, axis=1, keepdims=True)
    x = x - jnp.mean(x, axis=1, keepdims=True)
    return jnp.where(equal, 0, x - jnp.mean(x, axis=1, keepdims=True))


def unit_rows(x: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Rows divided by their Euclidean norm; a zero row stays zero, as in `sklearn.preprocessing.normalize`."""
    x = x * power_of_two(x, axis=1)
    squares = jnp.sum(x * x, axis=1, keepdims=True)
    return x / jnp.sqrt(jnp.where(squares > 0, squares, 1))


def squared_distances(gram: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """Squared Euclidean distances from the Gram matrix of x, minus any point; symmetric to the bit, diagonal zero."""
    squares = jnp.diagonal(gram)
    return without_diagonal(jnp.maximum(squares[:, None] + squares[None, :] - 2 * gram, 0))


def median_distance(squares: Float[Array, "n n"], where: Bool[Array, " n"] | None = None) -> Float[Array, ""]:
    """The median distance between two samples, from all squared distances; of the middle two their mean.

    Of the samples that count, two at least, where `where` is True.
    """
    n: Any = squares.shape[0]
    if where is not None:
        n = jnp.maximum(jnp.sum(where, dtype=jnp.int32), 2)
        both = where[:, None] & where[None, :]
        squares = jnp.where(both, squares, jnp.inf)
    pairs = n * (n - 1) // 2
    # in order, n zeros of the diagonal come first, then each pair twice
    ordered = jnp.sort(squares.reshape(-1))
    places = (n + 2 * ((pairs - 1) // 2), n + 2 * (pairs // 2))
    return jnp.mean(safe_sqrt(jnp.stack([ordered[place] for place in places])))


def gaussian(squares: Float[Array, "n n"], sigma: Float[Array, ""]) -> Float[Array, "n n"]:
    """Gaussian kernel `exp(-|x_i - x_j|^2 / (2 sigma^2))` from squared distances."""
    # sigma twice, not squared: its square could leave the range of floats
    return jnp.exp(-squares / sigma / sigma / 2)


def safe_sqrt(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The root; 0 with a gradient of 0 where x is not above zero, NaN where x is NaN."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), x * 0)


def frobenius_norm(matrix: Float[Array, "n m"]) -> Float[Array, ""]:
    """Root of the sum of squared entries, whose squares may be out of the range of floats; a gradient of 0 at 0."""
    factor = power_of_two(matrix)
    scaled = matrix * factor
    return safe_sqrt(inner(scaled, scaled)) / factor


def without_diagonal(matrix: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """The matrix with its diagonal set to zero."""
    return jnp.where(jnp.eye(matrix.shape[0], dtype=bool), 0, matrix)


def u_center(matrix: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """The U-centred matrix: entries off the diagonal with row and column sums of zero, and a zero diagonal."""
    return split_center(matrix)[0]


def split_center(
    matrix: Float[Array, "n n"], where: Bool[Array, " n"] | None = None, count: Any = None
) -> tuple[Float[Array, "n n"], Float[Array, " n"]]:
    """A symmetric matrix K as what its two centred forms are made of: the U-centred matrix U, and a diagonal g.

    `<HKH, HLH> = <U, V> + <g, h>` with `H = I - 11'/n`, and `<U, V> / (n (n - 3))` is the unbiased HSIC. A large entry
    on the diagonal alone, as of one sample far from all others, takes no digits from U.

    Parameters
    ----------
    matrix
        The matrix.
    where
        Rows and columns that count; all if None.
    count
        How many these are, if `where` is given; at least 4.
    """
    n = matrix.shape[0] if where is None else count.astype(matrix.dtype)
    apart = ~jnp.eye(matrix.shape[0], dtype=bool)
    if where is not None:
        apart = apart & where[:, None] & where[None, :]
    rows = jnp.sum(jnp.where(apart, matrix, 0), axis=1) / (n - 2)
    mean = jnp.sum(rows) / (n - 1)
    u = jnp.where(apart, matrix - rows[:, None] - rows[None, :] + mean, 0)
    # K less what centring takes off is U with this diagonal
    diagonal = jnp.diagonal(matrix) - 2 * rows + mean
    return u, own_diagonal(diagonal if where is None else jnp.where(where, diagonal, 0), where, n)


def own_diagonal(e: Float[Array, " n"], where: Bool[Array, " n"] | None, n: Any) -> Float[Array, " n"]:
    """The g of `split_center` for `K = U + diag(e)`: `<g, h> = <H diag(e) H, H diag(f) H>`."""
    # the latter is (1 - 2/n) <e, f> + sum e sum f / n^2
    alone, shared = jnp.sqrt(1 - 2 / n), jnp.sqrt(1 - 1 / n)
    g = alone * e + (shared - alone) * jnp.sum(e) / n
    return g if where is None else jnp.where(where, g, 0)


def inner(a: Float[Array, "*shape"], b: Float[Array, "*shape"]) -> Float[Array, ""]:
    """Sum of products, spelled as a contraction: over many pairs it becomes one matrix product."""
    return jnp.vdot(a, b, precision=HIGHEST)


def tile_inner(a: Float[Array, "x ..."], b: Float[Array, "y ..."]) -> Float[Array, "x y"]:
    """Inner products of all pairs of two stacks: one matrix product, cut into pieces that a CPU's cache holds."""
    a, b = a.reshape(a.shape[0], -1), b.reshape(b.shape[0], -1)
    size, piece = a.shape[1], choices().inner_piece
    if piece is None or size <= piece:
        return jnp.matmul(a, b.T, precision=HIGHEST)
    # Eigen multiplies matrices of up to 64 rows by one thread; with a row of zeros more all threads take part.
    filled = all(56 <= z.shape[0] <= 64 for z in (a, b))

    def product(start, width):
        parts = (lax.dynamic_slice_in_dim(z, start, width, axis=1) for z in (a, b))
        p, q = (jnp.pad(z, ((0, 65 - z.shape[0]), (0, 0))) if filled else z for z in parts)
        return jnp.matmul(p, q.T, precision=HIGHEST)

    whole = size // piece * piece
    total, _ = lax.scan(
        lambda total, start: (total + product(start, piece), None),
        product(whole, size - whole),
        jnp.arange(0, whole, piece),
    )
    return total[: a.shape[0], : b.shape[0]]


def exact_ratio(count: Int[Array, "*pairs"], total: int) -> Float[Array, "*pairs"]:
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
