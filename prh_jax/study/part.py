"""Parts of a study: the pairs that a result lacks, scored as a study made at once scores them."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ..engine.sketch_bank import SketchBank
from ..results.alignment import Alignment
from ..results.assigned import keep_assigned
from ..results.provenance import joined_versions
from ..runtime.progress import report_progress
from ..sketches.base import SketchContext, Sketcher
from ..stores.location import Place
from ..stores.source import ModelSource
from .run import run_study
from .study import Study


@dataclasses.dataclass(frozen=True, eq=False)
class StudyPart(Study):
    """Some models and metrics of a study, scored as all of it is: to the bit, and with the same sketches."""

    whole: Study

    @classmethod
    def of(
        cls, whole: Study, metrics: Sequence[str], xs: list[ModelSource], ys: list[ModelSource] | None
    ) -> "StudyPart":
        """The part of a study that scores some metrics of models `xs` with `ys`, with themselves if None."""
        fields = {field.name: getattr(whole, field.name) for field in dataclasses.fields(Study)}
        fields |= {"metrics": {key: whole.metrics[key] for key in metrics}}
        fields |= {"xs": xs, "ys": xs if ys is None else ys, "same": ys is None, "whole": whole}
        return cls(**fields)

    @cached_property
    def context(self) -> SketchContext:
        """Context of the whole study."""
        return self.whole.context

    @cached_property
    def sketchers(self) -> dict[str, Sketcher]:
        """Sketchers of the whole study, for the metrics of this part."""
        return {key: self.whole.sketchers[key] for key in self.metrics}

    @property
    def _held(self) -> int:
        return self.whole._held

    @property
    def longest_side(self) -> int:
        """Longest side of the whole study."""
        return self.whole.longest_side

    @cached_property
    def bank(self) -> SketchBank:
        """Sketches of the whole study."""
        return self.whole.bank

    def clean_up(self) -> None:
        """Leave the sketches to the whole study."""


def part_name(study: Study, null: dict[str, Any] | None = None) -> str:
    """Name of a part next to the result: from its scores and its null."""
    text = json.dumps([study.provenance.to_dict(), null], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def score_lacking(
    old: Alignment, study: Study, kept: Sequence[str], counts: tuple[int, ...], folder: Place | None, quiet: bool | None
) -> Alignment:
    """The scores of all models: those of the result, and those that it lacks."""
    a, b = counts
    every = {"x": study.xs, "y": study.ys}
    left = [key for key in kept if not (study.same and study.metrics[key].symmetric)]
    again = [key for key in study.metrics if key not in kept]
    parts: list[tuple[list[str], Any, Any, tuple[slice, slice]]] = []
    if study.ys[b:] and kept:  # symmetric metrics: the upper triangle, as in a study made at once
        xs = every["x"] if study.same else every["x"][:a]
        parts.append((list(kept), xs, every["y"][b:], (slice(0, len(xs)), slice(b, None))))
    if study.xs[a:] and left:
        ys = every["y"][:b] if study.same else every["y"]
        parts.append((left, every["x"][a:], ys, (slice(a, None), slice(0, len(ys)))))
    models = {side: [len(store.layers) for store in every[side]] for side in "xy"}
    edges = {side: np.cumsum([0, *models[side]]) for side in "xy"}
    shape = (edges["x"][-1], edges["y"][-1])
    matrices = {key: np.full(shape, np.nan, np.float32) for key in study.metrics}
    for key in kept:
        matrices[key][: edges["x"][a], : edges["y"][b]] = old.dataset[key].transpose("layer_x", "layer_y").values
    count = {key: sum(len(xs) * len(ys) for keys, xs, ys, _ in parts if key in keys) for key in kept}
    total = len(study.xs) * len(study.ys)
    added = (len(study.xs) - a, len(study.ys) - b)
    new = f"{added[0]} new models" if study.same else f"{added[0]} + {added[1]} new models"
    most = total if again else max(count.values(), default=0)
    report_progress(f"{new}, {len(again)} metrics again: {most} of {total} model pairs are to be scored.", quiet)
    for keys, xs, ys, where in parts:
        part = _run(study, keys, xs, ys, folder, quiet)
        rows, columns = (
            slice(edges[side][span.start], edges[side][span.stop if span.stop is not None else len(every[side])])
            for side, span in zip("xy", where, strict=True)
        )
        for key in keys:
            matrices[key][rows, columns] = part.dataset[key].values
    if again:
        part = _run(study, again, study.xs, None if study.same else study.ys, folder, quiet)
        for key in again:
            matrices[key][...] = part.dataset[key].values
    for key, metric in study.metrics.items():
        if study.same and metric.symmetric:
            lower = np.tril_indices(shape[0], -1)
            matrices[key][lower] = matrices[key].T[lower]
    dataset = study.labelled().assign({key: (("layer_x", "layer_y"), values) for key, values in matrices.items()})
    recorded = old.provenance.to_dict(), study.provenance.to_dict()
    provenance = dataclasses.replace(study.provenance, **joined_versions(recorded))
    return Alignment(dataset, keep_assigned(provenance, [old.provenance]))


def _run(
    study: Study, keys: Sequence[str], xs: Any, ys: Any | None, folder: Place | None, quiet: bool | None
) -> Alignment:
    part = StudyPart.of(study, keys, xs, ys)
    alignment = run_study(part, None if folder is None else folder / f"{part_name(part)}.zarr", quiet=quiet)
    assert alignment is not None, "a study of one process leaves no tiles to others"
    return alignment
