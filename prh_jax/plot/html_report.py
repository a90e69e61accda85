"""A result as one HTML file, which any browser opens without network and without Python."""

import base64
import html
import json
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from ..results.alignment import Alignment
from ..results.covariates import covariate_values, number_names, spearman
from ..results.gallery import Gallery, thumbnail
from ..results.groups import compare_families
from ..results.provenance import origin_lines
from ..results.reduce import HOW, model_blocks
from ..results.steps import step_of, without_step
from ..results.tables import LATEX, self_cells
from ..results.wording import finding, lead_metric, over_layers, quantity, value_words
from ..stores.publish import write_whole
from ..stores.shown import plain_name
from ..stores.target import file_target
from .base import names_apart, spans_decades
from .colors import COLORS, Families, colors_of, families_of, family_colors
from .maps import leaf_order
from .sections import Sections, told_sections

PAGE = Path(__file__).parent / "page"
BINS = 30

Covariates = Mapping[str, Mapping[str, float] | None] | Sequence[str] | None
"""Numbers by model for each name. A name alone, or with None, is that of assigned or recorded numbers."""


def report(
    result: Alignment,
    path: str | Path,
    *,
    title: str = "Alignment of representations",
    galleries: Sequence[Gallery] = (),
    covariates: Covariates = None,
    families: Families = None,
    sections: Sections | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a result as one self-contained HTML file.

    The report begins with its finding in one sentence, by the paper's metric (`mutual_knn`) or, without it, the first
    metric. A model with itself is grey in the map, where a click opens its layers, and counts nowhere else. The table
    has two models once, or in both orders, model of x first, if the metric is not symmetric. The page saves tables as
    CSV and LaTeX. Reports need plotly (the extra "plot"), and pillow for galleries of pictures.

    Parameters
    ----------
    result
        The result to show.
    path
        Path of the file.
    title
        Title of the page.
    galleries
        Neighbours of layer pairs (`neighbor_gallery`), shown with their model pair.
    covariates
        Numbers by model to plot alignment against ({"ImageNet top-1": {"vit_b": 81.2, ...}}), or names of assigned or
        recorded numbers. The other numbers of the models follow them.
    families
        Family of each model by name, or the name of an assigned or recorded value; the assigned `family` if None. The
        models of a family have one colour. If at least two families have pairs of models, a table compares alignment
        within and between families (`compare_groups`).
    sections
        Analyses to show after the scores, by title: a figure or Axes of matplotlib, a table (pandas or xarray), a text,
        a Description, RetrievalResult or NoiseCeiling, the Path of a .png or .csv file, or a list of these.
    overwrite
        Replace an existing file.

    Returns
    -------
    Path
        Path of the file.

    Raises
    ------
    StoreError
        If the file exists or cannot be written.
    ValueError
        If no model of the result has a number for a covariate, a model has no family, or a section cannot be shown.
    ImportError
        If plotly is not installed.
    """
    path = file_target(path, overwrite=overwrite)
    text = page(result, title, galleries, covariates, families, sections)
    with write_whole(path, replace=True) as building:
        building.write_text(text, "utf-8")
    return path


class Panels:
    """A report that a notebook shows in a frame."""

    def __init__(self, text: str, height: int):
        self.text, self.height = text, height

    def _repr_html_(self) -> str:
        style = f"width:100%;height:{self.height}px;border:1px solid rgba(128,128,128,.4)"
        allowed = 'sandbox="allow-scripts allow-downloads"'
        return f'<iframe title="report" {allowed} style="{style}" srcdoc="{html.escape(self.text)}"></iframe>'


def panels(
    result: Alignment,
    *,
    title: str = "Alignment of representations",
    galleries: Sequence[Gallery] = (),
    covariates: Covariates = None,
    families: Families = None,
    sections: Sections | None = None,
    height: int = 800,
) -> Panels:
    """Return the report of a result for a notebook, which shows the maps, tables and buttons of the file.

    The notebook stores the whole report, about 5 MB. A result as the last line of a cell shows only its finding and a
    table.

    Parameters
    ----------
    result, title, galleries, covariates, families, sections
        As in `report`.
    height
        Height of the frame in pixels.

    Returns
    -------
    Panels
        An object that a notebook shows as the report.

    Raises
    ------
    ValueError
        If no model of the result has a number for a covariate, a model has no family, or a section cannot be shown.
    ImportError
        If plotly is not installed.
    """
    return Panels(page(result, title, galleries, covariates, families, sections), height)


def page(
    result: Alignment,
    title: str,
    galleries: Sequence[Gallery],
    covariates: Covariates,
    families: Families,
    sections: Sections | None,
) -> str:
    """The report as HTML."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise ImportError('Reports need plotly: pip install "prh-jax[plot]"') from error
    null = result.calibration.settings["null"] if result.calibration else None
    content = {
        "title": plain_name(title),
        "summary": _summary(result),
        "lead": lead_metric(result.metrics),
        "protocol": origin_lines(result.provenance, result.calibration and result.calibration.settings),
        "models": _models(result, families),
        "own": result.self_pairs.values.ravel().tolist(),
        "metrics": {key: _metric(result, key) | {"groups": _groups(result, families, key)} for key in result.metrics},
        "controls": _controls(result),
        "covariates": _covariates(result, covariates or {}),
        "galleries": [_gallery(gallery) for gallery in galleries],
        "sections": told_sections(sections or {}),
        "level": null and null["alpha"],
        "aggregate": null and over_layers(null["aggregate"]),
        "latex": LATEX,
    }
    return Template((PAGE / "page.html").read_text("utf-8")).substitute(
        title=html.escape(content["title"]),
        style=(PAGE / "page.css").read_text("utf-8"),
        plotly=get_plotlyjs(),
        # no tag can begin inside the data, whatever a name or a caption says
        content=json.dumps(content, allow_nan=False).replace("<", "\\u003c"),
        script="".join((PAGE / name).read_text("utf-8") for name in ("export.js", "page.js")),
    )


def _packed(values: Any) -> str:
    """Numbers as base64 of float32, row by row."""
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()


def _summary(result: Alignment) -> str:
    models = " x ".join(str(len(model_blocks(result.dataset[f"model_{side}"].values))) for side in "xy")
    layers = " x ".join(str(result.dataset.sizes[f"layer_{side}"]) for side in "xy")
    apart = result.model_pairs().counted(symmetric=True).sum()
    return f"{models} models ({apart} pairs of two models), {layers} layers, {result.provenance.n} samples"


def _models(result: Alignment, families: Families = None) -> dict[str, list[dict[str, Any]]]:
    """Names and layers of the models of each side, with the colours of their families, if they have any."""
    blocks = {side: model_blocks(result.dataset[f"model_{side}"].values) for side in "xy"}
    told = dict(zip("xy", families_of(result, blocks, families), strict=True))
    colors = colors_of(result, families, [family for side in told.values() for family in side or ()])
    for side, rows in blocks.items():
        trunks = [names_apart([without_step(name)], 32)[0] for name in rows]
        if told[side] is None and families is None and _steps(result, side) and not colors and len(set(trunks)) <= 8:
            told[side], colors = trunks, family_colors(trunks)  # the checkpoints of one model, as `curve` joins them
    made: dict[str, list[dict[str, Any]]] = {}
    for side, rows in blocks.items():
        names = result.dataset[f"layer_name_{side}"].values
        made[side] = [
            {
                "name": plain_name(name),
                "short": short,
                "brief": brief,
                "start": block.start,
                "layers": [plain_name(layer) for layer in names[block]],
                "family": None if family is None else plain_name(family),
                "color": COLORS[0] if family is None else colors[family],
            }
            for (name, block), short, brief, family in zip(
                rows.items(),
                names_apart(rows, 32),
                names_apart(rows, 16),
                told[side] or [None] * len(rows),
                strict=True,
            )
        ]
    return made


def _metric(result: Alignment, key: str) -> dict[str, Any]:
    """Scores of all layer pairs, tables of model pairs, and places of the best layer pairs; flat, row by row.

    `counted` marks the model pairs of the table. `listed` has for each pair the place of the one that
    represents it there.
    """
    scores, best = result.layers(key).transpose("layer_x", "layer_y"), result.best(key, with_self=False)
    own, first = result.model_pairs(key)
    listed = first if result.is_symmetric(key) else np.arange(own.size)
    tables = {how: _packed(result.reduce(key, how).values) for how in HOW}
    made: dict[str, Any] = {
        "quantity": quantity(result, key),
        "words": value_words(result, key),
        "finding": finding(result, key),
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
    """For each side, the places of models with controls, of these controls, and of the models of the other side."""
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


def _groups(result: Alignment, families: Families, key: str) -> dict[str, Any] | None:
    """Alignment within and between families; None unless two of them have a pair of models."""
    found = compare_families(result, families, key)
    if found is None:
        return None
    rows = []
    for name in found.table["group"].values:
        part = {kind: found.table.sel(part=kind, group=name) for kind in ("within", "between", "difference")}
        (inside, pairs), (across, others) = (
            [part[k][v].item() for v in ("mean", "pairs")] for k in ("within", "between")
        )
        numbers = [inside, pairs, across, others, part["difference"]["mean"].item()]
        rows.append({"name": plain_name(name), "numbers": [n if np.isfinite(n) else None for n in numbers]})
    return {"finding": found.finding, "rows": rows}


def _steps(result: Alignment, side: str) -> bool:
    """Whether each model of a side is a checkpoint with a known training step."""
    return all(step_of(model) is not None for model in result.provenance.models(side))


def _covariates(result: Alignment, given: Covariates) -> list[dict[str, Any]]:
    """Numbers of at least three models of a side, with their rank correlation with alignment by each metric."""
    given = [given] if isinstance(given, str) else given
    asked = dict(given) if isinstance(given, Mapping) else dict.fromkeys(given or ())
    recorded = {side: number_names(result.provenance.models(side)) for side in "xy"}
    recorded = {side: ["step"] * _steps(result, side) + names for side, names in recorded.items()}
    for name, by in asked.items():
        if by is None and not any(name in names for names in recorded.values()):
            there = ", ".join(dict.fromkeys(name for names in recorded.values() for name in names)) or "none"
            raise ValueError(f"No model of this result has a number {name!r}; recorded are {there}.")
        if by is not None:
            _check_numbers(name, by, {model.label for side in "xy" for model in result.provenance.models(side)})
    made: dict[str, list[dict[str, Any]]] = {}
    for side, other in (("x", "y"), ("y", "x")):
        models = list(model_blocks(result.dataset[f"model_{side}"].values))
        for name in dict.fromkeys([*asked, *recorded[side]]):
            by = asked.get(name)
            by = {m: v for m, v in by.items() if m in models} if by is not None else name
            if not by or (by == name and name not in recorded[side]):
                continue
            values = covariate_values(result, models, by, side)
            known = values[np.isfinite(values)]
            if known.size < 3 or np.ptp(known) == 0:
                continue
            rho = {key: _rho(result, key, side, other, values) for key in result.metrics}
            told = {
                "side": side,
                "name": "training step" if by == "step" else plain_name(name),
                "values": _packed(values),
                "log": bool(known.min() >= 0) and spans_decades(known[known > 0]),
                "joined": by == "step",
                "rho": rho,
            }
            made.setdefault(name, []).append(told)
    return [told for name in dict.fromkeys([*asked, *made]) for told in made.get(name, [])]


def _check_numbers(name: str, by: Any, labels: set[str]) -> None:
    """Raise ValueError unless a covariate has finite numbers of at least three models of the result."""
    if not hasattr(by, "items"):
        raise ValueError(f"The covariate {name!r} needs numbers by model, as a dict or a Series; it is {by!r}.")
    if not any(label in by for label in labels):
        raise ValueError(f"The covariate {name!r} has a number of no model of this result; it has {list(by)}.")
    wrong = next((m for m, v in by.items() if not isinstance(v, Real) or not np.isfinite(float(v))), None)
    if wrong is not None:
        raise ValueError(
            f"The covariate {name!r} of {wrong} is {by[wrong]!r}, and has to be a finite number. Leave out models "
            "without one."
        )
    known = sum(label in by for label in labels)
    if known < 3:
        raise ValueError(f"The covariate {name!r} has numbers of {known} models of this result: a correlation needs 3.")


def _rho(result: Alignment, key: str, side: str, other: str, values: np.ndarray) -> float | None:
    table = result.reduce(key, "best").transpose(f"model_{side}", f"model_{other}")
    table = table.where(~self_cells(table))
    score = table.astype(float).mean(f"model_{other}", skipna=True).values
    known = np.isfinite(score) & np.isfinite(values)
    rho = spearman(score[known], values[known])
    return rho if np.isfinite(rho) else None


def _gallery(gallery: Gallery, count: int = 10) -> dict[str, Any]:
    """The samples with most and with fewest neighbours in common; each picture occurs once."""
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
