"""Scores as labelled arrays with their origin, in memory and in Zarr."""

import json
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from zarr.codecs import Crc32cCodec

from .feature_store import StoreError
from .reduce import best_layers

SCHEMA = "prh-jax/alignment/1"


class Alignment:
    """Scores of all layers of one set of models with all layers of another, labelled, with how they were made.

    `dataset` is an xarray Dataset: one (layer_x, layer_y) matrix per metric, with coordinates `model_x`,
    `layer_name_x`, `depth_x` (position in its model) along layer_x, and the same for y. `protocol` tells the origin:
    metric settings, preprocessing, models, samples, precision and versions.
    """

    def __init__(self, dataset: xr.Dataset, protocol: dict[str, Any]):
        self.dataset, self.protocol = dataset, protocol

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics scored."""
        return [str(name) for name in self.dataset.data_vars]

    def layers(self, metric: str, model_x: str | None = None, model_y: str | None = None) -> xr.DataArray:
        """The layer-by-layer matrix of a metric, whole or for one model on either side."""
        if metric not in self.dataset:
            raise ValueError(f"This result has no metric {metric!r}; it has {', '.join(self.metrics)}.")
        scores = self.dataset[metric]
        for side, model in (("x", model_x), ("y", model_y)):
            if model is None:
                continue
            chosen = scores[f"model_{side}"].values == model
            if not chosen.any():
                models = ", ".join(dict.fromkeys(scores[f"model_{side}"].values))
                raise ValueError(f"Side {side} of this result has no model {model!r}; it has {models}.")
            scores = scores.isel({f"layer_{side}": np.flatnonzero(chosen)})
        return scores

    def best(self, metric: str) -> xr.Dataset:
        """The best layer pair of every model pair: `score` and where it lies (`layer_x`, `depth_x`, ...)."""
        larger = self.protocol["metrics"][metric]["larger_is_closer"] if metric in self.dataset else True
        return best_layers(self.layers(metric), larger_is_closer=larger)

    def scores(self, metric: str) -> xr.DataArray:
        """Alignment score of every model pair, a labelled model-by-model table: the best over layer pairs."""
        return self.best(metric)["score"].rename(metric)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write to a Zarr v3 group at `path`; whole or not at all."""
        path = Path(path)
        if path.exists() and not overwrite:
            raise StoreError(f"{path} already exists. Choose another path, or overwrite it with --force-remake.")
        building = path.parent / f".{path.name}.{uuid.uuid4().hex}.partial"
        dataset = self.dataset.assign_attrs(schema=SCHEMA, protocol=json.dumps(self.protocol))
        encoding = {name: {"compressors": [Crc32cCodec()]} for name in dataset.variables}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            dataset.to_zarr(building, zarr_format=3, consolidated=False, encoding=encoding)
            if path.exists():
                shutil.rmtree(path)
            os.rename(building, path)
        except OSError as error:
            shutil.rmtree(building, ignore_errors=True)
            raise StoreError(f"The result could not be written to {path}: {error.strerror or error}.") from error
        return path

    def save_npy(self, path: str | Path, metric: str) -> Path:
        """Write the reference's form: a pickled dict of `scores` (x, y) and `indices` (x, y, 2), the best layer pairs.

        As there, an index pair is (layer of y, layer of x), and among equal scores the first in that order is taken.
        """
        path = Path(path)
        best = best_layers(self.layers(metric).transpose("layer_y", "layer_x").rename(_SWAP))
        indices = np.stack([best["depth_x"].values.T, best["depth_y"].values.T], axis=-1).astype(float)
        path.parent.mkdir(parents=True, exist_ok=True)
        contents: Any = {"scores": best["score"].values.T.astype(float), "indices": indices}
        np.save(path, contents)
        return path

    def __repr__(self) -> str:
        x, y = (len(dict.fromkeys(self.dataset[f"model_{side}"].values)) for side in "xy")
        rows, columns = self.dataset.sizes["layer_x"], self.dataset.sizes["layer_y"]
        size = f"{x} x {y} models, {rows} x {columns} layers, n = {self.protocol['n']}"
        return f"Alignment of {size}: {', '.join(self.metrics)}"


_SWAP = {
    f"{name}_{a}": f"{name}_{b}"
    for name in ("layer", "model", "layer_name", "depth")
    for a, b in (("x", "y"), ("y", "x"))
}


def load_alignment(path: str | Path) -> Alignment:
    """Read what `Alignment.save` wrote; StoreError where there is none or it is damaged."""
    if not Path(path).is_dir():
        raise StoreError(f"There is no result at {path}. `prh align` makes one.")
    try:
        dataset = xr.open_zarr(path, consolidated=False).load()
    except Exception as error:  # xarray and zarr raise many kinds for a broken or foreign folder
        raise StoreError(f"{path} could not be read as a result: {error}") from error
    schema = dataset.attrs.pop("schema", None)
    if schema != SCHEMA:
        raise StoreError(f"{path} has schema {schema!r}, but this version of prh-jax reads {SCHEMA!r}.")
    protocol = json.loads(dataset.attrs.pop("protocol"))
    texts = {name: (c.dims, c.values.astype(object)) for name, c in dataset.coords.items() if c.dtype.kind == "T"}
    dataset = dataset.assign_coords(texts)
    return Alignment(dataset[list(protocol["metrics"])], protocol)
