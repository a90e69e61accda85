"""What is done to features before any metric: outliers clipped, rows made unit; recorded with results."""

import dataclasses
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from . import linalg
from .feature_store import FeatureStore


@dataclasses.dataclass(frozen=True)
class Preprocess:
    """Clip features to a quantile of their magnitude, then divide each row by its Euclidean norm.

    clip_quantile  in (0, 1]; 1 clips nothing
    exact          True: the order statistic `sorted(|features|)[int(q * size)]`; False: the linear quantile of each
                   sample, averaged over samples
    scope          one threshold for the whole "tensor" of a model's layers, one per "layer", or "auto": per layer only
                   where layers differ in width
    normalize      rows to unit length; a zero row stays zero

    The defaults are those of the reference's command line; its Python scorer has `exact=True`.
    """

    clip_quantile: float = 0.95
    exact: bool = False
    scope: Literal["auto", "tensor", "layer"] = "auto"
    normalize: bool = True

    def __post_init__(self):
        if not 0 < self.clip_quantile <= 1:
            raise ValueError(f"clip_quantile must be above 0 and at most 1 (no clipping), got {self.clip_quantile!r}.")
        if self.scope not in ("auto", "tensor", "layer"):
            raise ValueError(f"scope is 'auto', 'tensor' or 'layer', got {self.scope!r}.")

    def thresholds(self, store: FeatureStore) -> np.ndarray:
        """The magnitude at which each layer of a store is clipped: (layers,) float32, infinite for no clipping."""
        count = len(store.layers)
        if self.clip_quantile == 1:
            return np.full(count, np.inf, np.float32)
        per_layer = self.scope == "layer" or (self.scope == "auto" and len({layer.dim for layer in store.layers}) > 1)
        groups = [[i] for i in range(count)] if per_layer else [list(range(count))]
        if self.exact:
            values = [self._order_statistic([store.read_layer(i) for i in group]) for group in groups]
        else:
            values = self._mean_sample_quantile(store, groups)
        return np.repeat(np.asarray(values, np.float32), [len(group) for group in groups])

    def _order_statistic(self, layers: list[np.ndarray]) -> float:
        magnitudes = np.abs(np.concatenate([x.ravel() for x in layers]).astype(np.float32))
        index = min(int(self.clip_quantile * magnitudes.size), magnitudes.size - 1)
        magnitudes.partition(index)
        return float(magnitudes[index])

    def _mean_sample_quantile(self, store: FeatureStore, groups: list[list[int]]) -> list[float]:
        totals = np.zeros(len(groups))
        for block in range(len(store.done())):
            layers = [np.abs(x.astype(np.float32)) for x in store.read_block(block)]
            for g, group in enumerate(groups):
                rows = np.concatenate([layers[i] for i in group], axis=1)
                totals[g] += np.quantile(rows, self.clip_quantile, axis=1).sum(dtype=np.float64)
        return list(totals / store.n)

    def apply(self, x: Num[Array, "n d"], threshold: Float[Array, ""]) -> Float[Array, "n d"]:
        """The features clipped to +-threshold, and with unit rows if so set."""
        x = linalg.at_least_float32(x)
        x = jnp.clip(x, -threshold, threshold)
        return linalg.unit_rows(x) if self.normalize else x
