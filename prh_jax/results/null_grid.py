"""A null as it grows on disk, block of orders by block of orders."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec

from ..stores.location import Place, open_group, remove, writing
from .storage import GROWING


class NullGrid:
    """A null as it grows, block of orders by block of orders; in memory, and at a path or URL where there is one.

    blocks   ranges of orders, each a whole number of the first one's, but for the last
    null     (metric, order, model_x, model_y): aggregates over layers, NaN where not computed
    reached  (metric, layer_x, layer_y): how often a cell's null was at least the observed
    cells    (metric, order, layer_x, layer_y), or None
    """

    def __init__(
        self,
        shape_pairs: tuple[int, int, int, int],
        shape_cells: tuple[int, int],
        blocks: Sequence[slice],
        settings: dict[str, Any],
        *,
        cells: bool,
        path: Place | None,
    ):
        metrics, orders, *_ = shape_pairs
        self.blocks = list(blocks)
        self._chunk = self.blocks[0].stop  # every block begins and ends with a chunk
        self.null = np.full(shape_pairs, np.nan, np.float32)
        self.reached = np.zeros((metrics, *shape_cells), np.int32)
        self.cells = np.full((metrics, orders, *shape_cells), np.nan, np.float32) if cells else None
        self._done = np.zeros((metrics, len(self.blocks)), bool)
        self._group = None
        if path is not None:
            self._group = self._open(path / GROWING, settings, shape_pairs, shape_cells)
        self._path = path

    def _open(self, path: Place, settings: dict[str, Any], pairs: Any, cells: Any) -> zarr.Group:
        text = json.dumps(settings, sort_keys=True)
        if path.exists():
            try:
                group = open_group(path, mode="r+")
                if group.attrs["settings"] == text and group.attrs["blocks"] == self._ends:
                    self._read(group)
                    return group
            except Exception:  # what cannot be read is made again: it holds nothing but a start
                self._done[...] = False
                self.null[...] = np.nan
                self.reached[...] = 0
            remove(path)
        group = open_group(path, mode="w")
        group.attrs.update({"settings": text, "blocks": self._ends})
        plain: dict[str, Any] = {"compressors": [Crc32cCodec()]}
        group.create_array("null", shape=pairs, chunks=(1, self._chunk, *pairs[2:]), dtype="float32", **plain)
        counts = (pairs[0], len(self.blocks), *cells)
        group.create_array("reached", shape=counts, chunks=(1, 1, *cells), dtype="int32", **plain)
        if self.cells is not None:
            group.create_array(
                "cells", shape=self.cells.shape, chunks=(1, self._chunk, *cells), dtype="float32", **plain
            )
        group.create_array("done", shape=self._done.shape, chunks=(1, 1), dtype="uint8", fill_value=0)
        return group

    def _read(self, group: zarr.Group) -> None:
        done = np.asarray(group["done"][...]).astype(bool)  # type: ignore[index]
        for m, b in np.argwhere(done):
            where = self.blocks[int(b)]
            self.null[m, where] = group["null"][m, where]  # type: ignore[index]
            self.reached[m] += np.asarray(group["reached"][m, b])  # type: ignore[index]
            if self.cells is not None:
                self.cells[m, where] = group["cells"][m, where]  # type: ignore[index]
        self._done = done

    @property
    def finished(self) -> int:
        """Number of blocks that are done, over all metrics."""
        return int(self._done.sum())

    @property
    def _ends(self) -> list[int]:
        return [block.stop for block in self.blocks]

    def done(self, metric: int, block: int) -> bool:
        """Whether a block of orders is done."""
        return bool(self._done[metric, block])

    def put(
        self, metric: int, block: int, null: np.ndarray, reached: np.ndarray, cells: np.ndarray | None = None
    ) -> None:
        """Keep a block; its mark is written last."""
        where = self.blocks[block]
        self.null[metric, where] = null
        self.reached[metric] += reached
        if self.cells is not None:
            self.cells[metric, where] = cells
        if self._group is not None and self._path is not None:
            with writing(self._path):
                self._group["null"][metric, where] = self.null[metric, where]  # type: ignore[index]
                self._group["reached"][metric, block] = reached  # type: ignore[index]
                if self.cells is not None:
                    self._group["cells"][metric, where] = self.cells[metric, where]  # type: ignore[index]
                self._group["done"][metric, block] = 1  # type: ignore[index]
        self._done[metric, block] = True
