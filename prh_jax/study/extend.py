"""A study that grows: models and metrics added to a result, only the pairs that it lacks scored."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..engine.null_scores import columns_at_once
from ..errors import ExistsError, MismatchError, StoreError
from ..metrics.base import Metric
from ..metrics.registry import check_permutable, make_metrics
from ..null.settings import AGGREGATES, Null
from ..results.alignment import Alignment, load_alignment
from ..results.provenance import NOT_THE_STUDY, Provenance
from ..results.storage import create_result
from ..runtime.progress import report_progress
from ..sketches.base import SketchContext
from ..stores.location import Place, place, remove
from ..stores.reader import Stores, open_store, open_stores
from ..stores.source import ModelSource
from ..stores.url import Url
from .exchange import check_orders, settle_exchange
from .null import KnownNull, calibrate_study, is_calibrated
from .part import part_name, score_lacking
from .settings import StudySettings, recorded_metrics, recorded_settings
from .study import Study, open_study


def extend(
    result: Alignment,
    stores_x: Stores | None = None,
    stores_y: Stores | None = None,
    metrics: Any = None,
    *,
    output: str | Path | Url | None = None,
    overwrite: bool = False,
    ids: Iterable[Any] | None = None,
    memory: int | str | None = None,
    sketch_cache: str | Path | Url | None = None,
    devices: Sequence[Any] | None = None,
    progress: bool | None = None,
) -> Alignment:
    """Extend a result by models or metrics, and score only what it lacks.

    Parameters
    ----------
    result
        The result to extend. It does not change.
    stores_x, stores_y
        The models to add to either side, as `align` takes them. A result of models with themselves has side x alone.
        You may name models that the result has, and must do so for those whose features were in memory.
    metrics
        Metrics to add, for all models; none if None.
    output, overwrite, ids, memory, sketch_cache, devices, progress
        As in `align`.

    Returns
    -------
    Alignment
        The models of the result in their order, then the new ones. Scores, and the null if the result has one, are
        bitwise those of a study made in one go. With more than 2,048 samples they agree to rounding until there are 65
        layers.

    Raises
    ------
    StoreError
        If the features of a model of the result are missing or have changed.
    """
    settings = StudySettings(
        ids=ids,
        memory=memory,
        sketch_cache=sketch_cache,
        devices=devices,
        **recorded_settings(result.provenance),
    )
    path = place(output) if output is not None else None
    quiet = None if progress is None else not progress
    return grow(result, stores_x, stores_y, metrics, settings, path=path, overwrite=overwrite, quiet=quiet)


def grow(
    old: Alignment,
    stores_x: Stores | None,
    stores_y: Stores | None,
    metrics: Any,
    settings: StudySettings,
    *,
    path: Place | None,
    overwrite: bool = False,
    null: Null | None = None,
    overwrite_null: bool = False,
    quiet: bool | None,
) -> Alignment:
    """`extend` with all settings given, which have to be those of the result.

    An interrupted extension goes on where it stopped: what is scored lies next to `path` until the result is replaced.
    """
    if path is not None and path.exists() and not overwrite:
        raise ExistsError(f"{path} already exists. Choose another path, or overwrite it (overwrite=True).")
    same = old.provenance.stores_y is None
    if same and stores_y is not None:
        raise MismatchError(
            "The result scores models with themselves, and it has no side y: give the models to add as stores_x, or "
            "align two sides again."
        )
    if not same and stores_x is None and stores_y is None and metrics is None:
        raise ValueError("Nothing was given to add to the result: name stores or metrics.")
    sides = {"x": stores_x} if same else {"x": stores_x, "y": stores_y}
    united = {
        side: _united(old, [] if stores is None else open_stores(stores, settings.ids_of(side)), side)
        for side, stores in sides.items()
    }
    study = open_study(united["x"], united.get("y"), _all_metrics(old, metrics), path, settings)
    _check_protocol(old.provenance, study.provenance)
    counts = tuple(len(old.provenance.models(side)) for side in "xy")
    kept = _kept_metrics(old, study)
    added = [len(stores) - count for stores, count in zip((study.xs, study.ys), counts, strict=True)]
    if not any(added) and set(kept) == set(study.metrics) and (null is None or _has(old, null, study, overwrite_null)):
        report_progress("The result has all of these models and metrics.", quiet)
        return old if path is None else _saved(old, path)
    null = _null_of(old, null, study, overwrite_null)
    if null is not None:
        check_permutable(study.metrics)
        null = settle_exchange(study, null)
        check_orders(study, null, quiet)
    folder = None if path is None else path.with_name(f".{path.name}.extension")
    grown = score_lacking(old, study, kept, counts, folder, quiet)
    if null is not None:
        whole = None if folder is None else folder / f"whole-{part_name(study, null.settings)}.zarr"
        if whole is not None and not whole.exists():
            create_result(grown.dataset, grown.provenance, whole, overwrite=False)
        elif whole is not None:
            grown = load_alignment(whole)
        if not is_calibrated(grown, null):
            known = None if overwrite_null else _known_null(old, study, kept)
            grown.calibration = calibrate_study(study, grown, null, path=whole, known=known, quiet=quiet)
    if path is not None:
        _saved(grown, path)
    if folder is not None:
        remove(folder)
    study.clean_up()
    return grown


def _saved(alignment: Alignment, path: Place) -> Alignment:
    alignment.save(path, overwrite=True)
    return alignment


def _united(old: Alignment, given: list[ModelSource], side: str) -> list[ModelSource]:
    """The stores of a side: those of the result in their order, among what is given or where they were, then new ones.

    Whether they hold what they held is seen once they are paired.
    """
    records = list(old.provenance.models(side))
    paths = [None if path is None else place(path) for path in old.provenance.stores(side) or [None] * len(records)]
    left, found = list(given), []
    for record, path in zip(records, paths, strict=True):
        there = path is not None and (isinstance(path, Url) or path.exists())
        fits = [
            *(store for store in left if path is not None and store.path.resolve() == path.resolve()),
            *(store for store in left if store.checksum() == record.contents),
            *(store for store in left if not there and store.spec == dict(record.spec)),
        ]
        if fits:
            left.remove(fits[0])
            found.append(fits[0])
        elif path is not None and there:
            found.append(open_store(path))
        else:
            where = "were in memory" if path is None else f"were at {path}, where nothing is"
            raise StoreError(
                f"The features of {record.label!r}, which the result has, {where}: give them too, among the models to "
                f"add (stores_{side}=)."
            )
    return found + left


def _all_metrics(old: Alignment, metrics: Any) -> dict[str, Metric]:
    """The metrics of the result by the keys they have, then those that are new."""
    found = recorded_metrics(old.provenance)
    for key, metric in () if metrics is None else make_metrics(metrics).items():
        if metric not in found.values():
            found[key if key not in found else str(metric)] = metric
    return found


def _check_protocol(old: Provenance, new: Provenance) -> None:
    """MismatchError naming the first setting in which an extension differs from the result."""
    left, right = (json.loads(json.dumps(p.to_dict())) for p in (old, new))
    for name in dict.fromkeys([*left, *right]):
        if name in NOT_THE_STUDY | {"metrics", "models_x", "models_y"} or left.get(name) == right.get(name):
            continue
        a, b = left.get(name), right.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            a, b = (
                {key: value for key, value in one.items() if value != two.get(key)} for one, two in ((a, b), (b, a))
            )
        hint = " The new models do not hold the samples of the result." if name in ("n", "ids_sha256") else ""
        raise MismatchError(
            f"The result cannot be extended: its {name} is {a!r:.60}, and that of what is asked for is {b!r:.60}."
            f"{hint} Ask for the same, or align all models again."
        )
    for side in "xy":
        for known, found in zip(old.models(side), new.models(side), strict=False):
            if known.contents != found.contents:
                raise MismatchError(
                    f"{known.label!r} holds other features now than the result was made from: align all models again."
                )


def _kept_metrics(old: Alignment, study: Study) -> list[str]:
    """The metrics whose scores a study made at once would have: new widths do not change what is kept of a layer."""
    widths = {width for side in "xy" for model in old.provenance.models(side) for width in model.widths}
    context: SketchContext = dataclasses.replace(study.context, widths=tuple(sorted(widths)))
    return [
        key
        for key, metric in study.metrics.items()
        if key in old.dataset and metric.sketcher.specialise(context) == metric.sketcher.specialise(study.context)
    ]


def _known_null(old: Alignment, study: Study, kept: Sequence[str]) -> KnownNull | None:
    """Part of the study's null that the result has; None where it is rounded in another way."""
    layers = old.dataset.sizes["layer_y"], sum(len(store.layers) for store in study.ys)
    if old.calibration is None or columns_at_once(layers[0]) != columns_at_once(layers[1]):
        return None
    return KnownNull(old.calibration, kept)


def _null_of(old: Alignment, null: Null | None, study: Study, overwrite_null: bool) -> Null | None:
    """The null that is asked for, or that of the result."""
    if old.calibration is None or (null is not None and overwrite_null):
        return null
    if null is not None:
        _has(old, null, study, overwrite_null)
        return null
    recorded = dict(old.calibration.settings["null"])
    if recorded["aggregate"] not in AGGREGATES:
        raise ValueError(
            f"The null of the result takes the {recorded['aggregate']} of layer pairs, which has to be given again: "
            "align(..., extend=..., null=Null(...))."
        )
    return Null(**recorded)


def _has(old: Alignment, null: Null, study: Study, overwrite_null: bool) -> bool:
    """Whether the result has this null; MismatchError where it has another one, which is not to be replaced."""
    if overwrite_null:
        return False
    return is_calibrated(old, settle_exchange(study, null))
