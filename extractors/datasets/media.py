"""Kinds of samples that are files: pictures, sounds and clips; which kind the models of a modality read."""

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import ExtractionError
from . import clips, pictures, sounds


@dataclass(frozen=True)
class Medium:
    """One kind of samples that are files.

    Attributes
    ----------
    column
        Name of its column in a data set, unless another is named.
    noun, plural
        A sample of it, and several.
    models
        Models that read it, for messages.
    decoded
        How it is decoded, for records.
    kind_of
        From the bytes of a file to what it is, from its header alone.
    """

    column: str
    noun: str
    plural: str
    models: str
    decoded: str
    kind_of: Callable[[bytes | None], str]


MEDIA = {
    "image": Medium("image", "picture", "pictures", "vision", pictures.DECODED, pictures.kind_of),
    "audio": Medium("audio", "sound", "sounds", "audio", sounds.DECODED, sounds.kind_of),
    "video": Medium("video", "clip", "clips", "video", clips.DECODED, clips.kind_of),
}
"""By the name of their column."""

READS: dict[str, tuple[str, ...]] = {
    "language": ("text",),
    "language-decoder": ("text",),
    "vision": ("image",),
    "audio": ("audio",),
    "video": ("video",),
    "vision-language": ("image", "text"),
    "vision-language-image": ("image",),
    "vision-language-text": ("text",),
}
"""The columns that models of a modality read."""


def read_by(modality: str) -> tuple[str, ...]:
    """The columns that models of a modality read; ExtractionError for a word that no model of ours is of."""
    if modality not in READS:
        raise ExtractionError(
            f"No model here reads the modality {modality!r}; models by name are of {', '.join(READS)}. "
            "extractors.extract_module writes features of any torch module, under any word."
        )
    return READS[modality]
