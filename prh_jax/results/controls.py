"""Which models of a result are the controls of which: the same network with random weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from .provenance import ModelRecord

WEIGHTS = ("random_init", "revision", "padding")
"""Entries in which the spec of a control differs: of the weights, and of how the network reads texts."""


def controls_of(records: Sequence[ModelRecord]) -> dict[str, list[str]]:
    """The controls of each model that has some, by label: random weights, and all else as it was asked for.

    The checkpoints of one model, `name@step1000`, share its controls.
    """
    drawn = [record for record in records if record.spec.get("random_init") is not None]
    found = {
        record.label: [control.label for control in drawn if _network(control) == _network(record)]
        for record in records
        if record.spec.get("random_init") is None and record.spec.get("model") is not None
    }
    return {label: controls for label, controls in found.items() if controls}


def _network(record: ModelRecord) -> dict[str, Any]:
    spec = {name: value for name, value in record.spec.items() if name not in WEIGHTS}
    return {**spec, "model": str(spec.get("model")).partition("@")[0]}


def control_table(table: xr.DataArray, controls: Mapping[str, Mapping[str, Sequence[str]]], side: str) -> xr.Dataset:
    """`trained`, `control` (the mean over seeds) and `difference` of the models of a side that have controls.

    Parameters
    ----------
    table
        One number for every model pair, with dimensions model_x and model_y, and `self_pair`.
    controls
        The controls of the models of side "x" and "y".
    side
        The side whose models are compared with their controls; of the other side, controls are left out.
    """
    other = "y" if side == "x" else "x"
    drawn = {label for labels in controls[other].values() for label in labels}
    partners = [label for label in table[f"model_{other}"].values if label not in drawn]
    table = table.astype(float).sel({f"model_{other}": partners})
    own, table = table["self_pair"], table.drop_vars("self_pair")
    dim = f"model_{side}"
    trained = table.sel({dim: list(controls[side])})
    own = own.sel({dim: list(controls[side])}).drop_vars("self_pair")
    means = [table.sel({dim: labels}).mean(dim, skipna=False) for labels in controls[side].values()]
    control = xr.concat(means, dim).assign_coords({dim: trained[dim]}).transpose(*trained.dims)
    compared = xr.Dataset({"trained": trained, "control": control, "difference": trained - control})
    return compared.where(~own)  # a model with itself is no evidence, nor is its control with it


def choose_side(controls: Mapping[str, Mapping[str, Any]], side: str | None) -> str:
    """The side whose models have controls, or the one that is asked for; ValueError where it has none."""
    if side not in ("x", "y", None):
        raise ValueError(f"A side is 'x' or 'y', got {side!r}.")
    having = [name for name in "xy" if controls[name]]
    if not having or side not in (None, *having):
        where = "" if side is None else f" of side {side}"
        raise ValueError(
            f"No model{where} has its control in this result: the same network with random weights, as `prh extract "
            "--control random-init` makes it."
        )
    return side or having[-1]
