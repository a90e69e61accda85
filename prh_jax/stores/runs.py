"""Several processes at one place: whose it is, and whether what they marked as done is what is there."""

import json
import uuid
import zlib
from typing import Any

import numpy as np

from ..errors import ExistsError, StoreError
from .location import Place, open_group


def new_run() -> str:
    """A name for a store that is begun now, unlike all others."""
    return uuid.uuid4().hex


def attributes_at(path: Place) -> dict[str, Any]:
    """The attributes of the store or result at a path as they are now; ExistsError where it is gone."""
    try:
        return dict(open_group(path).attrs)
    except StoreError:
        raise
    except Exception as error:  # zarr raises many kinds for a folder that is gone
        raise ExistsError(f"{path} was removed while this process wrote to it; it stops here.") from error


def check_run(path: Place, run: Any, there: dict[str, Any] | None = None) -> None:
    """ExistsError where what is at `path` is not what was opened: another process has made it again, or removed it.

    Parameters
    ----------
    path
        Of a store or result.
    run
        Its `run` when it was opened; None of one that an earlier version made.
    there
        Its attributes now, if they are at hand.
    """
    if (attributes_at(path) if there is None else there).get("run") != run:
        raise ExistsError(
            f"{path} was made again by another process while this one wrote to it, so this one stops. Nothing of it is "
            "in what is there now; name another place for it."
        )


def mark_of(place: Any, *arrays: np.ndarray) -> int:
    """A mark, above 0, of arrays written at a place: other contents, another run or another place give another one."""
    checksum = zlib.crc32(json.dumps(place).encode())
    for array in arrays:
        checksum = zlib.crc32(np.ascontiguousarray(array).tobytes(), checksum)
    return max(checksum, 1)
