"""Units that permutations exchange, and whether a score can change; checked before scoring."""

import dataclasses
import hashlib
import math
from collections.abc import Sequence

import numpy as np

from ..null.orders import NO_ORDER, count_orders, exchange_units, log_arrangements
from ..null.settings import Null
from ..runtime.progress import report_progress
from ..stores.source import ModelSource
from .study import Study

ROWS_AT_ONCE = 512
"""Samples of a layer that are read in one go to see whether orders change it."""


def settle_exchange(study: Study, null: Null) -> Null:
    """The null with what changes places said; ValueError where the study has nothing of that kind."""
    if study.codes is None:
        if null.exchange == "whole":
            raise ValueError(
                "Whole groups change places only where there are groups: give groups= (a label for each sample), or "
                "leave out exchange."
            )
        return dataclasses.replace(null, exchange=None)
    return dataclasses.replace(null, exchange=null.exchange or ("whole" if study.partners else "within"))


def check_orders(study: Study, null: Null, quiet: bool | None) -> None:
    """Refuse a null whose orders are too few, or leave a model as it is, before anything is scored.

    Features are read only where there are groups, and only until they are seen to differ: mostly some rows of one layer
    of each model.
    """
    n, codes, exchange = study.context.n, study.codes, null.exchange or "within"
    total = count_orders(n, codes, exchange)
    what = "" if codes is None else f" {'within' if exchange == 'within' else 'of whole'} groups"
    if total == 1:
        raise ValueError(NO_ORDER[exchange])
    if total < 1 / null.alpha:
        raise ValueError(
            f"{n} samples have {total} orders{what}, so p is never below {1 / total:.3g}, "
            f"and alpha is {null.alpha:g}. Give more samples, coarser groups or a larger alpha."
        )
    if codes is None:
        return
    units = exchange_units(n, codes, exchange)
    enough = math.log(max(1 / null.alpha, null.orders + 1))
    for side, stores in (("x", study.xs), ("y", study.ys)):
        for store in stores:
            found = _log_arrangements(store, units, enough)
            words = f"{store.model!r} (side {side}, {store.path})"
            if found == 0 and exchange == "within":
                raise ValueError(
                    f"No order within groups changes {words}: in all its {len(store.layers)} layers the rows of each "
                    f"of the {len(set(codes))} groups are equal. p would be 1 whatever the scores are. Exchange whole "
                    'groups: Null(exchange="whole") (--exchange whole). Or give each group one row in all stores, or '
                    "leave out the null or this model."
                )
            if found < math.log(1 / null.alpha) - 1e-9:
                raise ValueError(
                    f"Orders{what} make {math.exp(found):.0f} different arrangements of {words}, as most of what they "
                    f"exchange is equal. p is never below {math.exp(-found):.3g}, and alpha is {null.alpha:g}. Give "
                    "coarser groups, or leave out the null, the groups (groups=None) or this model."
                )
            if found < enough - 1e-9:
                report_progress(
                    f"{words}: orders{what} make {math.exp(found):.0f} different arrangements of it, fewer "
                    f"than the {null.orders} orders asked for: p is never far below {math.exp(-found):.3g}.",
                    quiet,
                )


def _log_arrangements(store: ModelSource, units: Sequence[np.ndarray], enough: float) -> float:
    """`log_arrangements` of a model's rows, those of all layers together; of its first rows where these are enough."""
    found, alike = 0.0, np.zeros(store.n, np.int64)
    last = [members.max(axis=1) for members in units]
    for layer in reversed(range(len(store.layers))):  # the first may hold nothing of the samples yet
        known: dict[tuple[int, bytes], int] = {}
        finer = np.empty(store.n, np.int64)
        for start in range(0, store.n, ROWS_AT_ONCE):
            rows = np.ascontiguousarray(store.read_layer(layer, slice(start, start + ROWS_AT_ONCE)))
            rows = np.where(rows == 0, np.zeros_like(rows), rows)  # of two zeros the signs are no difference
            hashed = (hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows)
            stop = start + len(rows)
            before = alike[start:stop].tolist()
            finer[start:stop] = [
                known.setdefault((one, row), len(known)) for one, row in zip(before, hashed, strict=True)
            ]
            read = [members[end < stop] for members, end in zip(units, last, strict=True)]
            found = log_arrangements(read, finer)
            if found >= enough:
                return found
        alike = finer
    return found
