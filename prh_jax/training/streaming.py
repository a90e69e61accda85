"""CKA over batches that are never in memory together: empty, update, merge, compute.

A state is a pytree of sums, so that it is carried by `lax.scan`, summed over devices by `lax.psum`, and merged by
addition. There is none for metrics of neighbours: a neighbour of the whole set is seldom in the same batch, and the
mean of mutual_knn over batches is another statistic, with another chance level (k / (batch - 1)).
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..numerics import linalg
from ..numerics.linalg import HIGHEST
from .losses import Hsic, gathered, hsic_sums, scaled_gram


class Moments(NamedTuple):
    """Sums over samples that the linear CKA of two layers is made of; p, q are the squared lengths of x, y."""

    count: Float[Array, ""]
    x: Float[Array, " dx"]
    y: Float[Array, " dy"]
    xx: Float[Array, "dx dx"]
    xy: Float[Array, "dx dy"]
    yy: Float[Array, "dy dy"]
    xp: Float[Array, " dx"]
    xq: Float[Array, " dx"]
    yp: Float[Array, " dy"]
    yq: Float[Array, " dy"]
    p: Float[Array, ""]
    q: Float[Array, ""]
    pp: Float[Array, ""]
    pq: Float[Array, ""]
    qq: Float[Array, ""]


def u_centered(upper: Any, diagonal: Any, traces: Any, n: Any) -> Any:
    """Inner product of two U-centred matrices (Szekely and Rizzo 2014) from that of their double-centred ones K, L.

    `2 upper - 2 diagonal / (n - 2) + traces / ((n - 1)(n - 2))`, with `upper = <upper K, upper L>`,
    `diagonal = <diag K, diag L>` and `traces = tr K tr L`. Divided by `n (n - 3)` it is the unbiased HSIC.
    """
    # floats: the integer product would not fit into 32 bits where n is large
    return 2 * upper - 2 * diagonal / (n - 2) + traces / ((n - 1.0) * (n - 2.0))


@dataclasses.dataclass(frozen=True)
class StreamingCka:
    """Linear CKA of all samples seen, exactly, from sums over features.

    The memory is (dx + dy)^2 numbers, whatever the number of samples. The score equals that of all rows together, up to
    rounding. In float32 that needs features near zero: subtract a rough mean (that of the first batch will do) and
    scale roughly before `update`. CKA does not depend on either. If rounding could change more than a hundredth of the
    score, it is NaN. With unbiased=True this also happens if one sample is thousands of times as far from the mean as
    the others.

    Parameters
    ----------
    unbiased
        True is `unbiased_cka`, False `cka`.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> y = x + rng.normal(size=(20, 4))
    >>> stream = prh_jax.StreamingCka()
    >>> state = stream.update(stream.empty(4, 4), x[:10], y[:10])
    >>> state = stream.update(state, x[10:], y[10:])
    >>> print(f"{stream.compute(state):.2f}")
    0.47
    """

    unbiased: bool = True

    def empty(self, dx: int, dy: int, dtype: Any = jnp.float32) -> Moments:
        """Return the state before any sample, for layers of these widths."""
        shapes = {"x": (dx,), "y": (dy,), "xx": (dx, dx), "xy": (dx, dy), "yy": (dy, dy)}
        shapes |= {"xp": (dx,), "xq": (dx,), "yp": (dy,), "yq": (dy,)}
        return Moments(*(jnp.zeros(shapes.get(name, ()), dtype) for name in Moments._fields))

    def update(self, state: Moments, x: Any, y: Any, *, where: Any = None) -> Moments:
        """Return the state after a batch, x (n, dx) and y (n, dy); `where` (n,) is True for the samples that count."""
        kind = state.x.dtype
        x, y, keep = gathered("StreamingCka", x, y, where, None)
        widths, given = (*state.x.shape, *state.y.shape), (x.shape[1], y.shape[1])
        if widths != given:
            raise ValueError(f"This state is of layers {widths} wide, got {given}: empty{given} makes one for these.")
        x, y = (jnp.where(keep[:, None], z.astype(kind), 0) for z in (x, y))
        p, q = (jnp.sum(z * z, axis=1) for z in (x, y))

        def product(a, b):
            return jnp.matmul(a.T, b, precision=HIGHEST)

        batch = Moments(
            count=jnp.sum(keep).astype(kind),
            x=x.sum(axis=0),
            y=y.sum(axis=0),
            xx=product(x, x),
            xy=product(x, y),
            yy=product(y, y),
            xp=product(x, p),
            xq=product(x, q),
            yp=product(y, p),
            yq=product(y, q),
            p=p.sum(),
            q=q.sum(),
            pp=linalg.inner(p, p),
            pq=linalg.inner(p, q),
            qq=linalg.inner(q, q),
        )
        return self.merge(state, batch)

    def merge(self, one: Any, other: Any) -> Any:
        """Return the state of the samples of both."""
        return jax.tree.map(jnp.add, one, other)

    def compute(self, state: Moments) -> Float[Array, ""]:
        """Return the CKA of all samples seen; NaN for fewer than 4 (unbiased), or if a side is constant."""
        s, n = state, state.count
        mx, my = s.x / jnp.maximum(n, 1), s.y / jnp.maximum(n, 1)

        def about(cross, m, k):
            return cross - n * jnp.outer(m, k)

        def lengths(pq, aq, bp, p, q, cross, m, k):
            """Sum of `|a - m|^2 |b - k|^2`, with p, q the squared lengths of a, b."""
            mm, kk = linalg.inner(m, m), linalg.inner(k, k)
            mixed = linalg.inner(m, jnp.matmul(cross, k, precision=HIGHEST))
            return pq - 2 * (linalg.inner(m, aq) + linalg.inner(k, bp)) + 4 * mixed + kk * p + mm * q - 3 * n * mm * kk

        cxx, cxy, cyy = about(s.xx, mx, mx), about(s.xy, mx, my), about(s.yy, my, my)
        whole = Hsic(*(linalg.inner(c, c) for c in (cxy, cxx, cyy)))
        tx, ty = jnp.trace(cxx), jnp.trace(cyy)
        # what is left of a sum of squares once the mean is taken off; the unbiased score has sums of fourth powers
        share = jnp.minimum(tx / jnp.where(s.p > 0, s.p, 1), ty / jnp.where(s.q > 0, s.q, 1))
        lost = (share**2 if self.unbiased else share) < 100 * jnp.finfo(share.dtype).eps
        if not self.unbiased:
            return jnp.where(lost, jnp.nan, whole.cosine)
        diagonal = Hsic(
            lengths(s.pq, s.xq, s.yp, s.p, s.q, s.xy, mx, my),
            lengths(s.pp, s.xp, s.xp, s.p, s.p, s.xx, mx, mx),
            lengths(s.qq, s.yq, s.yq, s.q, s.q, s.yy, my, my),
        )
        traces = Hsic(tx * ty, tx * tx, ty * ty)
        parts = Hsic(
            *(u_centered((w - d) / 2, d, t, jnp.maximum(n, 4)) for w, d, t in zip(whole, diagonal, traces, strict=True))
        )
        # one sample far from all others makes terms that are large, and cancel
        left = jnp.minimum(parts.xx / jnp.where(lost, 1, whole.xx), parts.yy / jnp.where(lost, 1, whole.yy))
        lost = lost | (left < 100 * jnp.finfo(left.dtype).eps)
        return jnp.where((n >= 4) & ~lost, parts.cosine, jnp.nan)


@dataclasses.dataclass(frozen=True)
class MinibatchCka:
    """Unbiased CKA estimated from batches: the mean unbiased HSIC of the batches, divided in the end.

    Over random batches of any size, the means are those of all samples, and their ratio converges to `unbiased_cka` of
    all samples. The memory is that of one batch, for layers too wide for `StreamingCka`. A batch with fewer than 4
    samples that count makes the score NaN. Features far from unit size (1e9, 1e-9) leave the range of float32: scale
    them.

    References
    ----------
    Song et al. 2012, JMLR 13; Nguyen et al. 2021, arXiv:2010.15327.
    """

    def empty(self) -> Hsic:
        """Return the state before any batch."""
        return Hsic(*(jnp.zeros(()) for _ in Hsic._fields))

    def update(self, state: Hsic, x: Any, y: Any, *, where: Any = None, axis_name: Any = None) -> Hsic:
        """Return the state after a batch, x (n, dx) and y (n, dy); `where` and `axis_name` are as in `batch_cka`."""
        x, y, keep = gathered("MinibatchCka", x, y, where, axis_name)
        (gram_x, scale_x), (gram_y, scale_y) = (scaled_gram(z, keep) for z in (x, y))
        count = jnp.sum(keep)
        sums, pairs = hsic_sums(gram_x, gram_y, keep, True), (count * (count - 3)).astype(gram_x.dtype)
        scales = Hsic(scale_x * scale_y, scale_x * scale_x, scale_y * scale_y)
        return self.merge(state, jax.tree.map(lambda z, scale: z / scale / pairs, sums, scales))

    def merge(self, one: Hsic, other: Hsic) -> Hsic:
        """Return the state of the batches of both."""
        return jax.tree.map(jnp.add, one, other)

    def compute(self, state: Hsic) -> Float[Array, ""]:
        """Return the estimated unbiased CKA of all samples."""
        return state.cosine
