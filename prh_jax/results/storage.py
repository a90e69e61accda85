"""Results in Zarr: schemas, hashes, and how one is begun."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xarray as xr
import zarr
from zarr.codecs import Crc32cCodec

from ..errors import CorruptError, ExistsError, IncompleteError, MismatchError, NotFoundError, StoreError
from ..stores.location import Place, open_group, place, store_at
from ..stores.publish import Build, claim, publish
from ..stores.target import check_replaceable, check_target
from ..stores.url import Url
from .provenance import Provenance

FINAL, GROWING = "calibration", "calibration_growing"


SCHEMA = "prh-jax/alignment/1"


def digest(dataset: xr.Dataset, settings: dict[str, Any] | None = None) -> str:
    """SHA-256 of all numbers and labels, and of settings: what is on disk is held against it when it is read."""
    found = hashlib.sha256(b"" if settings is None else json.dumps(settings, sort_keys=True).encode())
    for name in sorted(map(str, dataset.variables)):
        values = dataset[name].values
        found.update(name.encode())
        numeric = values.dtype.kind in "fiu"
        found.update(values.tobytes() if numeric else json.dumps([str(value) for value in values]).encode())
    return found.hexdigest()


def form_digest(dataset: xr.Dataset) -> str:
    """SHA-256 of the dimensions and types of all variables, texts of any kind being one: what `digest` leaves open."""
    kinds = {name: str(v.dtype) if v.dtype.kind in "fiu" else "text" for name, v in dataset.variables.items()}
    found = sorted([str(name), list(map(str, dataset[name].dims)), kind] for name, kind in kinds.items())
    return text_digest(json.dumps(found))


def text_digest(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def create_result(
    dataset: xr.Dataset,
    provenance: Provenance,
    path: Place,
    *,
    overwrite: bool,
    parts: Sequence[Build] = (),
    **attributes: Any,
) -> Place:
    """A result at `path`; a running one, of which attributes tell the size of `tile`s, for others to fill too.

    `parts` write what comes with it.
    """
    check_target(path)
    if path.exists() and not overwrite:
        raise ExistsError(
            f"{path} already exists. Choose another path, or overwrite it with --force-remake (overwrite=True)."
        )
    check_replaceable(path, SCHEMA)
    hashes = {"sha256": digest(dataset), "form_sha256": form_digest(dataset)}
    # equal studies have equal tiles, whoever scores them: what a run is called tells studies apart, and no more
    run = text_digest(json.dumps([provenance.to_dict(), hashes["form_sha256"], dict(dataset.sizes)]))[:32]
    attributes = {"status": "complete", "run": run} | hashes | attributes
    begin = publish if attributes["status"] == "complete" else claim
    builds = [result_builder(dataset, provenance, **attributes), *parts]

    def build(store: Any) -> None:
        for each in builds:
            each(store)

    begin(build, path, overwrite=overwrite)
    return path


def result_builder(dataset: xr.Dataset, provenance: Provenance, **attributes: Any) -> Build:
    """Function that writes a result; of a running one labels, and matrices without a tile or a mark.

    A mark records what the tile holds (see `mark_of`), 0 that it is not done.
    """
    protocol = json.dumps(provenance.to_dict())
    described = {"schema": SCHEMA, "protocol": protocol, "protocol_sha256": text_digest(protocol)}
    dataset = dataset.assign_attrs(described | attributes)
    encoding: dict[Any, dict[str, Any]] = {name: {"compressors": [Crc32cCodec()]} for name in dataset.variables}
    tiles: dict[str, int] = attributes.get("tile", {})
    for key, tile in tiles.items():
        encoding[key]["chunks"] = (tile, tile)

    def build(store: Any) -> None:
        dataset.to_zarr(store, zarr_format=3, consolidated=False, encoding=encoding)
        group = zarr.open_group(store, mode="r+")
        for key, tile in tiles.items():
            shape = tuple(-(-size // tile) for size in dataset[key].shape)
            group.create_array(f"done/{key}", shape=shape, chunks=(1, 1), dtype="uint32", fill_value=0)

    return build


def read_result(path: Place) -> tuple[xr.Dataset, Provenance, str]:
    """Scores, provenance and `digest` of a finished result; StoreError where there is none or it is damaged."""
    if not (path.is_dir() if isinstance(path, Path) else (path / "zarr.json").exists()):
        what = "is a file, not a result" if isinstance(path, Path) else "holds something, but no result"
        raise NotFoundError(f"{path} {what if path.exists() else 'does not exist'}. `prh align` makes results.")
    try:
        dataset = xr.open_zarr(store_at(path), consolidated=False).load()
    except Exception as error:  # xarray and zarr raise many kinds for a broken or foreign folder
        raise CorruptError(f"{path} could not be read as a result: {error}") from error
    schema = dataset.attrs.pop("schema", None)
    if schema != SCHEMA:
        raise MismatchError(f"{path} has schema {schema!r}, but this version of prh-jax reads {SCHEMA!r}.")
    for name in ("tile", "run"):
        dataset.attrs.pop(name, None)
    if dataset.attrs.pop("status", None) != "complete":
        raise IncompleteError(f"{path} is unfinished. Run the same `prh align` again; it goes on where it stopped.")
    damaged = f"{path} is damaged: {{}}. Make it again with --force-remake (overwrite=True)."
    try:
        text, recorded = dataset.attrs.pop("protocol"), dataset.attrs.pop("sha256")
        provenance, described = Provenance.of(json.loads(text)), dataset.attrs.pop("protocol_sha256", None)
        names, form = list(provenance.metrics), dataset.attrs.pop("form_sha256", None)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CorruptError(damaged.format(f"its attributes cannot be used ({error!r})")) from error
    if described not in (None, text_digest(text)):
        raise CorruptError(damaged.format("its record of what was scored, and how, does not match its hash"))
    if digest(dataset) != recorded or form not in (None, form_digest(dataset)):
        raise CorruptError(damaged.format("its scores and labels do not match their recorded hash"))
    texts = {name: (c.dims, c.values.astype(object)) for name, c in dataset.coords.items() if c.dtype.kind == "T"}
    return dataset.assign_coords(texts)[names], provenance, recorded


def read_provenance(path: str | Path | Url) -> Provenance:
    """The provenance of a result, finished or not; StoreError where there is none."""
    try:
        attributes = open_group(place(path)).attrs
        if attributes["schema"] == SCHEMA:
            return Provenance.of(json.loads(str(attributes["protocol"])))
    except Exception as error:  # zarr raises many kinds for a broken or foreign folder
        raise CorruptError(f"{path} could not be read as a result: {error}") from error
    raise NotFoundError(f"{path} is not a result of `prh align`.")


def check_scores(path: Place, scores: str) -> None:
    """ExistsError where the result at `path` does not hold the scores of this `digest`: made again, or removed."""
    try:
        there = open_group(path).attrs.get("sha256")
    except StoreError:
        raise
    except Exception as error:  # zarr raises many kinds for a folder that is gone
        raise ExistsError(f"{path} was removed while its null was run, so the null stops here.") from error
    if there != scores:
        raise ExistsError(
            f"{path} was made again by another process while its null was run, so the null stops. Nothing of it counts "
            "for what is there now; calibrate that, once it is finished."
        )


def is_running(path: Place) -> bool:
    """Whether an unfinished result is at `path`."""
    try:
        return open_group(path).attrs.get("status") == "running"
    except Exception:  # zarr raises many kinds for a broken or foreign folder; whoever reads it next will say
        return False
