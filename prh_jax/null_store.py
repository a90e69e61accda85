"""A calibration beside the scores it belongs to: labelled arrays and settings, in memory and in the result's group."""

import hashlib
import json
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import Crc32cCodec

from .errors import StoreError
from .stores.location import Place, open_group, remove, store_at, writing

SCHEMA = "prh-jax/calibration/1"
FINAL, GROWING = "calibration", "calibration_growing"

PAIR_TABLES = ("score", "tau", "p", "q_bh", "q_by", "calibrated", "orders_used")
"""Of every model pair; the rest of a calibration is of every layer pair, and the null itself."""


class Calibration:
    """What chance gives for every score of a result, and what the scores are worth beside it.

    `dataset` has a `metric` dimension and, for each model pair, `score` (the aggregate over layers), `tau` (critical
    score), `p`, `q_bh`, `q_by` (over all model pairs of the metric), `calibrated`, `orders_used`, and `null` (with a
    dimension `order`); for each layer pair `p_cell`, and where the closed form exists the exact `mean_cell`, `sd_cell`,
    `z_cell`, and `tail_cell`, an approximate tail probability (Pearson type III). `settings` tell how.
    """

    def __init__(self, dataset: xr.Dataset, settings: dict[str, Any]):
        self.dataset, self.settings = dataset, settings

    def pairs(self, metric: str) -> xr.Dataset:
        """The model-by-model tables of a metric."""
        return self._of(metric)[list(PAIR_TABLES)]

    def cells(self, metric: str) -> xr.Dataset:
        """The layer-by-layer matrices of a metric."""
        chosen = self._of(metric)
        return chosen[[name for name in chosen.data_vars if str(name).endswith("_cell")]]

    def null(self, metric: str) -> xr.DataArray:
        """The aggregate of every model pair under each order: (order, model_x, model_y)."""
        return self._of(metric)["null"]

    def _of(self, metric: str) -> xr.Dataset:
        known = [str(name) for name in self.dataset["metric"].values]
        if metric not in known:
            raise ValueError(f"This calibration has no metric {metric!r}; it has {', '.join(known)}.")
        return self.dataset.sel(metric=metric, drop=True)

    def __repr__(self) -> str:
        kind = "all orders" if self.settings["exact"] else f"{self.dataset.sizes['order']} orders"
        return f"Calibration of {', '.join(map(str, self.dataset['metric'].values))}: {kind}, {self.settings['null']}"


def digest(dataset: xr.Dataset, settings: dict[str, Any]) -> str:
    """SHA-256 of all numbers and settings."""
    found = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name in sorted(map(str, dataset.variables)):
        values = dataset[name].values
        plain = values.dtype.kind in "fiu"
        found.update(name.encode() + (values.tobytes() if plain else json.dumps([str(v) for v in values]).encode()))
    return found.hexdigest()


def save_calibration(calibration: Calibration, path: Place) -> None:
    """Write into the result at `path`; a calibration that was there is replaced, and an unfinished one removed."""
    dataset, settings = calibration.dataset, calibration.settings
    attributes = {"schema": SCHEMA, "settings": json.dumps(settings), "sha256": digest(dataset, settings)}
    encoding: dict[Any, dict[str, Any]] = {name: {"compressors": [Crc32cCodec()]} for name in dataset.variables}
    with writing(path):
        remove(path / FINAL)
        with warnings.catch_warnings():  # Zarr v3 has no final word on variable-length text yet
            warnings.simplefilter("ignore")
            dataset.assign_attrs(attributes).to_zarr(
                store_at(path, writable=True),
                group=FINAL,
                mode="w",
                zarr_format=3,
                consolidated=False,
                encoding=encoding,
            )
        remove(path / GROWING)


def load_calibration(path: Place) -> Calibration | None:
    """The calibration in the result at `path`; None where there is none, StoreError where it is damaged."""
    if not (path / FINAL).exists():
        return None
    remedy = "Make it again: `prh calibrate --force-null`."
    try:
        dataset = xr.open_zarr(store_at(path), group=FINAL, consolidated=False).load()
        schema, settings, recorded = (dataset.attrs.pop(name) for name in ("schema", "settings", "sha256"))
        settings = json.loads(settings)
    except Exception as error:  # xarray and zarr raise many kinds for a broken or foreign folder
        raise StoreError(f"The calibration in {path} is damaged ({error!r}). {remedy}") from error
    if schema != SCHEMA:
        raise StoreError(f"The calibration in {path} has schema {schema!r}; this version reads {SCHEMA!r}. {remedy}")
    if digest(dataset, settings) != recorded:
        raise StoreError(f"The calibration in {path} is damaged: its numbers do not match their hash. {remedy}")
    texts = {name: (c.dims, c.values.astype(object)) for name, c in dataset.coords.items() if c.dtype.kind == "T"}
    return Calibration(dataset.assign_coords(texts), settings)


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
