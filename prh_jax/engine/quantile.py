"""Order statistics of magnitudes by counting their bits: exact, streaming, faster than a partition of many values."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from ..stores.bfloat16 import BFLOAT16

PIECE, ROWS_OF, SAMPLED = 1 << 16, 1 << 20, 1024
"""Values counted at once, values of rows put together at once: both stay in cache; values that tell where to look."""
LONG = 4096
"""Columns from which counting in rows one by one is quicker than partitioning many."""


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


def row_quantiles(layers: Sequence[np.ndarray], q: float) -> np.ndarray:
    """The q-quantile of each row's |values| in layers side by side, (n, d) each: (n,) float64.

    With linear interpolation between order statistics, as `np.quantile` has it. Short rows are partitioned, many at
    once; of long ones a magnitude at a position is found by counting how many are no larger, again and again, which is
    quicker than a histogram. Threads gain nothing here: they spend it on waiting for the interpreter.
    """
    n, width = layers[0].shape[0], sum(x.shape[1] for x in layers)
    narrow = all(x.dtype == BFLOAT16 for x in layers)
    kind, magnitude = (np.uint16, 0x7FFF) if narrow else (np.uint32, 0x7FFFFFFF)
    position = q * (width - 1)
    ranks = int(position), min(int(position) + 1, width - 1)
    count = max(1, min(n, ROWS_OF // width))
    bits, found = np.empty((count, width), kind), np.empty((n, 2), kind)
    for start in range(0, n, count):
        block, first = bits[: n - start], 0
        for x in layers:
            rows, columns = x[start : start + count], slice(first, first := first + x.shape[1])
            rows = rows if narrow else rows.astype(np.float32, copy=False)
            np.bitwise_and(rows.view(kind), kind(magnitude), out=block[:, columns])
        if width < LONG:
            block.partition(ranks, axis=1)
            found[start : start + count] = block[:, ranks]
        else:
            found[start : start + count] = [_long_row(row, *ranks) for row in block]
    return quantile_of(found.astype(np.uint32) << (16 if narrow else 0), position)


def quantile_of(bits: np.ndarray, position: float) -> np.ndarray:
    """Interpolate linearly between the magnitudes (n, 2) on both sides of a position, given as bits of float32."""
    low, high = at_position(bits).T.astype(np.float64)
    return low + (high - low) * (position - int(position))


def at_position(bits: np.ndarray) -> np.ndarray:
    """Magnitudes from their bits as float32."""
    return np.ascontiguousarray(bits, np.uint32).view(np.float32)


def _long_row(bits: np.ndarray, rank: int, following: int) -> tuple[int, int]:
    """The bits at two positions next to each other of sorted magnitudes, of which there are all or the upper 16."""
    narrow = bits.dtype == np.uint16
    codes, mask = bits if narrow else (bits >> 16).astype(np.uint16), np.empty(bits.size, bool)
    low, reached = _code_at(codes, rank, mask)
    high = low if following < reached else _code_at(codes, following, mask, low + 1)[0]
    if narrow:
        return low, high
    fine = []
    for place, code in ((rank, low), (following, high)):
        place -= np.count_nonzero(np.less(codes, code, out=mask))
        fine.append(int(np.partition(bits[codes == code], place)[place]))
    return fine[0], fine[1]


def _code_at(codes: np.ndarray, rank: int, mask: np.ndarray, first: int | None = None) -> tuple[int, int]:
    """Return `sorted(codes)[rank]` of numbers below 2^15, and how many are no larger.

    The search starts at `first`, or at a place that a sample of the codes suggests.
    """
    if first is None:
        few = np.sort(codes[:: max(1, codes.size // SAMPLED)])
        place = rank * few.size // codes.size
        first, second = int(few[max(place - few.size // 48, 0)]), int(few[min(place + few.size // 48, few.size - 1)])
    else:
        second = first - 1
    low, count_low, high, count_high = -1, 0, (1 << 15) - 1, codes.size  # low is too low, high is not
    turn = 0
    while high - low > 1:
        if turn < 2:
            code = (first, second)[turn]
        elif turn % 4 == 1:  # where values are far from evenly spread
            code = (low + high) // 2
        else:
            code = low + round((high - low) * (rank + 0.5 - count_low) / (count_high - count_low))
        code = min(max(code, low + 1), high - 1)
        count = int(np.count_nonzero(np.less_equal(codes, code, out=mask)))
        if count > rank:
            high, count_high = code, count
        else:
            low, count_low = code, count
        turn += 1
    return high, count_high


def _pieces(arrays: Iterable[np.ndarray]) -> Iterable[np.ndarray]:
    for array in arrays:
        flat = array.reshape(-1)
        for start in range(0, flat.size, PIECE):
            yield flat[start : start + PIECE]


def _bits(piece: np.ndarray) -> tuple[np.ndarray, bool]:
    """The upper 16 bits of each magnitude as float32, and whether there are lower ones."""
    if piece.dtype == BFLOAT16:
        return piece.view(np.uint16) & np.uint16(0x7FFF), False
    return (_bits32(piece) >> 16).astype(np.uint16), True


def _bits32(piece: np.ndarray) -> np.ndarray:
    return piece.astype(np.float32, copy=False).view(np.uint32) & 0x7FFFFFFF


def _value(bits: int) -> float:
    return float(np.array(bits, np.uint32).view(np.float32))
