"""Whole numbers among settings: of permutations, splits, folds and seeds."""

from typing import Any

import numpy as np


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number, of Python or of numpy; True and False are none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def check_whole(least: int = 0, **settings: Any) -> None:
    """ValueError naming the first setting that is no whole number of at least `least`."""
    for name, value in settings.items():
        if not is_whole(value) or value < least:
            raise ValueError(f"{name} is a whole number of at least {least}, got {value!r}.")
