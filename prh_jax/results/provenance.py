"""Origin of a result: samples, features, settings and versions, recorded with every score."""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import NotFoundError
from ..stores.location import Place, place
from ..stores.shown import plain_name


@dataclasses.dataclass(frozen=True)
class MetricRecord:
    """A metric that was scored: its name and settings, which way is closer, and where it is defined.

    `symmetric` says whether both orders of two layers have one score; None where a result does not say.
    """

    name: str
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    larger_is_closer: bool = True
    source: str = ""
    symmetric: bool | None = None


@dataclasses.dataclass(frozen=True)
class ModelRecord:
    """A model that was scored.

    Attributes
    ----------
    label
        Its name in the result.
    spec, spec_sha256
        Settings of the extraction, and their hash.
    contents
        Hash of its features and samples.
    result
        Numbers that extraction recorded, such as `bits_per_byte`.
    dtype
        In which features are stored.
    layers
        Name and width of each layer, in order.
    assigned
        Numbers and texts that `Alignment.assign` gave it.
    """

    label: str
    spec: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    spec_sha256: str = ""
    contents: str = ""
    result: Mapping[str, Any] | None = None
    dtype: str = ""
    layers: Sequence[Sequence[Any]] = ()
    assigned: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def widths(self) -> list[int]:
        """Width of each layer."""
        return [width for _, width in self.layers]

    @property
    def recorded(self) -> dict[str, Any]:
        """All that extraction recorded and was asked for, by name; what was assigned goes before it."""
        return {**(self.result or {}), **self.spec, **self.assigned}


NOT_THE_STUDY = {
    *("pair", "normalize_ids", "by_position", "samples", "partners"),  # contents and ids tell what they came to
    *("device", "versions", "stores_x", "stores_y"),
}
"""Fields that tell where and with what a study was run, not what it is."""


@dataclasses.dataclass(frozen=True)
class Provenance:
    """Origin of the scores of a result, and where and with which versions they were made.

    Attributes
    ----------
    n, ids_sha256
        Number of samples, and the hash of their ids in order.
    preprocess
        Settings of `Preprocess`.
    metrics
        The metrics by the key of their scores.
    models_x, models_y
        The models of either side.
    stores_x, stores_y
        Paths of their feature stores; `stores_y` is None where x was scored with itself.
    precision, device, versions
        Numerics, the kind of device, and the versions of packages.
    pair
        "exact", or "inner" where stores were cut down to the samples that all of them hold.
    by_position
        Whether features in memory came without ids, so that row i of one model was paired with row i of another.
    normalize_ids
        Whether ids were compared in Unicode's composed form.
    samples
        Where not all samples of the stores were scored: "of" how many, and "rows", ranges [start, stop) of those that
        were.
    partners
        Where many rows of a side are paired with one of the other: its name ("x" or "y"), and the id of the partner of
        each row.
    groups, exclude_own_group
        The group of each sample, and whether a sample's own group holds none of its neighbours.
    """

    n: int
    metrics: Mapping[str, MetricRecord]
    ids_sha256: str = ""
    preprocess: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    models_x: Sequence[ModelRecord] = ()
    models_y: Sequence[ModelRecord] = ()
    stores_x: Sequence[str | None] | None = None
    stores_y: Sequence[str | None] | None = None
    precision: str = ""
    device: str = ""
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    pair: str = "exact"
    normalize_ids: bool = False
    by_position: bool = False
    samples: Mapping[str, Any] | None = None
    partners: Mapping[str, Sequence[str]] | None = None
    groups: Sequence[int] | None = None
    exclude_own_group: bool = False

    @classmethod
    def of(cls, record: "Provenance | Mapping[str, Any]") -> "Provenance":
        """From the mapping that a result holds on disk; KeyError or TypeError where it cannot be used."""
        if isinstance(record, Provenance):
            return record
        known = {field.name for field in dataclasses.fields(cls)}
        made = {name: value for name, value in record.items() if name in known}
        made["metrics"] = {
            key: _record(MetricRecord, {"name": key, **entry}) for key, entry in record["metrics"].items()
        }
        for side in ("models_x", "models_y"):
            made[side] = [_record(ModelRecord, entry) for entry in record.get(side) or ()]
        return cls(**made)

    def to_dict(self) -> dict[str, Any]:
        """As what JSON can hold: the `protocol` of a result."""
        made = dataclasses.asdict(self)
        if self.groups is None:
            del made["groups"], made["exclude_own_group"]
        for name in ("normalize_ids", "by_position", "samples", "partners"):
            if not made[name]:
                del made[name]
        for model in (*made["models_x"], *made["models_y"]):
            if not model["assigned"]:
                del model["assigned"]
        return made

    def sign(self, metric: str) -> int:
        """+1 where larger scores are closer, else -1: scores times it have their best at the top."""
        return 1 if self.larger_is_closer(metric) else -1

    def larger_is_closer(self, metric: str) -> bool:
        """Whether the larger score of a metric is the closer one."""
        return self.metrics[metric].larger_is_closer

    def models(self, side: str) -> Sequence[ModelRecord]:
        """The models of side "x" or "y"."""
        return self.models_x if side == "x" else self.models_y

    def stores(self, side: str) -> Sequence[str | None] | None:
        """Paths of the feature stores of side "x" or "y"; None where they are not known."""
        return self.stores_x if side == "x" or self.stores_y is None else self.stores_y

    def same_study(self, other: "Provenance") -> bool:
        """Whether two studies score the same features in the same way, on whatever machine and versions."""
        left, right = (json.loads(json.dumps(p.to_dict())) for p in (self, other))
        for study in (left, right):  # a property of the metric: what was written earlier does not tell it
            study["metrics"] = {key: metric | {"symmetric": None} for key, metric in study["metrics"].items()}
            for model in (*study["models_x"], *study["models_y"]):
                model.pop("assigned", None)
        return all(left.get(key) == right.get(key) for key in (left.keys() | right.keys()) - NOT_THE_STUDY)


def joined_versions(protocols: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`device` and `versions` of what several studies made together; "a and b" where they differ."""

    def both(values: Iterable[Any]) -> Any:
        found = list(dict.fromkeys(value for value in values if value is not None))
        return found[0] if len(found) == 1 else " and ".join(map(str, found))

    names = dict.fromkeys(name for protocol in protocols for name in protocol.get("versions", {}))
    versions = {name: both(protocol.get("versions", {}).get(name) for protocol in protocols) for name in names}
    return {"device": both(protocol.get("device") for protocol in protocols), "versions": versions}


def _record(kind: type, entry: Mapping[str, Any]) -> Any:
    """A record from a mapping, which may hold more than this version knows."""
    return kind(**{field.name: entry[field.name] for field in dataclasses.fields(kind) if field.name in entry})


def origin_lines(provenance: Provenance, null: dict[str, Any] | None) -> list[tuple[str, str]]:
    """Provenance and the settings of the null as (word, text), for the terminal and the report."""
    preprocess = provenance.preprocess
    clip = preprocess.get("clip_quantile", 1.0)
    clipped = f"clipped at quantile {clip:g} ({preprocess['scope']})" if clip < 1 else "not clipped"
    rows = "rows of unit length" if preprocess.get("normalize") else "rows as they are"
    paired = "by position (row i with row i)" if provenance.by_position else provenance.pair
    if provenance.partners:
        (side, partners), *_ = provenance.partners.items()
        paired = f"each row of {side} with one of {len(set(partners))} of {'y' if side == 'x' else 'x'}"
    count = f"{provenance.n} of {provenance.samples['of']}" if provenance.samples else f"{provenance.n}"
    lines = [
        ("samples", f"{count}, ids {provenance.ids_sha256[:12]}, paired {paired}"),
        ("features", f"{clipped}, {rows}"),
        ("precision", f"{provenance.precision}, on {provenance.device}"),
        ("versions", ", ".join(f"{name} {text}" for name, text in provenance.versions.items())),
    ]
    if provenance.groups is not None:
        own = ", a sample's own left out of its neighbours" * provenance.exclude_own_group
        lines.append(("groups", f"{len(set(provenance.groups))}{own}"))
    for key, metric in provenance.metrics.items():
        settings = ", ".join(f"{name}={value}" for name, value in metric.settings.items())
        lines.append(("metric", f"{key}: {settings or 'no settings'}"))
    alike = provenance.models("x") == provenance.models("y")
    for side in "x" if alike else "xy":
        for model in provenance.models(side):
            widths = model.widths
            width = f"{min(widths, default=0)}" if len(set(widths)) < 2 else f"{min(widths)}-{max(widths)}"
            what = f"{len(widths)} layers x {width}, {model.dtype}, contents {model.contents[:12]}"
            what += "".join(f", {plain_name(name)} {_told(told)}" for name, told in model.assigned.items())
            lines.append(("model" if alike else f"model {side}", f"{plain_name(model.label)}: {what}"))
    if null is not None:
        settings = null["null"]
        orders = "all orders" if null["exact"] else f"{settings['orders']} orders, seed {settings['seed']}"
        orders += " of whole groups" if settings.get("exchange") == "whole" else ""
        lines.append(("null", f"{orders}, level {settings['alpha']:g}, {settings['aggregate']} over layer pairs"))
    return lines


def _told(value: Any) -> str:
    """A value that was assigned to a model, in as many digits as a reader needs."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:.6g}"
    return plain_name(value)


def find_stores(result: str, recorded: Sequence[str | None] | None, side: str) -> list[Place]:
    """The stores that a result was made from (None: a merged one does not say); StoreError where one is not there.

    Those at URLs are looked for when they are opened.
    """
    paths = [place(path) for path in recorded or () if path is not None]
    missing = [path for path in paths if isinstance(path, Path) and not path.exists()]
    if missing or not paths or len(paths) < len(recorded or ()):
        what = f"{missing[0]} is not there" if missing else "it does not say where they are"
        raise NotFoundError(
            f"The features that {result} was made from are needed, but {what}. Say where the stores of side {side} "
            f"are: stores_{side}=, or --{side} of `prh align` (which resumes a result) and `prh calibrate`."
        )
    return paths
