"""Which model pairs of a result are evidence: a model with itself is none, two models in both orders are one pair."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..null.pvalues import false_discovery
from .provenance import Provenance
from .reduce import How, model_blocks


class ModelPairs(NamedTuple):
    """Kinds of pairs of a model of x with a model of y.

    own    (x, y): whether both are one model: their features and samples have the same hash
    first  (x, y): of the pairs of the same two models, in either order, the place of the first in the flat table; a
           pair that has a score goes before one that has none
    """

    own: np.ndarray
    first: np.ndarray

    @property
    def again(self) -> np.ndarray:
        """The pairs of two models that another pair stands for where the order of the two does not matter."""
        return (self.first != np.arange(self.first.size).reshape(self.first.shape)) & ~self.own

    def counted(self, *, symmetric: bool) -> np.ndarray:
        """The pairs that count: none of a model with itself, and two models once if the metric is symmetric."""
        return ~self.own & ~self.again if symmetric else ~self.own

    def rates(self, p: np.ndarray, method: str, *, symmetric: bool) -> np.ndarray:
        """q-values (x, y) over the pairs that count; a pair that repeats another has that one's, a self pair NaN."""
        q = false_discovery(np.where(self.counted(symmetric=symmetric), p, np.nan), method)
        return q.ravel()[self.first] if symmetric else q


def model_pairs(
    provenance: Provenance, models_x: Sequence[str], models_y: Sequence[str], scored: np.ndarray | None = None
) -> ModelPairs:
    """The pairs of the models of both sides, by the hashes of their contents, or by name where those are not recorded.

    scored  (x, y): the pairs that have a score; all if None
    """
    known = [{model.label: model.contents for model in provenance.models(side)} for side in "xy"]
    named = [[str(name) for name in models] for models in (models_x, models_y)]
    hashed = [[contents.get(name) for name in models] for contents, models in zip(known, named, strict=True)]
    xs, ys = hashed if all(map(all, hashed)) else named
    own = np.array([[x == y for y in ys] for x in xs], bool).reshape(len(xs), len(ys))
    places: dict[frozenset[str | None], int] = {}
    flat = [frozenset((x, y)) for x in xs for y in ys]
    order = np.arange(len(flat)) if scored is None else np.argsort(~scored.ravel(), kind="stable")
    for place in order.tolist():
        places.setdefault(flat[place], place)
    return ModelPairs(own, np.array([places[pair] for pair in flat], int).reshape(own.shape))


def mirrored(scores: np.ndarray, labels_x: np.ndarray, labels_y: np.ndarray, pairs: ModelPairs) -> bool:
    """Whether scores of layers are the same, but for rounding, if two models occur in both orders."""
    rows, columns = (list(model_blocks(labels).values()) for labels in (labels_x, labels_y))
    for i, j in np.argwhere(pairs.again):
        k, m = divmod(int(pairs.first[i, j]), len(columns))
        block, other = scores[rows[i], columns[j]], scores[rows[k], columns[m]].T
        known = np.isfinite(block) & np.isfinite(other)
        if not np.allclose(block[known], other[known], rtol=1e-4, atol=1e-6):
            return False
    return True


def pair_scores(result: Any, metric: str, how: How | None) -> np.ndarray:
    """The scores of every two different models of an Alignment: reduced by `how`, or of all their layer pairs if None.

    The mean of both orders where both were scored. By every metric of a result the same pairs have the same place.
    """
    pairs = result.model_pairs()
    if how is None:
        scores = result.layers(metric).transpose("layer_x", "layer_y")
        rows, columns = (list(model_blocks(scores[f"model_{side}"].values).values()) for side in "xy")
        blocks = [scores.values[r, c].astype(float) for r in rows for c in columns]
    else:
        blocks = [np.array([[value]]) for value in result.reduce(metric, how).values.astype(float).ravel()]
    width = pairs.own.shape[1]
    found: dict[int, list[np.ndarray]] = {}
    for place, first in enumerate(pairs.first.ravel().tolist()):
        (i, j), (k, m) = divmod(place, width), divmod(first, width)
        if pairs.own[i, j]:
            continue
        turned = place != first and pairs.own[i, m] and pairs.own[k, j]
        found.setdefault(first, []).append(blocks[place].T if turned else blocks[place])
    return np.concatenate([_mean(np.stack(same)).ravel() for same in found.values()] or [np.empty(0)])


def _mean(values: np.ndarray) -> np.ndarray:
    """The mean along the first axis, NaN passed over."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(axis=0) / known.sum(axis=0)
