"""The matrices of a running study, filled tile by tile, on disk as they grow."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..errors import CorruptError, ExistsError, IncompleteError, MismatchError
from ..stores.location import UNREADABLE, Place, open_group, writing
from ..stores.publish import put_lacking
from ..stores.runs import check_run, mark_of
from .alignment import Alignment
from .provenance import Provenance
from .storage import create_result, digest, result_builder


class ScoreGrid:
    """The matrices of a running study, filled tile by tile; with a path or URL, each is kept there once it is done.

    dataset   labels, and a matrix of NaN for each metric
    tile      layers a side of a tile, for each metric
    path      where the result grows; one that is there of the same study is resumed (its tiles are kept)
    """

    def __init__(
        self,
        dataset: xr.Dataset,
        provenance: Provenance,
        tile: dict[str, int],
        path: Place | None = None,
        *,
        overwrite: bool = False,
    ):
        self.dataset, self.provenance, self.tile = dataset, provenance, tile
        self._group, self._run = None, None
        if path is not None:
            if overwrite or not path.exists():
                try:
                    create_result(dataset, provenance, path, overwrite=overwrite, status="running", tile=tile)
                except ExistsError:
                    if overwrite:
                        raise  # else another worker was faster
            self._group = open_group(path, mode="r+")
            attributes: dict[str, Any] = dict(self._group.attrs)
            if not provenance.same_study(Provenance.of(json.loads(attributes["protocol"]))):
                raise MismatchError(
                    f"{path} holds a result made from other features or settings. Name another, or overwrite it with "
                    "--force-remake (overwrite=True)."
                )
            self.tile, self._run = attributes["tile"], attributes.get("run")
            tiles = [f"{name}/c/" for key in self.tile for name in (key, f"done/{key}")]
            put_lacking(result_builder(dataset, provenance, tile=self.tile), path, but=tiles)
        self.path = path
        self._values: dict[str, np.ndarray] = {}
        self._done: dict[str, np.ndarray] = {}
        for key, size in self.tile.items():
            shape = dataset[key].shape
            self._values[key] = np.full(shape, np.nan, np.float32)
            self._done[key] = np.zeros(tuple(-(-length // size) for length in shape), bool)
        self.reload()

    def reload(self) -> None:
        """Take in what other workers have written."""
        for key in self.tile if self._group is not None else ():
            marks = self._read(f"done/{key}")  # marks first: what they mark is there
            values = self._values[key] = self._read(key)
            self._done[key] = marks > 0
            if marks.dtype != np.uint8:  # by earlier versions
                for row, column in np.argwhere(marks > 0).tolist():
                    tile = values[self._where(key, row, column)]
                    self._done[key][row, column] = marks[row, column] == mark_of([self._run, key, row, column], tile)

    @property
    def total(self) -> int:
        """Number of tiles of all metrics."""
        return sum(done.size for done in self._done.values())

    @property
    def finished(self) -> int:
        """Number of tiles that are done."""
        return sum(int(done.sum()) for done in self._done.values())

    def complete(self, key: str) -> bool:
        """Whether all tiles of a metric are done."""
        return bool(self._done[key].all())

    def done(self, key: str, x: int, y: int) -> bool:
        """Whether a tile is done."""
        return bool(self._done[key][x, y])

    def put(self, key: str, x: int, y: int, values: np.ndarray, *, mirror: bool = False) -> int:
        """Keep the scores of a tile, cut to the matrix; `mirror` keeps them across the diagonal too. Tiles now done."""
        placed = [(x, y, values), (y, x, values.T)] if mirror and x != y else [(x, y, values)]
        for row, column, scores in placed:
            where = self._where(key, row, column)
            inside = self._values[key][where]
            inside[...] = scores[: inside.shape[0], : inside.shape[1]]
            if mirror and row == column:
                lower = np.tril_indices(len(inside), -1)
                inside[lower] = inside.T[lower]
            if self._group is not None and self.path is not None:
                check_run(self.path, self._run)
                with writing(self.path):
                    self._group[key][where] = inside  # type: ignore[index]
                    marks: Any = self._group[f"done/{key}"]
                    mark = mark_of([self._run, key, row, column], inside)
                    marks[row, column] = 1 if marks.dtype == np.uint8 else mark
            self._done[key][row, column] = True
        return len(placed)

    def finish(self) -> Alignment:
        """The result, once every tile is done; the marks of tiles stay, as workers may still look at them."""
        if self.finished < self.total:
            raise IncompleteError(f"{self.total - self.finished} of {self.total} tiles are not scored yet.")
        matrices = {key: (("layer_x", "layer_y"), values) for key, values in self._values.items()}
        dataset = self.dataset.assign(matrices)
        if self._group is not None and self.path is not None:
            check_run(self.path, self._run)
            with writing(self.path):
                if isinstance(self.path, Path):
                    for leftover in self.path.rglob("*.partial"):  # of writes that were killed
                        leftover.unlink(missing_ok=True)
                self._group.attrs.update({"status": "complete", "sha256": digest(dataset)})
        return Alignment(dataset, self.provenance)

    def _where(self, key: str, x: int, y: int) -> Any:
        """Where a tile is in the matrix of a metric."""
        size = self.tile[key]
        return np.s_[x * size : (x + 1) * size, y * size : (y + 1) * size]

    def _read(self, name: str) -> np.ndarray:
        try:
            found = np.asarray(self._group[name][...])  # type: ignore[index]
            if found.dtype not in ((np.uint8, np.uint32) if name.startswith("done/") else (np.float32,)):
                raise TypeError(f"it holds {found.dtype}")
            return found
        except UNREADABLE as error:
            raise CorruptError(
                f"{self.path} is damaged: {name} cannot be read ({error}). Overwrite it with --force-remake."
            ) from error
