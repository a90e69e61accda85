"""Results as a terminal and a notebook show them: how large, of what, and a table of the first metric."""

from typing import Any

import numpy as np

from ..stores.shown import MOST, facts_html, facts_text, html_text, plain_name, some_names, table_html
from .provenance import origin_lines
from .tables import SELF, cell_texts
from .wording import finding, lead_metric, over_layers, quantity

_SHOWN = ("samples", "features", "null")


def headline(result: Any) -> str:
    """Size and metrics of an Alignment on one line."""
    rows, columns = (result.dataset.sizes[f"layer_{side}"] for side in "xy")
    size = (
        f"{len(result.models_x)} x {len(result.models_y)} models, {rows} x {columns} layers, n = {result.provenance.n}"
    )
    return f"Alignment of {size}: {', '.join(map(plain_name, result.metrics))}"


def alignment_text(result: Any) -> str:
    """An Alignment on a few lines."""
    return facts_text(headline(result), _facts(result))


def alignment_html(result: Any) -> str:
    """An Alignment as a notebook shows it: what a report says first, and the scores of the first models."""
    chosen, metric = slice(0, MOST), lead_metric(result.metrics)
    scores = result.scores(metric, chosen, chosen)
    cells = [[html_text(text) for text in row] for row in cell_texts(scores, 3, "-")]
    closer = "" if result.provenance.larger_is_closer(metric) else "smaller is closer; "
    notes = [f"{closer}best layer pair of each two models"]
    if result.calibration is not None:
        pairs = result.calibrated_pairs(metric, chosen, chosen)
        level, aggregate = (result.calibration.settings["null"][name] for name in ("alpha", "aggregate"))
        _mark(cells, pairs, level)
        notes.append(f"bold with *: q at most {level:g} (Benjamini-Hochberg, {over_layers(aggregate)})")
    said = f'<div style="margin:.4em 0">{html_text(finding(result, metric), 600)}</div>'
    table = _model_table(quantity(result, metric), cells, result.models_x, result.models_y, notes)
    return facts_html(headline(result), _facts(result), said, table)


def calibration_text(calibration: Any) -> str:
    """A Calibration on a few lines."""
    return facts_text(*_calibration_facts(calibration))


def calibration_html(calibration: Any) -> str:
    """A Calibration as a notebook shows it: calibrated scores of the first models by the first metric."""
    metric = str(calibration.dataset["metric"].values[0])
    pairs, level = calibration.pairs(metric), calibration.settings["null"]["alpha"]
    xs, ys = ([str(name) for name in pairs[f"model_{side}"].values] for side in "xy")
    pairs = pairs.isel(model_x=slice(0, MOST), model_y=slice(0, MOST))
    table = pairs["calibrated"]
    alone = np.isnan(pairs["q_bh"].values) & np.isfinite(pairs["p"].values)  # no rate is taken of a model with itself
    cells = [
        [html_text(text) for text in row]
        for row in cell_texts(table.assign_coords(self_pair=(table.dims, alone)), 3, "-")
    ]
    _mark(cells, pairs, level)
    notes = ["calibrated score, 0 is chance", f"bold with *: q at most {level:g} (Benjamini-Hochberg)"]
    return facts_html(*_calibration_facts(calibration), _model_table(metric, cells, xs, ys, notes))


def gallery_text(gallery: Any) -> str:
    """A Gallery on a few lines."""
    return facts_text(*_gallery_facts(gallery))


def gallery_html(gallery: Any, count: int = 5) -> str:
    """A Gallery as a notebook shows it: the samples with most and fewest neighbours in common."""
    ids, shared = gallery.dataset["id"].values, gallery.dataset["shared"].values
    rows = list(dict.fromkeys([*gallery.most(count).tolist(), *gallery.least(count)[::-1].tolist()]))
    captions = None if gallery.captions is None else [html_text(gallery.captions[row], 80) for row in rows]
    columns = ["shared neighbours"] if captions is None else ["shared neighbours", "caption"]
    cells = [[str(shared[row]), *([] if captions is None else [captions[i]])] for i, row in enumerate(rows)]
    note = f"the samples with most and fewest in common, of {len(ids)}"
    table = table_html("sample", columns, zip((str(ids[row]) for row in rows), cells, strict=True), note)
    return facts_html(*_gallery_facts(gallery), table)


def _facts(result: Any) -> list[tuple[str, str]]:
    same = result.models_x == result.models_y and bool(np.diag(result.self_pairs.values).all())
    facts = [("x", some_names(result.models_x)), ("y", "the same models" if same else some_names(result.models_y))]
    lines = origin_lines(result.provenance, result.calibration and result.calibration.settings)
    return facts + [("chance" if word == "null" else word, text) for word, text in lines if word in _SHOWN]


def _mark(cells: list[list[str]], pairs: Any, level: float) -> None:
    """Null results of each pair: on the cell where a pointer rests on it, and bold where it is beyond chance."""
    values = {name: pairs[name].values for name in ("score", "tau", "p", "q_bh")}
    for i, row in enumerate(cells):
        for j, text in enumerate(row):
            if text == SELF or np.isnan([values["p"][i, j], values["score"][i, j]]).any():
                continue
            score, tau, p, q = (float(each[i, j]) for each in values.values())
            shown = f"<b>{text}*</b>" if q <= level else text
            row[j] = f'<span title="score {score:.4f}, critical {tau:.4f}, p {p:.3g}, q {q:.3g}">{shown}</span>'


def _model_table(
    metric: str, cells: list[list[str]], models_x: list[str], models_y: list[str], notes: list[str]
) -> str:
    more = [
        f"{len(names) - MOST} more models of {side}"
        for side, names in (("x", models_x), ("y", models_y))
        if len(names) > MOST
    ]
    rows = zip(models_x[:MOST], cells, strict=True)
    return table_html(
        metric, models_y[:MOST], rows, "; ".join([*notes, *([f"and {' and '.join(more)}"] if more else [])])
    )


def _calibration_facts(calibration: Any) -> tuple[str, list[tuple[str, str]]]:
    settings = calibration.settings
    metrics, sizes = map(str, calibration.dataset["metric"].values), calibration.dataset.sizes
    null = settings["null"]
    orders = "all orders" if settings["exact"] else f"{sizes['order']} random orders, seed {null['seed']}"
    facts = [
        ("models", f"{sizes['model_x']} x {sizes['model_y']}"),
        ("orders", orders + ", within groups" * bool(settings.get("groups") and null.get("exchange") != "whole")),
        ("score", f"{plain_name(null['aggregate'])} over layer pairs, critical at level {null['alpha']:g}"),
    ]
    return f"Calibration of {', '.join(map(plain_name, metrics))}", facts


def _gallery_facts(gallery: Any) -> tuple[str, list[tuple[str, str]]]:
    place, found = gallery.place, gallery.dataset
    facts = [
        (side, f"{plain_name(place.get(f'model_{side}', ''))}, {plain_name(place.get(f'layer_{side}', ''))}")
        for side in "xy"
    ]
    k = found.sizes["rank"]
    facts.append(("shared", f"{float(found['shared'].mean()):.2f} of {k} neighbours in the mean"))
    return f"Gallery of {found.sizes['sample']} samples", facts
