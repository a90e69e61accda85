"""Models of different names with the same weights: a revision of a model may not be what it is called."""

import warnings
from collections.abc import Iterable

from .layout import sha256_json
from .source import ModelSource


def equal_weights(stores: Iterable[ModelSource]) -> list[str]:
    """A sentence for each set of weights that stores of several models hold, by the hashes that they record."""
    models: dict[str, dict[str, None]] = {}
    for store in stores:
        hashes = store.result.get("weights")
        if hashes:
            models.setdefault(sha256_json(sorted(hashes.values())), {})[store.model] = None
    return [
        f"{', '.join(names)} hold equal weights: they are one network. Some repositories serve late weights under the "
        "name of an early revision; leave all but one out, unless that is what you mean to compare."
        for names in models.values()
        if len(names) > 1
    ]


def warn_of_equal_weights(stores: Iterable[ModelSource]) -> None:
    """RuntimeWarning where models of different names hold equal weights."""
    for sentence in equal_weights(stores):
        warnings.warn(sentence, RuntimeWarning, stacklevel=2)
