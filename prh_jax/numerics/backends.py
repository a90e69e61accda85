"""Choices that differ between a CPU and an accelerator, in one place."""

import dataclasses

import jax


@dataclasses.dataclass(frozen=True)
class Choices:
    """Sizes and ways that suit a kind of device. Neighbour lists are the same by either; sums differ by rounding.

    So do the ranks of `information_imbalance`, which the host makes in float64, and an accelerator in float32.

    columns_per_piece     columns of a wide layer that are handled at a time; None: all
    blocked_gram_above    samples above which a Gram matrix is made in blocks of rows, each product once
    inner_piece           entries of the inner products of a tile that are handled at a time; None: all
    order_piece           entries of packed matrices that are reordered at a time
    places_at_once        places of a renumbering table that are filled at a time
    states_at_once        states of pairs of layers that are updated at a time
    table_entries         entries of the tables of neighbours at a time
    one_level_top_k       largest k for which `lax.top_k` of a long row is quicker than two levels of it
    host_libraries        whether numpy and scipy serve plain calls best
    device_thresholds     whether clipping thresholds are found where the features are used
    """

    columns_per_piece: int | None
    blocked_gram_above: int
    inner_piece: int | None
    order_piece: int
    places_at_once: int
    states_at_once: int
    table_entries: int
    one_level_top_k: int
    host_libraries: bool
    device_thresholds: bool


CPU = Choices(
    columns_per_piece=2048,
    blocked_gram_above=0,
    inner_piece=4096,
    order_piece=2**10,
    places_at_once=2**18,
    states_at_once=2**14,
    table_entries=2**22,
    one_level_top_k=0,
    host_libraries=True,
    device_thresholds=False,
)
"""Pieces stay in a processor's cache."""

ACCELERATOR = Choices(
    columns_per_piece=None,
    blocked_gram_above=4096,
    inner_piece=None,
    order_piece=2**17,
    places_at_once=2**25,
    states_at_once=2**24,
    table_entries=2**27,
    one_level_top_k=16,
    host_libraries=False,
    device_thresholds=True,
)
"""A few large operations are quicker than many small ones. XLA's own kernel for top_k serves k up to 16."""


def choices() -> Choices:
    """The choices for the device that JAX uses."""
    return CPU if jax.default_backend() == "cpu" else ACCELERATOR
