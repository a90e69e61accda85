"""A null as it grows on disk, block of orders by block of orders."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec

from ..stores.location import Place, open_group, remove, writing
from ..stores.runs import mark_of
from .storage import GROWING, check_scores

FORMAT = 3
"""Of an unfinished null: one of another format is begun again."""


class NullGrid:
    """A null as it grows, block of orders by block of orders; in memory, and at a path or URL where there is one.

    blocks   ranges of orders, each a whole number of the first one's, but for the last
    scores   `digest` of the scores whose null it is, which the result at the path holds

    A block on disk counts as done where its mark is that of its numbers, its place and the scores: one that lost a
    chunk is computed again. ExistsError where the result has come to hold other scores.

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
        scores: str = "",
    ):
        metrics, orders, *_ = shape_pairs
        self.blocks = list(blocks)
        self._scores = scores
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
                same = group.attrs["settings"] == text and group.attrs["blocks"] == self._ends
                same = same and group.attrs.get("scores") == self._scores
                if same and group.attrs.get("format") == FORMAT:
                    self._read(group)
                    return group
            except Exception:  # what cannot be read is made again: it holds nothing but a start
                self._done[...] = False
                self.null[...] = np.nan
                self.reached[...] = 0
            remove(path)
        group = open_group(path, mode="w")
        group.attrs.update({"settings": text, "blocks": self._ends, "format": FORMAT, "scores": self._scores})
        real: dict[str, Any] = {"compressors": [Crc32cCodec()], "dtype": "float32", "fill_value": np.nan}
        whole: dict[str, Any] = {"compressors": [Crc32cCodec()], "dtype": "int32", "fill_value": -1}
        group.create_array("null", shape=pairs, chunks=(1, self._chunk, *pairs[2:]), **real)
        group.create_array("reached", shape=(pairs[0], len(self.blocks), *cells), chunks=(1, 1, *cells), **whole)
        if self.cells is not None:
            group.create_array("cells", shape=self.cells.shape, chunks=(1, self._chunk, *cells), **real)
        group.create_array("done", shape=self._done.shape, chunks=(1, 1), dtype="uint32", fill_value=0)
        return group

    def _read(self, group: zarr.Group) -> None:
        arrays: dict[str, Any] = {name: group[name] for name, _ in group.arrays()}
        marks = np.asarray(arrays["done"][...])
        if marks.dtype != np.uint32:
            raise TypeError(f"its marks are {marks.dtype}")
        for m, b in np.argwhere(marks > 0):
            where = self.blocks[int(b)]
            null, reached = arrays["null"][m, where], arrays["reached"][m, b]
            cells = [] if self.cells is None else [arrays["cells"][m, where]]
            if marks[m, b] != mark_of(self._place(int(m), int(b)), null, reached, *cells):
                continue
            self._done[m, b] = True
            self.null[m, where] = null
            self.reached[m] += reached
            if self.cells is not None:
                self.cells[m, where] = cells[0]

    def _place(self, metric: int, block: int) -> list[Any]:
        """Identity of a mark, in addition to numbers."""
        return [FORMAT, self._scores, metric, block]

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
            written = {"null": (where, self.null[metric, where]), "reached": (block, reached.astype(np.int32))}
            if self.cells is not None:
                written["cells"] = (where, self.cells[metric, where])
            check_scores(self._path, self._scores)
            with writing(self._path):
                for name, (rows, values) in written.items():
                    self._group[name][metric, rows] = values  # type: ignore[index]
                mark = mark_of(self._place(metric, block), *(values for _, values in written.values()))
                self._group["done"][metric, block] = mark  # type: ignore[index]
        self._done[metric, block] = True
