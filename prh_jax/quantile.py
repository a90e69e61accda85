"""Order statistics of magnitudes by counting their bits: exact, streaming, and faster than a partition."""

from collections.abc import Callable, Iterable

import numpy as np

from .bfloat16 import BFLOAT16

PIECE = 1 << 16
"""Values counted at once: a piece and its counts stay in cache."""


def order_statistics(
    read: Callable[[], Iterable[np.ndarray]], rank: int, total: Callable[[np.ndarray], np.ndarray] | None = None
) -> tuple[float, float]:
    """The magnitudes at positions `rank` and `rank + 1` of sorted |values| (the last one twice at the end).

    `read` gives the values in pieces of any shape, the same at every call; it is called once or twice. Magnitudes of
    floats sort as their bits do: the upper 16 are counted first, then those values that share them are sorted by the
    lower 16. Values must not be NaN.

    Where several processes hold the values, each reads its own, and `total` sums an array of counts over all of them;
    every process must call this, and gets the same.
    """
    counts = np.zeros(1 << 15, np.int64)
    narrow = True
    for piece in _pieces(read()):
        upper, wide = _bits(piece)
        narrow = narrow and not wide
        counts += np.bincount(upper, minlength=counts.size)
    if total is not None:
        counts, wide_ones = np.split(total(np.append(counts, not narrow)), [counts.size])
        narrow = not wide_ones.any()
    below = np.cumsum(counts)
    ranks = [min(r, int(below[-1]) - 1) for r in (rank, rank + 1)]
    coarse = [int(np.searchsorted(below, r, side="right")) for r in ranks]
    if narrow:
        return _value(coarse[0] << 16), _value(coarse[1] << 16)
    sharing: dict[int, list[np.ndarray]] = {b: [] for b in coarse}
    for piece in _pieces(read()):
        bits = _bits32(piece)
        for b, found in sharing.items():
            found.append(bits[bits >> 16 == b].astype(np.uint16))
    values = []
    for r, b in zip(ranks, coarse, strict=True):
        position = r - int(below[b] - counts[b])
        lower = np.concatenate(sharing[b]) if sharing[b] else np.zeros(0, np.uint16)
        if total is None:
            found = np.partition(lower, position)[position]
        else:
            below_lower = np.cumsum(total(np.bincount(lower, minlength=1 << 16)))
            found = np.searchsorted(below_lower, position, side="right")
        values.append(_value((b << 16) | int(found)))
    return values[0], values[1]


def quantile(values: np.ndarray, q: float) -> float:
    """The q-quantile of |values| with linear interpolation between order statistics, as `np.quantile` has it."""
    position = q * (values.size - 1)
    low, high = order_statistics(lambda: [values], int(position))
    return low + (high - low) * (position - int(position))


def _pieces(arrays: Iterable[np.ndarray]) -> Iterable[np.ndarray]:
    for array in arrays:
        flat = array.reshape(-1)
        for start in range(0, flat.size, PIECE):
            yield flat[start : start + PIECE]


def _bits(piece: np.ndarray) -> tuple[np.ndarray, bool]:
    """The upper 16 bits of each magnitude as float32, and whether there are lower ones."""
    if piece.dtype == BFLOAT16:
        return piece.view(np.uint16) & 0x7FFF, False
    return _bits32(piece) >> 16, True


def _bits32(piece: np.ndarray) -> np.ndarray:
    return piece.astype(np.float32, copy=False).view(np.uint32) & 0x7FFFFFFF


def _value(bits: int) -> float:
    return float(np.array(bits, np.uint32).view(np.float32))
