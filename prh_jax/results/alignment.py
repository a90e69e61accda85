"""Scores as labelled arrays with their origin, in memory and in Zarr."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..stores.location import Place, local_file, place
from ..stores.publish import write_whole
from ..stores.target import file_target
from ..stores.url import Url
from .assigned import assign_values
from .calibration import Calibration, calibration_builder, load_calibration
from .controls import choose_side, control_table, controls_of
from .frames import join_rows, layer_rows, model_rows
from .notebook import alignment_html, alignment_text
from .pairs import ModelPairs, mirrored, model_pairs
from .provenance import ModelRecord, Provenance
from .reduce import How, best_layers, model_blocks, reduce_layers
from .selection import (
    Models,
    cut_calibration,
    cut_dataset,
    cut_provenance,
    find_models,
    layer_places,
    match_records,
    near_names,
    side_records,
    with_rates,
)
from .storage import create_result, digest, read_result
from .tables import latex_table, markdown_table


class Alignment:
    """Scores of all layers of one set of models with all layers of another, with labels and their origin.

    If both sides hold a model, its pair with itself is in the matrices but is no evidence. `self_pairs` marks it, and
    trends, rates, curves, figures and printed tables leave it out. Two models in both orders are one pair if the metric
    is symmetric. `counted_pairs` are the pairs that count.

    Parameters
    ----------
    dataset
        One (layer_x, layer_y) matrix per metric, with coordinates `model_x`, `layer_name_x`, `depth_x` (position in its
        model) along layer_x, and the same for y.
    protocol
        Origin, as plain values: settings of metrics, preprocessing, models, samples, precision and versions.
        `provenance` has it as an object.
    calibration
        Null distribution and p-values, or None.
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
        self, metric: str, model_x: Models = None, model_y: Models = None, *, with_self: bool = True
    ) -> xr.DataArray:
        """Return the layer-by-layer matrix of a metric, of all models or of chosen models of either side.

        Parameters
        ----------
        metric
            One of the result's metrics.
        model_x, model_y
            One model by label ("vit-b") or place (0, -1), a list of several, a slice of places, recorded values
            ({"family": "dino"}), or a test of the models' records; all if None.
        with_self
            False puts NaN for layers of one model with each other on both sides.
        """
        if metric not in self.dataset:
            raise ValueError(f"This result has no metric {metric!r}; {near_names(metric, self.metrics)}.")
        scores = self.dataset[metric]
        for side, models in (("x", model_x), ("y", model_y)):
            if models is not None:
                chosen = layer_places(scores[f"model_{side}"].values, self._places(side, models))
                scores = scores.isel({f"layer_{side}": chosen})
        return scores if with_self else scores.where(~self._own_layers(scores))

    def best(
        self, metric: str, model_x: Models = None, model_y: Models = None, *, with_self: bool = True
    ) -> xr.Dataset:
        """Return the best layer pair of every model pair: `score` and its place (`layer_x`, `depth_x`, ...).

        Models are chosen as in `layers`. The best pair of a model with itself is a layer with itself; `with_self=False`
        excludes those pairs, and gives the best of two different layers.
        """
        scores = self.layers(metric, model_x, model_y, with_self=with_self)
        return self._marked(best_layers(scores, larger_is_closer=self.provenance.larger_is_closer(metric)))

    def scores(self, metric: str, model_x: Models = None, model_y: Models = None) -> xr.DataArray:
        """Return the alignment score of every model pair, the best over layer pairs, as a labelled table.

        Models are chosen as in `layers`. The coordinate `self_pair` marks a model with itself, which is no evidence.
        """
        return self.best(metric, model_x, model_y)["score"].rename(metric)

    def sel(
        self,
        *,
        model_x: Models = None,
        model_y: Models = None,
        metric: str | Sequence[str] | None = None,
        **recorded: Any,
    ) -> "Alignment":
        """Select models and metrics, and return their result, which every figure, table and report takes.

        q-values are computed over the model pairs that are left, and the provenance is that of the chosen models.
        Calibrate first: `calibrate` refuses a saved choice whose models, alone, `align` would label otherwise.

        Parameters
        ----------
        model_x, model_y
            Models of one side, as in `layers`, in the order in which you name them; all if None.
        metric
            One metric or several; all if None.
        **recorded
            Values that extraction recorded of the models or `assign` gave them: a value, a list of values, or a test of
            the value, as in `sel(family="dino", params=lambda count: count < 1e9)`. A name that ends in _x or _y
            chooses on that side alone. A side stays whole if none of its models has the value.

        Raises
        ------
        ValueError
            If a model or metric does not exist, or no model is left.
        """
        metrics = self.metrics if metric is None else [metric] if isinstance(metric, str) else list(metric)
        metrics = [str(self.layers(name).name) for name in dict.fromkeys(metrics)]
        if not metrics:
            raise ValueError(f"No metric is chosen; this result has {', '.join(self.metrics)}.")
        sides = {side: self._records(side) for side in "xy"}
        fitting = match_records(sides, recorded)
        places = {}
        for side, models in (("x", model_x), ("y", model_y)):
            places[side] = [place for place in find_models(sides[side], models, side) if place in fitting[side]]
            if not places[side]:
                raise ValueError(f"No model of side {side} is left: those of {models!r} do not have {recorded!r}.")
        labels = {side: [sides[side][place].label for place in chosen] for side, chosen in places.items()}
        cut = Alignment(cut_dataset(self.dataset[metrics], places), cut_provenance(self.provenance, metrics, labels))
        if self.calibration is not None:
            cut.calibration = cut_calibration(self.calibration, metrics, places, self.dataset)
            if any(len(places[side]) < len(sides[side]) for side in "xy"):
                compared = {name: (cut.model_pairs(name), cut.is_symmetric(name)) for name in metrics}
                cut.calibration = with_rates(cut.calibration, compared)
        return cut

    def assign(self, **values: Any) -> "Alignment":
        """Return this result with numbers and texts for its models: `assign(params=..., family=...)`.

        Figures, trends, reports, data frames (`params_x`, `params_y`) and `sel` find them by name. They are saved with
        the result. Scores and calibration are shared with this one, not copied.

        Parameters
        ----------
        **values
            By name: values by label of the model (a mapping, a Series), a list in the order of the models, a function
            of a model's record, or one value for all. A model whose value is None, NaN or missing has none.
            A name that ends in _x or _y is for the models of that side alone. A new value replaces an earlier one.

        Raises
        ------
        ValueError
            If a value is for no model, or is neither a finite number nor a text.
        """
        return Alignment(self.dataset, assign_values(self.provenance, values), self.calibration)

    def _records(self, side: str) -> list[ModelRecord]:
        return side_records(self.provenance, self.models_x if side == "x" else self.models_y, side)

    def _places(self, side: str, models: Models) -> list[int]:
        return find_models(self._records(side), models, side)

    @property
    def self_pairs(self) -> xr.DataArray:
        """Model pairs (model_x, model_y) of one model with itself: the features of both have the same hash."""
        return self._table(self.model_pairs().own)

    def counted_pairs(self, metric: str) -> xr.DataArray:
        """Return which model pairs (model_x, model_y) count: no model with itself, none twice if symmetric."""
        return self._table(self.model_pairs(metric).counted(symmetric=self.is_symmetric(metric)))

    def model_pairs(self, metric: str | None = None) -> ModelPairs:
        """Return what each model pair is: a model with itself, or one that occurs in both orders.

        With a metric, a pair that has a score by it comes before one that has none.
        """
        models_x, models_y = (list(model_blocks(self.dataset[f"model_{side}"].values)) for side in "xy")
        scored = None
        if metric is not None:
            known = np.isfinite(self.layers(metric).transpose("layer_x", "layer_y").values)
            columns = self._blocks("y")
            scored = np.array([[known[rows, c].any() for c in columns] for rows in self._blocks("x")])
        return model_pairs(self.provenance, models_x, models_y, scored)

    def is_symmetric(self, metric: str) -> bool:
        """Return whether both orders of two layers have the same score; from the scores if it is not recorded."""
        recorded = self.provenance.metrics[metric].symmetric
        if recorded is not None:
            return recorded
        scores = self.layers(metric).transpose("layer_x", "layer_y")
        return mirrored(scores.values, scores["model_x"].values, scores["model_y"].values, self.model_pairs())

    def _blocks(self, side: str) -> list[slice]:
        return list(model_blocks(self.dataset[f"model_{side}"].values).values())

    def own_blocks(self, scores: xr.DataArray) -> np.ndarray:
        """Return where both layers are of one model, in a matrix (layer_x, layer_y) of `layers`."""
        own = self.self_pairs.sel({f"model_{side}": scores[f"model_{side}"] for side in "xy"})
        return own.transpose(*scores.dims).values

    def _own_layers(self, scores: xr.DataArray) -> np.ndarray:
        """Where a layer is with itself, in the same."""
        along = (scores[f"depth_{str(dim)[-1]}"].values for dim in scores.dims)
        return self.own_blocks(scores) & np.equal.outer(*along)

    def _table(self, values: np.ndarray) -> xr.DataArray:
        models = {f"model_{side}": list(model_blocks(self.dataset[f"model_{side}"].values)) for side in "xy"}
        return xr.DataArray(values, dims=("model_x", "model_y"), coords=models)

    def _marked(self, table: Any) -> Any:
        """A table of model pairs that marks those of one model with itself."""
        own = self.self_pairs.sel(model_x=table["model_x"].values, model_y=table["model_y"].values).values
        return table.assign_coords(self_pair=(("model_x", "model_y"), own))

    def reduce(self, metric: str, how: How = "best", *, model_x: Models = None, model_y: Models = None) -> xr.DataArray:
        """Return one number for every model pair, as a labelled table.

        Parameters
        ----------
        metric, model_x, model_y
            As in `layers`. The coordinate `self_pair` marks a model with itself.
        how
            "best" layer pair, "mean" of all, "same_depth": mean over layers of x, each with the layer of y at the
            nearest relative depth. "assignment", "dtw", "transport" as `Null` has them. Or a function of the scores.
        """
        scores = self.layers(metric, model_x, model_y)
        larger = self.provenance.larger_is_closer(metric)
        return self._marked(reduce_layers(scores, how, larger_is_closer=larger)).rename(metric)

    def controls(self, side: str) -> dict[str, list[str]]:
        """Return the controls (the same networks with random weights) of the models of a side ("x" or "y"), by label.

        `prh extract --control random-init` makes them.
        """
        return controls_of(self._records(side))

    def above_control(self, metric: str, how: How = "best", *, side: str | None = None) -> xr.Dataset:
        """Compare the scores of trained models with those of the same networks with random weights.

        Parameters
        ----------
        metric, how
            As in `reduce`.
        side
            The side whose models are compared, with controls left out of the other. If None, the side that has
            controls; y if both have.

        Returns
        -------
        Dataset
            `trained`, `control` (the mean over the seeds of a model's controls) and `difference`, trained minus
            control, with dimensions (model_x, model_y). A distance has a negative difference if training brings models
            closer.

        Raises
        ------
        ValueError
            If no model has its control in this result.
        """
        controls = {name: self.controls(name) for name in "xy"}
        return control_table(self.reduce(metric, how), controls, choose_side(controls, side))

    def calibrated_pairs(self, metric: str, model_x: Models = None, model_y: Models = None) -> xr.Dataset:
        """Return the model-by-model tables of the calibration of a metric; ValueError if there is no calibration.

        Models are chosen as in `layers`, and q-values are those over all pairs of the result: `sel` computes new ones.
        """
        if self.calibration is None:
            raise ValueError("This result has no calibration: make one with `prh calibrate` (prh_jax.calibrate).")
        chosen = {f"model_{side}": self._places(side, models) for side, models in (("x", model_x), ("y", model_y))}
        return self._marked(self.calibration.pairs(metric).isel(chosen))

    def to_dataframe(self, metric: str | None = None, *, per: str = "layer", how: How = "best") -> Any:
        """Return all scores as one long pandas table, a row per layer pair, or per model pair reduced by `how`.

        With a calibration, tau, p, q_bh, q_by and calibrated are those of the model pair (of its aggregate,
        `null_aggregate`), in both forms; p_cell, mean_cell ... are of the layer pair. All metrics if None.
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
        """Format the model-by-model table in Markdown; a model with itself is "self"."""
        return markdown_table(self.reduce(metric, how), digits=digits, corner=metric)

    def to_latex(self, metric: str, how: How = "best", *, digits: int = 4) -> str:
        """Format the model-by-model table as a LaTeX tabular (booktabs; graphicx for many columns)."""
        return latex_table(self.reduce(metric, how), digits=digits, corner=metric)

    def save(self, path: str | Path | Url, *, overwrite: bool = False) -> Place:
        """Write the result to a Zarr v3 group at a path or URL, whole or not at all.

        At a URL, overwriting removes the old result first, object by object, so that for some moments there is neither.
        """
        chance = [calibration_builder(self.calibration, digest(self.dataset))] if self.calibration is not None else []
        return create_result(self.dataset, self.provenance, place(path), overwrite=overwrite, parts=chance)

    def save_npy(self, path: str | Path, metric: str) -> Path:
        """Write the reference's form: a pickled dict of `scores` (x, y) and `indices` (x, y, 2), the best layer pairs.

        As in the reference, an index pair is (layer of y, layer of x); among equal scores the first in that order wins.
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
        """Extend the result by models or metrics, and score only what it lacks, as `prh_jax.extend` does."""
        # by name, as scoring lies above results
        return importlib.import_module("prh_jax.study.extend").extend(self, stores_x, stores_y, metrics, **options)

    def __repr__(self) -> str:
        return alignment_text(self)

    def _repr_html_(self) -> str:
        return alignment_html(self)


_SWAP = {
    f"{name}_{a}": f"{name}_{b}"
    for name in ("layer", "model", "layer_name", "depth")
    for a, b in (("x", "y"), ("y", "x"))
}


def load_alignment(path: str | Path | Url, *, calibration: bool = True) -> Alignment:
    """Load a result that `Alignment.save` or `align` wrote.

    Parameters
    ----------
    path
        Path or URL of the result.
    calibration
        False ignores the calibration, whatever state it is in.

    Returns
    -------
    Alignment
        The result.

    Raises
    ------
    StoreError
        If there is no result, or it is damaged.
    """
    where = place(path)
    dataset, provenance, recorded = read_result(where)
    return Alignment(dataset, provenance, load_calibration(where, recorded) if calibration else None)
