"""Tensors by name in .safetensors, which holds nothing but numbers."""

from collections.abc import Sequence
from pathlib import Path

import ml_dtypes  # noqa: F401  numpy knows bfloat16 by it

from ..errors import ExtractionError
from .found import IDS, Found, choose, ids_of, library, natural, unreadable


def read_safetensors(source: Path, keys: Sequence[str] | None) -> Found:
    """The tensors of a file, in natural order; `ids` may be a tensor of whole numbers."""
    safetensors = library("safetensors", source)
    try:
        with safetensors.safe_open(str(source), framework="numpy") as content:
            there = list(content.keys())
            names = choose(source, natural(name for name in there if name != IDS), keys)
            arrays = {}
            for name in names:
                try:
                    arrays[name] = content.get_tensor(name)
                except (TypeError, AttributeError) as error:  # of 8 bits and fewer
                    kind = content.get_slice(name).get_dtype()
                    raise ExtractionError(
                        f"{source} holds {name!r} of type {kind}, which numpy has no form for: save it as float32 or "
                        "bfloat16."
                    ) from error
            ids = content.get_tensor(IDS) if IDS in there else None
    except (safetensors.SafetensorError, OSError, MemoryError) as error:
        raise unreadable(source, "safetensors", error) from error
    return Found(arrays, None if ids is None else ids_of(source, ids))
