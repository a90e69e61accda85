"""Summary of a data set as it was read, so that a person sees a wrong read before a model runs for a week."""

from statistics import median
from typing import Any

import numpy as np

from prh_jax.stores.preview import THUMBNAIL, pack_thumbnail

from .clips import FrameRule
from .media import MEDIA, read_by
from .samples import Dataset

_LONGEST = 200
"""Characters of a text that are kept."""


def preview(data: Dataset, modality: str, caption_index: int | str = 0) -> dict[str, Any]:
    """Counts and kinds of what a modality reads, and the first and last sample, as what JSON can hold.

    Pictures, and clips by the frame in their middle, have a thumbnail of 16 x 16 pixels, decoded as models get them;
    texts are the caption that is read.
    """
    found: dict[str, Any] = {"samples": len(data), "skipped": data.skipped}
    kinds = read_by(modality)
    for kind in kinds:
        if kind == "text":
            found["texts"] = _texts(data, caption_index)
        else:
            found[MEDIA[kind].plural] = dict(sorted(data.kinds[kind].items()))
    for which, row in {"first": 0, "last": len(data) - 1}.items():
        found[which] = {"id": data.ids[row]}
        for kind in kinds:
            found[which] |= _sample(data, row, kind, caption_index)
    return found


def _texts(data: Dataset, index: int | str) -> str:
    captions = [data.captions_of(row, index) for row in range(len(data))]
    counts, lengths = list(map(len, captions)), [len(text) for texts in captions for text in texts]
    each = "one" if {1} == set(counts) else f"{min(counts)} to {max(counts)}"
    return (
        f"{each} for each sample, {min(lengths)} to {max(lengths)} characters (median {median(lengths):g}); "
        f"caption {index}"
    )


def _sample(data: Dataset, row: int, kind: str, index: int | str) -> dict[str, Any]:
    if kind == "text":
        return {"text": data.captions_of(row, index)[0][:_LONGEST]}
    if kind == "audio":
        wave, rate = data.sound(row)
        return {"size": f"{len(wave) / rate:.2f} s at {rate} Hz"}
    from PIL import Image

    picture = data.image(row) if kind == "image" else data.frames(row, FrameRule(1))[0]
    small = np.asarray(picture.resize((THUMBNAIL, THUMBNAIL), resample=Image.Resampling.BOX))
    return {"size": f"{picture.width} x {picture.height} pixels", "thumbnail": pack_thumbnail(small)}
