"""A result taken up again from its provenance: its features found, its null run, or its last tiles scored."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..null.settings import Null
from ..results.alignment import Alignment, load_alignment
from ..results.provenance import Provenance, find_stores
from ..results.storage import read_provenance
from ..stores.location import Place, place
from ..stores.reader import Stores
from ..stores.url import Url
from .align import align
from .settings import recorded_metrics, recorded_settings


def calibrate(
    result: str | Path | Url,
    null: int | Null = 200,
    *,
    stores_x: Stores | None = None,
    stores_y: Stores | None = None,
    overwrite: bool = False,
    memory: int | str | None = None,
    sketch_cache: str | Path | Url | None = None,
    devices: Sequence[Any] | None = None,
    progress: bool | None = None,
) -> Alignment:
    """Calibrate a saved result by permutations, and save the calibration with it.

    Parameters
    ----------
    result
        Path or URL of the result.
    null
        Number of permutations, or a `Null` with its settings.
    stores_x, stores_y
        The feature stores of the result, if they have moved.
    overwrite
        Replace a calibration of other settings.
    memory
        As in `align`.
    sketch_cache
        Folder of sketches that `align` kept. With it the features are not read again.
    devices, progress
        As in `align`.

    Returns
    -------
    Alignment
        The result with its calibration.

    Raises
    ------
    StoreError
        If the stores are missing, or hold other features than those that were scored.
    """
    provenance = load_alignment(result, calibration=False).provenance
    return _align_again(
        place(result),
        provenance,
        stores_x,
        stores_y,
        null=null,
        overwrite_null=overwrite,
        memory=memory,
        sketch_cache=sketch_cache,
        devices=devices,
        progress=progress,
    )


def finish_alignment(
    result: str | Path | Url,
    *,
    stores_x: Stores | None = None,
    stores_y: Stores | None = None,
    memory: int | str | None = None,
    sketch_cache: str | Path | Url | None = None,
    devices: Sequence[Any] | None = None,
    progress: bool | None = None,
) -> Alignment:
    """Complete a result that was interrupted, or whose workers (`align_share`) left tiles unscored.

    Parameters
    ----------
    result
        Path or URL of the result. A complete result is only read.
    stores_x, stores_y
        The feature stores of the result, if they have moved.
    memory, sketch_cache, devices, progress
        As in `align`.

    Returns
    -------
    Alignment
        The complete result.

    Raises
    ------
    StoreError
        If the stores are missing, or hold other features than those that were scored.
    """
    options: dict[str, Any] = {"memory": memory, "sketch_cache": sketch_cache, "devices": devices, "progress": progress}
    return _align_again(place(result), read_provenance(result), stores_x, stores_y, **options)


def _align_again(
    path: Place, provenance: Provenance, stores_x: Stores | None, stores_y: Stores | None, **options: Any
) -> Alignment:
    """`align` as a result was made, on the stores given or on those it names."""
    if stores_x is None:
        stores_x = find_stores(str(path), provenance.stores("x"), "x")
        stores_y = find_stores(str(path), provenance.stores("y"), "y") if provenance.stores_y else None
    return align(
        stores_x,
        stores_y,
        recorded_metrics(provenance),
        output=path,
        **recorded_settings(provenance),
        **options,
    )
