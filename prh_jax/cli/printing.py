"""Tables and JSON on a terminal."""

import json
from typing import Any


def print_json(path: Any, result: Any, metrics: list[str] | None = None, how: Any = "best", groups: Any = None) -> None:
    """A result on one line of JSON: protocol, scores of model pairs, calibration, comparisons of groups by metric."""
    from ..results.export import as_plain, comparison_as_plain

    plain = {"path": str(path)} | as_plain(result, metrics or result.metrics, how)
    if groups:
        plain["groups"] = {key: comparison_as_plain(found) for key, found in groups.items()}
    print(json.dumps(plain))


def print_calibration(result: Any, key: str) -> None:
    """Calibrated scores, critical scores and q-values of a metric as text; a model with itself aside."""
    calibration, pairs = result.calibration, result.calibrated_pairs(key)
    null, counted = calibration.settings["null"], result.counted_pairs(key).values
    kind = "all" if calibration.settings["exact"] else "random"
    within = " within groups" if calibration.settings["groups"] else ""
    print(
        f"\n{key}: calibrated {null['aggregate']} over layer pairs, {null['orders']} {kind} orders{within}; 0 is chance"
    )
    print(table(pairs["calibrated"]))
    if not counted.any():
        print(NOTHING_BUT_SELF)
        return
    tau, q = (pairs[name].values[counted] for name in ("tau", "q_bh"))
    tau, q = tau[tau == tau], q[q == q]
    if len(tau):
        print(f"critical score {tau.min():.4f} to {tau.max():.4f} at level {null['alpha']:g};")
    print(f"{int((q <= null['alpha']).sum())} of {len(q)} model pairs beyond chance (Benjamini-Hochberg q)")


def print_groups(found: Any) -> None:
    """Mean scores within and between families of models (`GroupComparison`), with intervals, and the finding."""
    from ..stores.shown import plain_name, shorten

    frame = found.to_dataframe().drop(columns="standard_error", level=1)
    frame.index = [shorten(plain_name(name), 60) for name in frame.index]
    print(f"\n{found.finding}\n{frame.to_string(float_format='{:.4f}'.format)}")


NOTHING_BUT_SELF = "Every model pair is a model with itself: nothing is compared with another model."


def table(scores: Any) -> str:
    """A model-by-model table as text, columns numbered where their names are long; "self" for a model with itself."""
    import pandas as pd

    from ..results.tables import cell_texts
    from ..stores.shown import plain_name, shorten

    names = [[plain_name(name) for name in scores[dim].values] for dim in scores.dims]
    frame = pd.DataFrame(cell_texts(scores, 4, "NaN"), [shorten(name, 60) for name in names[0]], names[1])
    frame.index.name = scores.dims[0]
    frame.columns.name = scores.dims[1]
    legend = ""
    if sum(len(str(name)) for name in frame.columns) > 90:
        legend = "".join(f"\n  [{i}] {name}" for i, name in enumerate(frame.columns))
        frame.columns = [f"[{i}]" for i in range(frame.shape[1])]
    return frame.to_string() + legend
