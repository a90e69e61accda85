"""Broken samples found before any model is loaded, and left out where that was asked for."""

import sys
from concurrent.futures import ThreadPoolExecutor

from prh_jax.runtime.progress import progress

from ..errors import ExtractionError
from .clips import FrameRule
from .media import read_by
from .samples import Dataset, some


def leave_out_broken(data: Dataset, modality: str, caption_index: int | str = 0) -> Dataset:
    """The data set without samples whose file cannot be read, or whose caption is missing or empty.

    Every picture, sound or clip is decoded once, by threads; which samples are left out is said on standard error, how
    many is part of the data set's identity. ExtractionError when none is left.
    """
    found: set[int] = set()
    for kind in read_by(modality):
        if kind == "text":
            found.update(*data.without_caption(caption_index))
            continue
        medium = data.check_media(kind)
        with ThreadPoolExecutor() as pool:
            readable = pool.map(lambda row: _reads(data, row, kind), range(len(data)))  # noqa: B023
            shown = progress(readable, "checking", medium.plural, total=len(data))
            found.update(row for row, fine in enumerate(shown) if not fine)
    broken = sorted(found)
    if not broken:
        return data
    if len(broken) == len(data):
        raise ExtractionError(f"All {len(data)} samples of {data.name} are broken for {modality} models.")
    names = some([data.ids[row] for row in broken])
    print(f"{data.name}: {len(broken)} samples are broken for {modality} models and left out: {names}", file=sys.stderr)
    without = set(broken)
    return data.select([row for row in range(len(data)) if row not in without])


def _reads(data: Dataset, row: int, kind: str) -> bool:
    try:
        if kind == "image":
            data.image(row)
        elif kind == "audio":
            data.sound(row)
        else:
            data.frames(row, FrameRule(1))
    except ExtractionError:
        return False
    return True
