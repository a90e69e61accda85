"""Retrieval of samples across two networks as labelled arrays: what `retrieval` returns."""

import dataclasses
from typing import Any

import numpy as np
import xarray as xr

from ..stores.shown import facts_html, facts_text, plain_name, some_names, table_html

DIRECTIONS = ("x_to_y", "y_to_x")


@dataclasses.dataclass(frozen=True, repr=False)
class RetrievalResult:
    """How often layers find a sample's partner in the layers of another network, as `retrieval` returns it.

    Parameters
    ----------
    dataset
        With dimensions (direction, layer_x, layer_y): `recall` (also k), `reciprocal_rank` (the mean) and
        `median_rank`, as means over splits. `recall_error` and `reciprocal_rank_error` are standard errors, NaN for one
        split. If there was a null, `p_recall` (also k) and `p` (of the mean reciprocal rank) are p-values, and `p_best`
        (direction) is that of the largest mean reciprocal rank, against the largest of all layer pairs under each
        permutation. `chance_recall` (direction, k) and `chance_reciprocal_rank` (direction) are chance in closed form.
        `ridge` is the geometric mean of the penalties of ridge regression. The directions are "x_to_y" (samples of x
        find theirs in y) and "y_to_x". Attributes are the models, the settings, `samples`, and `gallery` (the mean
        number of held-out samples).
    """

    dataset: xr.Dataset

    def best(self, direction: str | None = None) -> tuple[str, str]:
        """Return the names of the layers of x and y with the largest mean reciprocal rank.

        Parameters
        ----------
        direction
            "x_to_y" or "y_to_x". The mean of both if None.

        Returns
        -------
        tuple
            Name of the layer of x and of the layer of y.
        """
        i, j = self._best(direction)
        return str(self.dataset["layer_x"].values[i]), str(self.dataset["layer_y"].values[j])

    def at(self, layer_x: str | None = None, layer_y: str | None = None) -> xr.Dataset:
        """Return the values of one layer pair.

        Parameters
        ----------
        layer_x, layer_y
            Names of the layers. If either is None, it is that of the largest mean reciprocal rank of both directions.

        Returns
        -------
        Dataset
            `dataset` at these layers, with dimensions direction and k.

        Raises
        ------
        ValueError
            If there is no such layer.
        """
        best, chosen = self._best(None), {}
        for dim, given, place in (("layer_x", layer_x, best[0]), ("layer_y", layer_y, best[1])):
            names = [str(name) for name in self.dataset[dim].values]
            if given is not None and given not in names:
                raise ValueError(f"There is no layer {given!r} on side {dim[-1]}; the layers are {some_names(names)}.")
            chosen[dim] = place if given is None else names.index(given)
        return self.dataset.isel(chosen)

    def to_dataframe(self) -> Any:
        """Return a table with a row for each direction, layer pair and k."""
        names = ["direction", "layer_x", "layer_y", "k"]
        return self.dataset.to_dataframe(dim_order=names).reset_index()

    def __repr__(self) -> str:
        return facts_text(*self._facts())

    def _repr_html_(self) -> str:
        found, best = self.dataset, self.at()
        columns = [f"recall at {k}" for k in found["k"].values] + ["mean reciprocal rank"]
        rows = []
        for direction in DIRECTIONS:
            cell = best.sel(direction=direction)
            for name, chance in ((direction.replace("_", " "), ""), ("chance", "chance_")):
                shown = [*cell[f"{chance}recall"].values, cell[f"{chance}reciprocal_rank"].item()]
                rows.append((name, [f"{z:.3f}" for z in shown]))
        return facts_html(*self._facts(), table_html("best layer pair", columns, rows))

    def _best(self, direction: str | None) -> tuple[int, int]:
        if direction is not None and direction not in DIRECTIONS:
            raise ValueError(f"The directions are {' and '.join(map(repr, DIRECTIONS))}, got {direction!r}.")
        ranked = self.dataset["reciprocal_rank"]
        ranked = ranked.mean("direction") if direction is None else ranked.sel(direction=direction)
        i, j = np.unravel_index(ranked.values.argmax(), ranked.shape)
        return int(i), int(j)

    def _facts(self) -> tuple[str, list[tuple[str, str]]]:
        found, attrs, best = self.dataset, self.dataset.attrs, self.at()
        sizes = f"{found.sizes['layer_x']} x {found.sizes['layer_y']} layer pairs"
        title = f"Retrieval between {plain_name(attrs['x'])} and {plain_name(attrs['y'])}, {sizes}, map: {attrs['map']}"
        lines = [("gallery", f"{attrs['gallery']:g} of {attrs['samples']} samples, {attrs['splits']} splits")]
        lines.append(("best pair", some_names([best["layer_x"].item(), best["layer_y"].item()])))
        for direction in DIRECTIONS:
            cell = best.sel(direction=direction)
            told = [
                f"recall at {k} {value:.3f} (chance {chance:.3f})"
                for k, value, chance in zip(
                    found["k"].values, cell["recall"].values, cell["chance_recall"].values, strict=True
                )
            ]
            told.append(
                f"mean reciprocal rank {cell['reciprocal_rank'].item():.3f} "
                f"(chance {cell['chance_reciprocal_rank'].item():.3f})"
            )
            told += [f"p = {cell['p_best'].item():.2g} over all pairs"] if "p_best" in found else []
            lines.append((direction.replace("_", " "), ", ".join(told)))
        return title, lines
