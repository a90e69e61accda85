"""Dimensions of layers as labelled arrays: what `describe` returns."""

import dataclasses
from typing import Any

import numpy as np
import xarray as xr

from ..stores.shown import MOST, facts_html, facts_text, some_names, table_html

WORDS = {
    "two_nn": "TwoNN dimension",
    "maximum_likelihood": "maximum likelihood dimension",
    "participation_ratio": "participation ratio",
    "effective_rank": "effective rank",
}
"""Names of estimators in figures and tables."""


@dataclasses.dataclass(frozen=True)
class Description:
    """Dimensions of every layer of some models, with standard errors.

    Parameters
    ----------
    dataset
        `value` and `standard_error` (layer, estimator). Coordinates along layer are `model`, `layer_name`, `depth`
        (position in its model), `relative_depth` (0 to 1), `width`, `n` (number of samples) and, with estimators of
        nearest neighbours, `distinct` (number of different samples). Attributes are the settings.
    """

    dataset: xr.Dataset

    @property
    def models(self) -> list[str]:
        """Labels of the models."""
        return list(dict.fromkeys(map(str, self.dataset["model"].values)))

    @property
    def estimators(self) -> list[str]:
        """Names of the estimators."""
        return [str(name) for name in self.dataset["estimator"].values]

    def to_dataframe(self) -> Any:
        """Return a table with a row for each layer and estimator: labels, value and standard error."""
        import pandas as pd

        found, count = self.dataset, len(self.estimators)
        columns = {
            name: np.repeat(found[coordinate].values, count)
            for name, coordinate in (("model", "model"), ("layer", "layer_name"))
        }
        columns |= {name: np.repeat(found[name].values, count) for name in LABELS if name in found.coords}
        columns["estimator"] = np.tile(found["estimator"].values, found.sizes["layer"])
        return pd.DataFrame(columns | {name: found[name].values.ravel() for name in ("value", "standard_error")})

    def table(self) -> Any:
        """Return a table with a row for each layer and a column for each estimator."""
        import pandas as pd

        found = self.dataset
        index = pd.MultiIndex.from_arrays([found["model"].values, found["layer_name"].values], names=["model", "layer"])
        return pd.DataFrame(found["value"].values, index, self.estimators)

    def __repr__(self) -> str:
        return facts_text(*self._facts())

    def _repr_html_(self) -> str:
        found = self.dataset.isel(layer=slice(MOST))
        names = zip(found["model"].values, found["layer_name"].values, strict=True)
        rows = [(f"{model}, {layer}", layer_cells(self, i)) for i, (model, layer) in enumerate(names)]
        more = self.dataset.sizes["layer"] - MOST
        note = "value ± standard error" + (f"; and {more} more layers" if more > 0 else "")
        return facts_html(*self._facts(), table_html("layer", self.estimators, rows, note))

    def _facts(self) -> tuple[str, list[tuple[str, str]]]:
        attrs, models, layers = self.dataset.attrs, self.models, self.dataset.sizes["layer"]
        n = " to ".join(dict.fromkeys(str(z) for z in (self.dataset["n"].values.min(), self.dataset["n"].values.max())))
        settings = ", ".join(f"{name} = {attrs[name]}" for name in SETTINGS)
        title = f"Description of {len(models)} models, {layers} layers, n = {n}: {', '.join(self.estimators)}"
        return title, [("models", some_names(models)), ("settings", settings)]


def layer_cells(found: Description, layer: int) -> list[str]:
    """The values of a layer, with their standard errors, as text."""
    values, errors = (found.dataset[name].values[layer] for name in ("value", "standard_error"))
    return [
        f"{value:.2f}" + (f" ± {error:.2f}" if np.isfinite(error) else "")
        for value, error in zip(values, errors, strict=True)
    ]


LABELS = ("depth", "relative_depth", "width", "n", "distinct")
"""Coordinates of layers that are numbers."""
SETTINGS = ("k", "discard", "splits", "seed", "clip_quantile", "normalize")
"""Settings that values depend on, among the attributes."""
