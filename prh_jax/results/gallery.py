"""Neighbour galleries as data: both lists of every sample, and how many samples they share."""

import base64
import dataclasses
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from .alignment import Alignment
from .notebook import gallery_html, gallery_text
from .tables import self_cells

Picture = Any
"""A PIL image, the path or the bytes of an encoded one, or an array (rows, columns, 3) of bytes."""


@dataclasses.dataclass(frozen=True)
class Gallery:
    """Neighbours of every sample in a layer of either side, and how many both lists have in common.

    Parameters
    ----------
    dataset
        `neighbors_x`, `neighbors_y` (sample, rank) are row numbers of the k nearest samples, nearest first. `shared`
        (sample) is the number in both lists, 0 to k. The coordinate `id` (sample) has the ids.
    place
        Model and layer of either side.
    captions
        Text of each sample, or None.
    picture
        Function from a row number to its picture, or None.
    """

    dataset: xr.Dataset
    place: dict[str, Any]
    captions: Sequence[str] | None = None
    picture: Callable[[int], Picture] | None = None

    def most(self, count: int = 10) -> np.ndarray:
        """Return the rows of the samples with most neighbours in common; among equals the first."""
        return np.argsort(-self.dataset["shared"].values, kind="stable")[:count]

    def least(self, count: int = 10) -> np.ndarray:
        """Return the rows of the samples with fewest neighbours in common; among equals the first."""
        return np.argsort(self.dataset["shared"].values, kind="stable")[:count]

    def __repr__(self) -> str:
        return gallery_text(self)

    def _repr_html_(self) -> str:
        return gallery_html(self)

    def to_dataframe(self) -> Any:
        """Return a table with a row per sample: id, caption if there are captions, shared, and both lists as ids."""
        import pandas as pd

        ids = self.dataset["id"].values
        columns: dict[str, Any] = {"id": ids}
        if self.captions is not None:
            columns["caption"] = list(self.captions)
        columns["shared"] = self.dataset["shared"].values
        for side in "xy":
            columns[f"neighbors_{side}"] = [list(row) for row in ids[self.dataset[f"neighbors_{side}"].values]]
        return pd.DataFrame(columns)


def best_pair(result: Alignment, metric: str) -> tuple[str, str]:
    """The two models that agree most, one with itself aside; ValueError where no pair has a score."""
    scores = result.scores(metric)
    sign = result.provenance.sign(metric)
    ranked = np.where(~self_cells(scores) & np.isfinite(scores.values), sign * scores.values, -np.inf)
    if not np.isfinite(ranked).any():
        raise ValueError(f"No two models have a score by {metric}: a model with itself is not counted.")
    i, j = np.unravel_index(ranked.argmax(), ranked.shape)
    return str(scores["model_x"].values[i]), str(scores["model_y"].values[j])


def thumbnail(picture: Picture, size: int = 72) -> str:
    """A picture as a small JPEG in a data URL."""
    from PIL import Image

    if isinstance(picture, bytes):
        picture = Image.open(io.BytesIO(picture))
    elif isinstance(picture, str | Path):
        picture = Image.open(picture)
    elif not isinstance(picture, Image.Image):
        picture = Image.fromarray(np.asarray(picture))
    picture = picture.convert("RGB")
    picture.thumbnail((size, size))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()
