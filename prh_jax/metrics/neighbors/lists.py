"""Tables of neighbour lists: all pairs of layers scored a few samples at a time."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int

from ...numerics.backends import choices
from ...numerics.varying import varying_as


def any_lists(neighbors: Int[Array, "..."], axis: int = -1) -> Int[Array, "..."]:
    """Return neighbour lists that are safe to index with: those of a degenerate layer (-1) become any k samples."""
    return jnp.where(
        neighbors < 0, lax.broadcasted_iota(neighbors.dtype, neighbors.shape, axis % neighbors.ndim), neighbors
    )


def compact_lists(
    a: Int[Array, "x n k"], b: Int[Array, "y n k"], *, always: bool = False
) -> tuple[Int[Array, "x n k"], Int[Array, "y n k"], int]:
    """Both sides' lists with the samples of each row renumbered, and how many numbers there are.

    Few samples keep their numbers, which are below n. Of many a table of a's lists would be nearly empty. A sample's
    number is then a place (any one) at which it is among all entries of a's lists in that row, and one number is that
    of all that are in none of them. `always`: lists hold numbers of more samples than have lists, however large.
    """
    layers, n, k = a.shape
    most = layers * k
    if 8 * (most + 1) >= n and not always:
        return a, b, n
    rows = max(1, min(n, choices().places_at_once // (most if always else n)))
    groups = -(-n // rows)
    filled = [jnp.pad(z, ((0, 0), (0, groups * rows - n), (0, 0))) for z in (a, b)]

    def numbered(places, start):
        """The numbers in a few rows."""
        lists = (any_lists(lax.dynamic_slice_in_dim(z, start, rows, axis=1)) for z in filled)
        ours, theirs = (z.transpose(1, 0, 2).reshape(rows, -1) for z in lists)
        if always:  # how many samples there are is not known: no place for each
            ours_sorted = jnp.sort(ours, axis=1)
            own, others = (jax.vmap(jnp.searchsorted)(ours_sorted, z).astype(ours.dtype) for z in (ours, theirs))
            found = jnp.take_along_axis(ours_sorted, jnp.minimum(others, most - 1), axis=1)
        else:
            row = jnp.arange(rows, dtype=ours.dtype)[:, None] * n
            place = lax.broadcasted_iota(ours.dtype, ours.shape, 1)
            places = places.at[(row + ours).reshape(-1)].set(place.reshape(-1), mode="promise_in_bounds")
            own, others = places[row + ours], places[row + theirs]
            # What stands at a place left from rows before is another sample: places need not be cleared.
            found = jnp.take_along_axis(ours, others, axis=1)
        return places, (own, jnp.where(found == theirs, others, most))

    places = varying_as(jnp.zeros(0 if always else rows * n, a.dtype), a, b)
    _, numbers = lax.scan(numbered, places, jnp.arange(0, groups * rows, rows, dtype=a.dtype))
    a, b = (z.reshape(groups * rows, -1, k)[:n].transpose(1, 0, 2) for z in numbers)
    return a, b, most + 1


def table_of(lists: Int[Array, "s k x"], values: Array, n: int) -> Array:
    """Table (s * n, x): the value of sample j in list (s, x), or 0 where it is not listed; values are (s, k, x)."""
    s, _, x = lists.shape
    sample = jnp.arange(s, dtype=lists.dtype)[:, None, None]
    place = (sample * n + lists) * x + jnp.arange(x, dtype=lists.dtype)[None, None, :]
    flat = jnp.zeros(s * n * x, values.dtype)
    # One flat index an entry: a scatter over several axes took five times as long.
    flat = flat.at[place.reshape(-1)].set(values.reshape(-1), mode="promise_in_bounds", unique_indices=True)
    return flat.reshape(s * n, x)


def table_rows(lists: Int[Array, "s k y"], n: int) -> Int[Array, "k s y"]:
    """Rows of the table of each sample at which the entries of its lists are, entry by entry."""
    return lists.transpose(1, 0, 2) + (jnp.arange(lists.shape[0], dtype=lists.dtype) * n)[None, :, None]


def scan_samples(body: Any, start: Any, a: tuple[Array, ...], b: tuple[Array, ...], rows: int) -> tuple[Any, Any]:
    """Fold `body(total, (a, b)) -> (total, out)` over the samples, a few at a time.

    Arrays come as (layers, n, k) and are handed on as (samples, k, layers). Outputs, (samples, ...), are put together.
    A sample's table has `rows` rows.
    """
    layers_a, n, _ = a[0].shape
    # As many samples at once as keep a processor's cache, or a GPU, busy: by the states of all pairs, and by the table.
    pairs, chosen = layers_a * b[0].shape[0], choices()
    size = max(1, min(n, chosen.states_at_once // pairs, chosen.table_entries // (rows * layers_a)))
    lists = jax.tree.map(lambda z: z.transpose(1, 2, 0), (a, b))
    whole = n // size * size
    groups = jax.tree.map(lambda z: z[:whole].reshape(-1, size, *z.shape[1:]), lists)
    total, out = lax.scan(body, start, groups)
    out = jax.tree.map(lambda z: z.reshape(whole, *z.shape[2:]), out)
    if whole < n:
        total, rest = body(total, jax.tree.map(lambda z: z[whole:], lists))
        out = jax.tree.map(lambda z, more: jnp.concatenate([z, more]), out, rest)
    return total, out
