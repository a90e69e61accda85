"""Scores as labelled arrays with their origin, in memory and in Zarr."""

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..errors import CorruptError, IncompleteError, MismatchError, NotFoundError
from ..stores.location import Place, local_file, place, store_at
from ..stores.publish import write_whole
from ..stores.target import file_target
from ..stores.url import Url
from .calibration import Calibration, calibration_builder, load_calibration
from .frames import join_rows, layer_rows, model_rows
from .pairs import ModelPairs, mirrored, model_pairs
from .provenance import Provenance
from .reduce import How, best_layers, model_blocks, reduce_layers
from .storage import SCHEMA, create_result, digest, form_digest, text_digest
from .tables import latex_table, markdown_table


class Alignment:
    """Scores of all layers of one set of models with all layers of another, labelled, with how they were made.

    `dataset` is an xarray Dataset: one (layer_x, layer_y) matrix per metric, with coordinates `model_x`,
    `layer_name_x`, `depth_x` (position in its model) along layer_x, and the same for y. `provenance` tells the origin:
    metric settings, preprocessing, models, samples, precision and versions. `calibration` is what chance gives, where
    it was asked for.

    Where both sides hold a model, its pair with itself is in the matrices, but is no evidence: `self_pairs` marks it,
    and trends, rates, curves, figures and printed tables leave it out. Two models in both orders are one pair where the
    metric is symmetric: `counted_pairs` are the pairs that count.
    """

    def __init__(
        self,
        dataset: xr.Dataset,
        protocol: Provenance | Mapping[str, Any],
        calibration: Calibration | None = None,
    ):
        self.dataset, self.provenance, self.calibration = dataset, Provenance.of(protocol), calibration

    @property
    def protocol(self) -> dict[str, Any]:
        """The provenance as plain values: what JSON can hold."""
        return self.provenance.to_dict()

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics scored."""
        return [str(name) for name in self.dataset.data_vars]

    @property
    def models_x(self) -> list[str]:
        """Labels of the models of side x, in order."""
        return list(dict.fromkeys(map(str, self.dataset["model_x"].values)))

    @property
    def models_y(self) -> list[str]:
        """Labels of the models of side y, in order."""
        return list(dict.fromkeys(map(str, self.dataset["model_y"].values)))

    def layers(
        self, metric: str, model_x: str | None = None, model_y: str | None = None, *, with_self: bool = True
    ) -> xr.DataArray:
        """The layer-by-layer matrix of a metric, whole or for one model on either side.

        `with_self=False` puts NaN where a layer of a model stands with itself.
        """
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
        return scores if with_self else scores.where(~self._own_layers(scores))

    def best(self, metric: str, *, with_self: bool = True) -> xr.Dataset:
        """The best layer pair of every model pair: `score` and where it lies (`layer_x`, `depth_x`, ...).

        The best of a model with itself is a layer with itself; `with_self=False` passes over those, and is the best of
        two different layers.
        """
        larger = self.provenance.larger_is_closer(metric) if metric in self.dataset else True
        return self._marked(best_layers(self.layers(metric, with_self=with_self), larger_is_closer=larger))

    def scores(self, metric: str) -> xr.DataArray:
        """Alignment score of every model pair, a labelled model-by-model table: the best over layer pairs.

        The coordinate `self_pair` marks what is no evidence: a model with itself.
        """
        return self.best(metric)["score"].rename(metric)

    @property
    def self_pairs(self) -> xr.DataArray:
        """Model pairs (model_x, model_y) of one model with itself: the features of both have the same hash."""
        return self._table(self.model_pairs().own)

    def counted_pairs(self, metric: str) -> xr.DataArray:
        """Model pairs (model_x, model_y) that count: none of one model with itself, and two models in both orders once.

        Where a metric is not symmetric, both orders count: they are two scores.
        """
        return self._table(self.model_pairs(metric).counted(symmetric=self.is_symmetric(metric)))

    def model_pairs(self, metric: str | None = None) -> ModelPairs:
        """What each model pair is: one model with itself, or two models that another pair has, too.

        With a metric, a pair that has a score by it goes before one that has none.
        """
        models_x, models_y = (list(model_blocks(self.dataset[f"model_{side}"].values)) for side in "xy")
        scored = None
        if metric is not None:
            known = np.isfinite(self.layers(metric).transpose("layer_x", "layer_y").values)
            columns = self._blocks("y")
            scored = np.array([[known[rows, c].any() for c in columns] for rows in self._blocks("x")])
        return model_pairs(self.provenance, models_x, models_y, scored)

    def is_symmetric(self, metric: str) -> bool:
        """Whether both orders of two layers have one score by this metric; from the scores if it is not recorded."""
        recorded = self.provenance.metrics[metric].symmetric
        if recorded is not None:
            return recorded
        scores = self.layers(metric).transpose("layer_x", "layer_y")
        return mirrored(scores.values, scores["model_x"].values, scores["model_y"].values, self.model_pairs())

    def _blocks(self, side: str) -> list[slice]:
        return list(model_blocks(self.dataset[f"model_{side}"].values).values())

    def own_blocks(self, scores: xr.DataArray) -> np.ndarray:
        """Where both layers are of one model, in a matrix (layer_x, layer_y) that `layers` gives."""
        own = self.self_pairs.sel({f"model_{side}": scores[f"model_{side}"] for side in "xy"})
        return own.transpose(*scores.dims).values

    def _own_layers(self, scores: xr.DataArray) -> np.ndarray:
        """Where a layer stands with itself, in the same."""
        along = (scores[f"depth_{str(dim)[-1]}"].values for dim in scores.dims)
        return self.own_blocks(scores) & np.equal.outer(*along)

    def _table(self, values: np.ndarray) -> xr.DataArray:
        models = {f"model_{side}": list(model_blocks(self.dataset[f"model_{side}"].values)) for side in "xy"}
        return xr.DataArray(values, dims=("model_x", "model_y"), coords=models)

    def _marked(self, table: Any) -> Any:
        """A table of model pairs that marks those of one model with itself."""
        return table.assign_coords(self_pair=(("model_x", "model_y"), self.model_pairs().own))

    def reduce(self, metric: str, how: How = "best") -> xr.DataArray:
        """One number for every model pair, labelled.

        how  "best": the best layer pair; "mean": the mean of all; "same_depth": the mean over layers of x, each with
             the layer of y at the nearest relative depth; or a function of the scores (layers of x, layers of y)

        The coordinate `self_pair` marks a model with itself.
        """
        scores = self.layers(metric)
        larger = self.provenance.larger_is_closer(metric)
        return self._marked(reduce_layers(scores, how, larger_is_closer=larger)).rename(metric)

    def calibrated_pairs(self, metric: str) -> xr.Dataset:
        """The model-by-model tables of the calibration of a metric; `self_pair` marks a model with itself.

        ValueError where the result has no calibration.
        """
        if self.calibration is None:
            raise ValueError("This result has no calibration: make one with `prh calibrate` (prh_jax.calibrate).")
        return self._marked(self.calibration.pairs(metric))

    def to_dataframe(self, metric: str | None = None, *, per: str = "layer", how: How = "best") -> Any:
        """All scores in one long pandas table, each with what it was made with; all metrics if None.

        A row per layer pair, or per model pair reduced by `how`. With a calibration, tau, p, q_bh, q_by and calibrated
        are those of the model pair (of its aggregate, `null_aggregate`), in both forms; p_cell, mean_cell ... are of
        the layer pair.
        """
        if per not in ("layer", "model"):
            raise ValueError(f"A row is per 'layer' or per 'model', got {per!r}.")
        names = self.metrics if metric is None else [str(self.layers(metric).name)]
        frames = []
        for name in names:
            marks = {"self_pair": self.self_pairs.values, "counted": self.counted_pairs(name).values}
            parts = self.dataset, self.provenance, self.calibration, marks, name
            frames.append(layer_rows(*parts) if per == "layer" else model_rows(*parts, how))
        return join_rows(frames)

    def to_markdown(self, metric: str, how: How = "best", *, digits: int = 4) -> str:
        """The model-by-model table in Markdown; names are shown as text, and a model with itself as "self"."""
        return markdown_table(self.reduce(metric, how), digits=digits, corner=metric)

    def to_latex(self, metric: str, how: How = "best", *, digits: int = 4) -> str:
        """The model-by-model table as a LaTeX tabular (booktabs; graphicx where there are many columns)."""
        return latex_table(self.reduce(metric, how), digits=digits, corner=metric)

    def save(self, path: str | Path | Url, *, overwrite: bool = False) -> Place:
        """Write to a Zarr v3 group at a path or URL; whole or not at all.

        At a URL a result that is overwritten is removed first, object by object: for some moments there is neither.
        """
        chance = [calibration_builder(self.calibration, digest(self.dataset))] if self.calibration is not None else []
        return create_result(self.dataset, self.provenance, place(path), overwrite=overwrite, parts=chance)

    def save_npy(self, path: str | Path, metric: str) -> Path:
        """Write the reference's form: a pickled dict of `scores` (x, y) and `indices` (x, y, 2), the best layer pairs.

        As there, an index pair is (layer of y, layer of x), and among equal scores the first in that order is taken.
        """
        path = local_file(path)
        path = path if path.suffix == ".npy" else path.with_name(f"{path.name}.npy")
        best = best_layers(self.layers(metric).transpose("layer_y", "layer_x").rename(_SWAP))
        indices = np.stack([best["depth_x"].values.T, best["depth_y"].values.T], axis=-1).astype(float)
        contents: Any = {"scores": best["score"].values.T.astype(float), "indices": indices}
        with write_whole(file_target(path, overwrite=True), replace=True) as building, building.open("wb") as file:
            np.save(file, contents)
        return path

    def extend(self, stores_x: Any = None, stores_y: Any = None, metrics: Any = None, **options: Any) -> "Alignment":
        """A result with more models or metrics, of which only what this one lacks is scored: `prh_jax.extend`."""
        # by name, as scoring lies above results
        return importlib.import_module("prh_jax.study.extend").extend(self, stores_x, stores_y, metrics, **options)

    def __repr__(self) -> str:
        x, y = (len(dict.fromkeys(self.dataset[f"model_{side}"].values)) for side in "xy")
        rows, columns = self.dataset.sizes["layer_x"], self.dataset.sizes["layer_y"]
        size = f"{x} x {y} models, {rows} x {columns} layers, n = {self.provenance.n}"
        return f"Alignment of {size}: {', '.join(self.metrics)}"


_SWAP = {
    f"{name}_{a}": f"{name}_{b}"
    for name in ("layer", "model", "layer_name", "depth")
    for a, b in (("x", "y"), ("y", "x"))
}


def load_alignment(path: str | Path | Url, *, calibration: bool = True) -> Alignment:
    """Read what `Alignment.save` or `align` wrote, at a path or URL; StoreError where there is none or it is damaged.

    `calibration=False` leaves the calibration aside, whatever state it is in.
    """
    where = place(path)
    if not (where.is_dir() if isinstance(where, Path) else (where / "zarr.json").exists()):
        what = "is a file, not a result" if isinstance(where, Path) else "holds something, but no result"
        raise NotFoundError(f"{path} {what if where.exists() else 'does not exist'}. `prh align` makes results.")
    try:
        dataset = xr.open_zarr(store_at(where), consolidated=False).load()
    except Exception as error:  # xarray and zarr raise many kinds for a broken or foreign folder
        raise CorruptError(f"{path} could not be read as a result: {error}") from error
    schema = dataset.attrs.pop("schema", None)
    if schema != SCHEMA:
        raise MismatchError(f"{path} has schema {schema!r}, but this version of prh-jax reads {SCHEMA!r}.")
    for name in ("tile", "run"):
        dataset.attrs.pop(name, None)
    if dataset.attrs.pop("status", None) != "complete":
        raise IncompleteError(f"{path} is unfinished. Run the same `prh align` again; it goes on where it stopped.")
    damaged = f"{path} is damaged: {{}}. Make it again with --force-remake (overwrite=True)."
    try:
        text, recorded = dataset.attrs.pop("protocol"), dataset.attrs.pop("sha256")
        provenance, described = Provenance.of(json.loads(text)), dataset.attrs.pop("protocol_sha256", None)
        names, form = list(provenance.metrics), dataset.attrs.pop("form_sha256", None)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CorruptError(damaged.format(f"its attributes cannot be used ({error!r})")) from error
    if described not in (None, text_digest(text)):
        raise CorruptError(damaged.format("its record of what was scored, and how, does not match its hash"))
    if digest(dataset) != recorded or form not in (None, form_digest(dataset)):
        raise CorruptError(damaged.format("its scores and labels do not match their recorded hash"))
    texts = {name: (c.dims, c.values.astype(object)) for name, c in dataset.coords.items() if c.dtype.kind == "T"}
    dataset = dataset.assign_coords(texts)
    return Alignment(dataset[names], provenance, load_calibration(where, recorded) if calibration else None)
