"""A result as one HTML file: opens anywhere, asks the network for nothing, and needs no Python to be read."""

import base64
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from ..results.alignment import Alignment
from ..results.covariates import covariate_values, number_names, spearman
from ..results.gallery import Gallery, thumbnail
from ..results.provenance import origin_lines
from ..results.reduce import HOW, model_blocks
from ..results.tables import self_cells
from ..stores.publish import write_whole
from ..stores.shown import plain_name
from ..stores.target import file_target
from .base import names_apart
from .colors import COLORS, colors_of, families_of
from .maps import leaf_order

PAGE = Path(__file__).parent / "page"
BINS = 30


def report(
    result: Alignment,
    path: str | Path,
    *,
    title: str = "Alignment of representations",
    galleries: Sequence[Gallery] = (),
    covariates: Mapping[str, Mapping[str, float]] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a result as one self-contained HTML file, and return its path.

    galleries   neighbours of layer pairs (`neighbor_gallery`), shown with their model pair
    covariates  numbers by model to plot alignment against ({"ImageNet top-1": {"vit_b": 81.2, ...}}), beside those
                that `Alignment.assign` gave and extraction recorded
    overwrite   replace a file that is there

    A model with itself is grey in the map, where a click opens its layers, and counts nowhere else. The table has two
    models once, and in both orders, model of x first, where the metric is not symmetric.

    Needs plotly (the extra "plot"), and pillow for galleries of pictures. StoreError where the file is there or cannot
    be written, ValueError for a covariate of no model of the result.
    """
    path = file_target(path, overwrite=overwrite)
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise ImportError('Reports need plotly: pip install "prh-jax[plot]"') from error
    content = {
        "title": plain_name(title),
        "summary": _summary(result),
        "protocol": origin_lines(result.provenance, result.calibration and result.calibration.settings),
        "models": _models(result),
        "own": result.self_pairs.values.ravel().tolist(),
        "metrics": {key: _metric(result, key) for key in result.metrics},
        "controls": _controls(result),
        "covariates": _covariates(result, covariates or {}),
        "galleries": [_gallery(gallery) for gallery in galleries],
        "level": result.calibration.settings["null"]["alpha"] if result.calibration else None,
        "aggregate": result.calibration.settings["null"]["aggregate"] if result.calibration else None,
    }
    text = Template((PAGE / "page.html").read_text("utf-8")).substitute(
        title=html.escape(content["title"]),
        style=(PAGE / "page.css").read_text("utf-8"),
        plotly=get_plotlyjs(),
        # no tag can begin inside the data, whatever a name or a caption says
        content=json.dumps(content, allow_nan=False).replace("<", "\\u003c"),
        script=(PAGE / "page.js").read_text("utf-8"),
    )
    with write_whole(path, replace=True) as building:
        building.write_text(text, "utf-8")
    return path


def _packed(values: Any) -> str:
    """Numbers as base64 of float32, row by row."""
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()


def _summary(result: Alignment) -> str:
    models = " x ".join(str(len(model_blocks(result.dataset[f"model_{side}"].values))) for side in "xy")
    layers = " x ".join(str(result.dataset.sizes[f"layer_{side}"]) for side in "xy")
    apart = result.model_pairs().counted(symmetric=True).sum()
    return f"{models} models ({apart} pairs of two models), {layers} layers, {result.provenance.n} samples"


def _models(result: Alignment) -> dict[str, list[dict[str, Any]]]:
    """Names and layers of the models of each side, and the colour of the family that they were assigned, if any."""
    blocks = {side: model_blocks(result.dataset[f"model_{side}"].values) for side in "xy"}
    families = dict(zip("xy", families_of(result, blocks, None), strict=True))
    colors = colors_of(result, None, [family for side in families.values() for family in side or ()])
    made: dict[str, list[dict[str, Any]]] = {}
    for side, rows in blocks.items():
        names = result.dataset[f"layer_name_{side}"].values
        made[side] = [
            {
                "name": plain_name(name),
                "short": short,
                "start": block.start,
                "layers": [plain_name(layer) for layer in names[block]],
                "family": None if family is None else plain_name(family),
                "color": COLORS[0] if family is None else colors[family],
            }
            for (name, block), short, family in zip(
                rows.items(), names_apart(rows, 32), families[side] or [None] * len(rows), strict=True
            )
        ]
    return made


def _metric(result: Alignment, key: str) -> dict[str, Any]:
    """Scores of all layer pairs, tables of model pairs, and where the best pairs are; flat, row by row.

    `counted` tells which model pairs the table has, and `listed` which of those stands for each.
    """
    scores, best = result.layers(key).transpose("layer_x", "layer_y"), result.best(key, with_self=False)
    own, first = result.model_pairs(key)
    listed = first if result.is_symmetric(key) else np.arange(own.size)
    tables = {how: _packed(result.reduce(key, how).values) for how in HOW}
    made: dict[str, Any] = {
        "larger": result.provenance.larger_is_closer(key),
        "scores": _packed(scores.values),
        "tables": tables,
        "best": np.stack([best["depth_x"].values, best["depth_y"].values], axis=-1).reshape(-1, 2).tolist(),
        "order": {
            "x": leaf_order(best["score"].values, own).tolist(),
            "y": leaf_order(best["score"].values.T, own.T).tolist(),
        },
        "counted": result.counted_pairs(key).values.ravel().tolist(),
        "listed": listed.ravel().tolist(),
        "undefined": int(scores.isnull().sum()),
    }
    if result.calibration is not None:
        pairs, null = result.calibration.pairs(key), result.calibration.null(key).values
        made["pairs"] = {name: _packed(pairs[name].values) for name in ("score", "tau", "p", "q_bh", "calibrated")}
        nulls = _histograms(null.reshape(len(null), -1).T)
        made["null"] = [None if alone else bins for alone, bins in zip(own.ravel(), nulls, strict=True)]
    return made


def _histograms(nulls: np.ndarray) -> list[dict[str, Any] | None]:
    """Each row of scores as counts in bins of equal width."""
    made: list[dict[str, Any] | None] = []
    for null in nulls:
        null = null[np.isfinite(null)].astype(float)
        if not null.size:
            made.append(None)
            continue
        counts, edges = np.histogram(null, bins=min(BINS, max(5, int(null.size**0.5))))
        made.append({"low": float(edges[0]), "width": float(edges[1] - edges[0]), "counts": counts.tolist()})
    return made


def _controls(result: Alignment) -> list[dict[str, Any]]:
    """By side, the places of models that have controls, of their controls, and of the models of the other side."""
    places = {
        side: {m: i for i, m in enumerate(models)} for side, models in (("x", result.models_x), ("y", result.models_y))
    }
    found = {side: result.controls(side) for side in "xy"}
    made = []
    for side, other in (("x", "y"), ("y", "x")):
        drawn = {label for labels in found[other].values() for label in labels}
        partners = [place for label, place in places[other].items() if label not in drawn]
        rows = [[places[side][m], [places[side][c] for c in controls]] for m, controls in found[side].items()]
        if rows:
            made.append({"side": side, "rows": rows, "others": partners})
    return made


def _covariates(result: Alignment, given: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Numbers that at least three models of a side have, and how alignment goes with them (Spearman) by metric."""
    made = []
    for name, by in given.items():
        if not any(model.label in by for side in "xy" for model in result.provenance.models(side)):
            raise ValueError(f"The covariate {name!r} has a number of no model of this result; it has {list(by)}.")
    for side, other in (("x", "y"), ("y", "x")):
        models = list(model_blocks(result.dataset[f"model_{side}"].values))
        numbers: dict[str, Any] = dict.fromkeys(number_names(result.provenance.models(side)))
        numbers |= {name: {m: v for m, v in by.items() if m in models} for name, by in given.items()}
        for name, by in numbers.items():
            if by is not None and not by:
                continue
            values = covariate_values(result, models, name if by is None else by, side)
            known = np.isfinite(values)
            if known.sum() < 3 or np.ptp(values[known]) == 0:
                continue
            rho = {key: _rho(result, key, side, other, values) for key in result.metrics}
            made.append({"side": side, "name": plain_name(name), "values": _packed(values), "rho": rho})
    return made


def _rho(result: Alignment, key: str, side: str, other: str, values: np.ndarray) -> float | None:
    table = result.reduce(key, "best").transpose(f"model_{side}", f"model_{other}")
    table = table.where(~self_cells(table))
    score = table.astype(float).mean(f"model_{other}", skipna=True).values
    known = np.isfinite(score) & np.isfinite(values)
    rho = spearman(score[known], values[known])
    return rho if np.isfinite(rho) else None


def _gallery(gallery: Gallery, count: int = 10) -> dict[str, Any]:
    """The samples with most and fewest neighbours in common; pictures once each."""
    found = gallery.dataset
    rows = {"most": gallery.most(count).tolist(), "least": gallery.least(count).tolist()}
    heads = {row for chosen in rows.values() for row in chosen}
    lists = {side: {row: found[f"neighbors_{side}"].values[row].tolist() for row in heads} for side in "xy"}
    shown = heads.union(*(near for side in lists.values() for near in side.values()))
    ids = found["id"].values
    samples = {
        i: {
            "caption": plain_name(ids[i] if gallery.captions is None else gallery.captions[i]),
            "id": plain_name(ids[i]),
            "picture": None if gallery.picture is None else thumbnail(gallery.picture(i)),
        }
        for i in sorted(shown)
    }
    place = {name: plain_name(text) if isinstance(text, str) else text for name, text in gallery.place.items()}
    k = found.sizes["rank"]
    spread = np.bincount(found["shared"].values, minlength=k + 1).tolist()
    return {"place": place, "k": k, "rows": rows, "samples": samples, "lists": lists, "spread": spread}
