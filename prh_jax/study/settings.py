"""How a study is scored, and with what."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ..engine.preprocess import Preprocess
from ..metrics.base import Metric
from ..metrics.registry import make_metric
from ..results.provenance import Provenance
from ..stores.pairing import Pair
from ..stores.samples import Samples, mask_of_runs
from ..stores.url import Url

Metrics = Sequence[str | Metric] | Mapping[str, Metric] | str | Metric
"""Names, or metrics, one or many; a mapping gives each the key of its scores."""
Precision = Literal["float32", "bfloat16"]
PRECISIONS: dict[Precision, str] = {
    "float32": "float32, products at HIGHEST",
    "bfloat16": "Gram matrices of features rounded to bfloat16, summed in float32",
}


@dataclasses.dataclass(frozen=True)
class StudySettings:
    """How a study is scored, and with what: the keywords of `align` of the same names, which describes each."""

    preprocess: Preprocess | None = None
    pair: Pair = "exact"
    normalize_ids: bool = False
    ids: Iterable[Any] | None = None
    samples: Samples | None = None
    exclude: Samples | None = None
    groups: Iterable[Any] | str | None = None
    exclude_own_group: bool = False
    memory: int | str | None = None
    sketch_cache: str | Path | Url | None = None
    devices: Sequence[Any] | None = None
    precision: Precision = "float32"

    def ids_of(self, side: str) -> Iterable[Any] | None:
        """The ids given for features in memory on a side."""
        return self.ids.get(side) if isinstance(self.ids, Mapping) else self.ids

    def __post_init__(self):
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision is one of {', '.join(PRECISIONS)}, got {self.precision!r}.")
        if not isinstance(self.pair, Mapping) and self.pair not in ("exact", "inner"):
            raise ValueError(f"pair is 'exact', 'inner', or {{'x': an id of y for each row of x}}, got {self.pair!r}.")
        if isinstance(self.pair, Mapping) and self.groups is not None:
            raise ValueError("pair= makes groups of the rows that have one partner: leave out groups=.")


def recorded_settings(provenance: Provenance) -> dict[str, Any]:
    """The keywords of `align` with which a result was made, for more of the same study."""
    return {
        "preprocess": Preprocess(**provenance.preprocess),
        "pair": provenance.partners or provenance.pair,
        "normalize_ids": provenance.normalize_ids,
        "samples": mask_of_runs(**provenance.samples) if provenance.samples else None,
        "groups": None if provenance.partners else provenance.groups,
        "exclude_own_group": provenance.exclude_own_group,
        "precision": next(name for name, words in PRECISIONS.items() if words == provenance.precision),
    }


def recorded_metrics(provenance: Provenance) -> dict[str, Metric]:
    """The metrics of a result by the keys of their scores."""
    return {key: make_metric(record.name, **record.settings) for key, record in provenance.metrics.items()}
