"""Maps between the layers of two networks, fitted on some samples, and similarities of the others after them."""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ...numerics.ridge import RidgeFit, left_out_totals, narrow_ridge_fit, ridge_fit


class Halved(NamedTuple):
    """A layer in one split: the decomposition of the fitted samples, and the others' distances from their mean."""

    fit: RidgeFit
    lengths: Float[np.ndarray, " m"]


class Layer:
    """A layer that is decomposed for one split after another, with the inner products of its samples if it is wide.

    `ridged` says that maps have a penalty, which weak directions do not pass.
    """

    def __init__(self, features: Float[np.ndarray, "n d"], *, ridged: bool) -> None:
        centred = features - features.mean(axis=0)
        self.centred = centred / np.abs(centred).max()  # no square vanishes
        self.ridged = ridged

    @cached_property
    def products(self) -> Float[np.ndarray, "n n"]:
        return self.centred @ self.centred.T

    def halved(self, train: Int[np.ndarray, " f"], held: Int[np.ndarray, " m"]) -> Halved:
        """The decomposition for one split."""
        if self.ridged and 2 * self.centred.shape[1] <= len(train):
            apart = self.centred[held] - self.centred[train].mean(axis=0)
            return Halved(narrow_ridge_fit(self.centred, train, held), np.linalg.norm(apart, axis=1))
        products = self.products
        own = products[np.ix_(train, train)].mean()
        squares = products[held, held] - 2 * products[np.ix_(held, train)].mean(axis=1) + own
        return Halved(ridge_fit(products, train, held), np.sqrt(np.maximum(squares, 0)))


def best_penalties(
    layers: Sequence[Halved], targets: Sequence[Halved], ridges: Float[np.ndarray, " r"]
) -> Float[np.ndarray, "l t"]:
    """The penalty with the least squared error of samples left out one at a time, for each layer and target."""
    known = [target.fit.vectors * np.sqrt(target.fit.values) for target in targets]
    return np.stack([ridges[left_out_totals(layer.fit, known, ridges).argmin(axis=0)] for layer in layers])


def ridge_similarity(x: Halved, y: Halved, penalty: float) -> Float[np.ndarray, "m m"]:
    """Similarities of predictions of y from x, by ridge regression, with the samples of y."""
    weights = x.fit.project / (x.fit.values + penalty * x.fit.scale)
    return _along(weights @ (x.fit.vectors.T @ y.fit.vectors) @ y.fit.project.T, y)


def orthogonal_similarities(x: Halved, y: Halved) -> tuple[Float[np.ndarray, "m m"], Float[np.ndarray, "m m"]]:
    """Similarities after the (semi-)orthogonal map between the spans of the fitted samples, in either direction.

    The two maps are each other's transpose, so that both directions have the same inner products.
    """
    from scipy.linalg import svd  # slow to import, and needed here alone

    scales = [np.sqrt(side.fit.values) for side in (x, y)]
    covariance = scales[0][:, None] * (x.fit.vectors.T @ y.fit.vectors) * scales[1]
    left, values, right = svd(covariance, full_matrices=False)
    kept = values > values.max(initial=0) * max(covariance.shape) * np.finfo(np.float64).eps
    ahead, behind = (side.fit.project / scale for side, scale in zip((x, y), scales, strict=True))
    products = (ahead @ left[:, kept]) @ (behind @ right[kept].T).T
    return _along(products, y), _along(products.T, x)


def plain_similarities(
    x: Float[np.ndarray, "m d"], y: Float[np.ndarray, "m d"]
) -> tuple[Float[np.ndarray, "m m"], Float[np.ndarray, "m m"]]:
    """Similarities of the samples as they are, in either direction."""
    products = x @ y.T
    return _divided(products, np.linalg.norm(y, axis=1)), _divided(products.T, np.linalg.norm(x, axis=1))


def _along(products: Float[np.ndarray, "m m"], gallery: Halved) -> Float[np.ndarray, "m m"]:
    return _divided(products, gallery.lengths)


def _divided(products: Float[np.ndarray, "q m"], lengths: Float[np.ndarray, " m"]) -> Float[np.ndarray, "q m"]:
    """Cosines but for the lengths of the queries, which change no order; NaN for a sample without a direction."""
    return products / np.where(lengths > 1e-9 * lengths.max(initial=0), lengths, np.nan)
