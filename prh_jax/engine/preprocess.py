"""Preprocessing of features before any metric: outliers clipped, rows made unit; recorded with results."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..numerics import linalg
from ..numerics.real import as_real
from ..stores.layout import blocks_of
from ..stores.source import LayerSource
from . import device_quantile
from .quantile import order_statistics, row_quantiles


@dataclasses.dataclass(frozen=True)
class RowRange:
    """The samples that one of several processes holds, and what brings arrays of all processes together.

    rows     from its first sample to the one after its last
    stacked  an array of each process as one, (processes, ...), the same on all; shorter ones are filled up with zeros
    """

    rows: slice
    stacked: Callable[[np.ndarray], np.ndarray]

    def total(self, counts: np.ndarray) -> np.ndarray:
        """Counts summed over processes."""
        return self.stacked(counts).sum(axis=0)


@dataclasses.dataclass(frozen=True)
class Preprocess:
    """Clip features to a quantile of their magnitude, then divide each row by its Euclidean norm.

    The defaults are those of the reference's command line. Its Python scorer has exact=True.

    Parameters
    ----------
    clip_quantile
        Quantile in (0, 1]. 1 clips nothing.
    exact
        True takes the order statistic `sorted(|features|)[int(q * size)]`. False takes the linear quantile of each
        sample, averaged over samples.
    scope
        One threshold for the whole "tensor" of a model's layers, one for each "layer", or "auto": for each layer only
        if layers differ in width.
    normalize
        Divide rows by their norm. A zero row stays zero.
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

    def thresholds(
        self,
        store: LayerSource,
        layers: Sequence[np.ndarray] | Sequence[jax.Array] | None = None,
        *,
        memory: int = 1 << 30,
        part: RowRange | None = None,
    ) -> np.ndarray:
        """Return the magnitude at which each layer of a store is clipped.

        Parameters
        ----------
        store
            The features of a model.
        layers
            The same features if they are in memory already, of the host or of a device. The thresholds are the same.
            They are read from the store if None.
        memory
            Bytes to hold at a time while reading, approximately.
        part
            Look at the rows of this part alone (`layers` hold no others). The thresholds are bitwise those of all rows.
            Every process that holds a part must make this call.

        Returns
        -------
        Array
            Thresholds (layers,) in float32, infinite for no clipping.
        """
        count = len(store.layers)
        if self.clip_quantile == 1:
            return np.full(count, np.inf, np.float32)
        per_layer = self.scope == "layer" or (self.scope == "auto" and len({layer.dim for layer in store.layers}) > 1)
        groups = [[i] for i in range(count)] if per_layer else [list(range(count))]
        if layers and isinstance(layers[0], jax.Array) and part is None:
            values = [self._on_device([layers[i] for i in group]) for group in groups]
        elif self.exact:
            values = [self._order_statistic(store, group, layers, part) for group in groups]
        else:
            values = self._mean_sample_quantile(store, groups, layers, memory, part)
        return np.repeat(np.asarray(values, np.float32), [len(group) for group in groups])

    def _on_device(self, layers: list[Any]) -> float:
        if self.exact:
            return device_quantile.order_statistic(layers, self._rank(sum(x.size for x in layers)))
        return math.fsum(device_quantile.row_quantiles(layers, self.clip_quantile)) / len(layers[0])

    def _rank(self, size: int) -> int:
        return min(int(self.clip_quantile * size), size - 1)

    def _order_statistic(
        self, store: LayerSource, group: list[int], layers: Sequence[Any] | None, part: RowRange | None
    ) -> float:
        rank = self._rank(store.n * sum(store.layers[i].dim for i in group))
        rows, total = (part.rows, part.total) if part else (slice(None), None)
        return order_statistics(
            lambda: (layers[i] if layers else store.read_layer(i, rows) for i in group), rank, total
        )[0]

    def _mean_sample_quantile(
        self,
        store: LayerSource,
        groups: list[list[int]],
        layers: Sequence[Any] | None,
        memory: int,
        part: RowRange | None,
    ) -> list[float]:
        held = part.rows if part else slice(0, store.n)
        found = np.zeros((held.stop - held.start, len(groups)))
        width = sum(layer.dim for layer in store.layers)
        most = max(1, memory // (2 * width * store.dtype.itemsize))
        for block in blocks_of(store.n):
            for start in range(max(block.start, held.start), min(block.stop, held.stop), most):
                rows = slice(start, min(start + most, block.stop, held.stop))
                places = slice(rows.start - held.start, rows.stop - held.start)
                read = [x[places] for x in layers] if layers else store.read_rows(rows)
                for g, group in enumerate(groups):
                    found[places, g] = row_quantiles([read[i] for i in group], self.clip_quantile)
        whole = part.stacked(found).reshape(-1, len(groups)) if part else found
        # summed without rounding: the order of samples, and who holds them, change nothing
        return [math.fsum(values) / store.n for values in whole.T]

    def apply(self, x: Any, threshold: Any) -> Float[Array, "n d"]:
        """Return the features clipped to +-threshold, with unit rows if `normalize` is set.

        Parameters
        ----------
        x
            Features (n, d).
        threshold
            Magnitude at which they are clipped.

        Returns
        -------
        Array
            Features (n, d).
        """
        x = linalg.at_least_float32(as_real("Preprocess", x))
        x = jnp.clip(x, -threshold, threshold)
        return linalg.unit_rows(x) if self.normalize else x
