"""Tables and JSON on a terminal."""

import json
from typing import Any


def print_json(path: Any, result: Any, metrics: list[str] | None = None, how: Any = "best") -> None:
    """A result on one line of JSON: protocol, scores of model pairs, calibration."""
    from ..results.export import as_plain

    print(json.dumps({"path": str(path)} | as_plain(result, metrics or result.metrics, how)))


def print_calibration(calibration: Any, key: str) -> None:
    """Calibrated scores, critical scores and q-values of a metric as text."""
    pairs, null = calibration.pairs(key), calibration.settings["null"]
    kind = "all" if calibration.settings["exact"] else "random"
    within = " within groups" if calibration.settings["groups"] else ""
    print(
        f"\n{key}: calibrated {null['aggregate']} over layer pairs, {null['orders']} {kind} orders{within}; 0 is chance"
    )
    print(table(pairs["calibrated"]))
    q = pairs["q_bh"].values
    known = q[q == q]
    print(
        f"critical score {float(pairs['tau'].min()):.4f} to {float(pairs['tau'].max()):.4f} at level {null['alpha']:g};"
    )
    print(f"{int((known <= null['alpha']).sum())} of {known.size} model pairs beyond chance (Benjamini-Hochberg q)")


def table(scores: Any) -> str:
    """A model-by-model table as text, columns numbered where their names are long."""
    from ..results.tables import plain_name, shorten

    frame = scores.to_pandas()
    frame.index = [shorten(plain_name(name), 60) for name in frame.index]
    frame.columns = [plain_name(name) for name in frame.columns]
    legend = ""
    if sum(len(str(name)) for name in frame.columns) > 90:
        legend = "".join(f"\n  [{i}] {name}" for i, name in enumerate(frame.columns))
        frame.columns = [f"[{i}]" for i in range(frame.shape[1])]
    return frame.to_string(float_format=lambda value: f"{value:.4f}") + legend
