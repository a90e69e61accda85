"""A calibration next to the scores it belongs to: labelled arrays and settings, in memory and in the result's group."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xarray as xr
from zarr.codecs import Crc32cCodec

from ..errors import CorruptError, MismatchError
from ..stores.location import Place, remove, store_at, writing
from ..stores.publish import write_inside
from .notebook import calibration_html, calibration_text
from .storage import FINAL, GROWING, check_scores, digest, form_digest

SCHEMA = "prh-jax/calibration/1"

PAIR_TABLES = ("score", "tau", "p", "q_bh", "q_by", "calibrated", "orders_used")
"""Of every model pair; the rest of a calibration is of every layer pair, and the null itself."""


class Calibration:
    """Null distribution, p-values and calibrated scores of a result.

    Parameters
    ----------
    dataset
        Tables with a `metric` dimension. For each model pair: `score` (the aggregate over layers), `tau` (critical
        score), `p`, `q_bh`, `q_by` (over all model pairs of the metric), `calibrated`, `orders_used`, and `null` (with
        a dimension `order`). For each layer pair: `p_cell`, and if the closed form exists the exact `mean_cell`,
        `sd_cell`, `z_cell`, and `tail_cell`, an approximate tail probability (Pearson type III).
    settings
        Those of `Null`, as plain values.
    """

    def __init__(self, dataset: xr.Dataset, settings: dict[str, Any]):
        self.dataset, self.settings = dataset, settings

    def pairs(self, metric: str) -> xr.Dataset:
        """Return the model-by-model tables of a metric."""
        return self._of(metric)[list(PAIR_TABLES)]

    def cells(self, metric: str) -> xr.Dataset:
        """Return the layer-by-layer matrices of a metric."""
        chosen = self._of(metric)
        return chosen[[name for name in chosen.data_vars if str(name).endswith("_cell")]]

    def null(self, metric: str) -> xr.DataArray:
        """Return the aggregate of every model pair under each permutation: (order, model_x, model_y)."""
        return self._of(metric)["null"]

    def _of(self, metric: str) -> xr.Dataset:
        known = [str(name) for name in self.dataset["metric"].values]
        if metric not in known:
            raise ValueError(f"This calibration has no metric {metric!r}; it has {', '.join(known)}.")
        return self.dataset.sel(metric=metric, drop=True)

    def __repr__(self) -> str:
        return calibration_text(self)

    def _repr_html_(self) -> str:
        return calibration_html(self)


def calibration_builder(calibration: Calibration, scores: str) -> Callable[..., None]:
    """Function that writes a calibration of the scores of this `digest` into the group `group` of a Zarr store."""
    dataset, settings = calibration.dataset, calibration.settings
    attributes = {"schema": SCHEMA, "settings": json.dumps(settings), "sha256": digest(dataset, settings)}
    attributes |= {"form_sha256": form_digest(dataset), "scores_sha256": scores}
    encoding: dict[Any, dict[str, Any]] = {name: {"compressors": [Crc32cCodec()]} for name in dataset.variables}

    def build(store: Any, group: str | None = FINAL) -> None:
        with warnings.catch_warnings():  # Zarr v3 has no final word on variable-length text yet
            warnings.simplefilter("ignore")
            dataset.assign_attrs(attributes).to_zarr(
                store, group=group, mode="w", zarr_format=3, consolidated=False, encoding=encoding
            )

    return build


def save_calibration(calibration: Calibration, path: Place, scores: str) -> None:
    """Write into the result at `path`; a calibration that was there is replaced, and an unfinished one removed.

    On a disk it is there as a whole or not at all.

    Parameters
    ----------
    calibration
        The calibration to write.
    path
        Of the result.
    scores
        `digest` of the scores that it was made for.

    Raises
    ------
    ExistsError
        If the result at `path` has other scores.
    """
    build = calibration_builder(calibration, scores)
    with writing(path):
        check_scores(path, scores)
        if isinstance(path, Path):
            with write_inside(path / FINAL) as building:
                build(building, group=None)
                check_scores(path, scores)
        else:
            remove(path / FINAL)
            build(store_at(path, writable=True))
        remove(path / GROWING)


def load_calibration(path: Place, scores: str) -> Calibration | None:
    """The calibration in the result at `path`; None where there is none.

    StoreError where it is damaged, or was made for other scores than those of this `digest`.
    """
    if not (path / FINAL).exists():
        return None
    remedy = "Make it again: `prh calibrate --force-null`."
    try:
        dataset = xr.open_zarr(store_at(path), group=FINAL, consolidated=False).load()
        schema, settings, recorded = (dataset.attrs.pop(name) for name in ("schema", "settings", "sha256"))
        form, made_for = (dataset.attrs.pop(name, None) for name in ("form_sha256", "scores_sha256"))
        settings = json.loads(settings)
    except Exception as error:  # xarray and zarr raise many kinds for a broken or foreign folder
        raise CorruptError(f"The calibration in {path} is damaged ({error!r}). {remedy}") from error
    if schema != SCHEMA:
        raise MismatchError(f"The calibration in {path} has schema {schema!r}; this version reads {SCHEMA!r}. {remedy}")
    if made_for not in (None, scores):
        raise CorruptError(f"The calibration in {path} was made for other scores than are there now. {remedy}")
    if digest(dataset, settings) != recorded or form not in (None, form_digest(dataset)):
        raise CorruptError(f"The calibration in {path} is damaged: its numbers do not match their hash. {remedy}")
    texts = {name: (c.dims, c.values.astype(object)) for name, c in dataset.coords.items() if c.dtype.kind == "T"}
    return Calibration(dataset.assign_coords(texts), settings)
