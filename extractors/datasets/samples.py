"""Samples in one fixed order: ids, captions, pictures, sounds and clips, with a hash of their content."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from prh_jax.runtime.progress import progress

from ..errors import ExtractionError, MissingExtraError
from . import clips, sounds
from .media import MEDIA, Medium
from .pictures import as_rgb, decode, stored_bytes


@dataclass(frozen=True)
class Dataset:
    """Samples in order: sample i has ids[i], the captions texts[i] and the file media["image"][i], and so on."""

    name: str
    revision: str | None
    split: str | None
    ids: list[str]
    texts: list[list[str]] | None
    media: Mapping[str, Sequence[Any]] = field(repr=False)
    """Encoded files of each kind in `MEDIA`: "image", "audio", "video"."""
    content_sha256: str = ""
    skipped: int = 0
    kinds: Mapping[str, dict[str, int]] = field(default_factory=dict)
    """Number of files of each kind, by `Medium.kind_of`, for each of the media."""
    config: str | None = None
    """The configuration, of a data set of the hub that has several."""

    @classmethod
    def of(
        cls,
        name: str,
        revision: str | None,
        split: str | None,
        ids: list[str],
        texts: list[list[str]] | None,
        media: Mapping[str, Sequence[Any]],
        *,
        skipped: int = 0,
        config: str | None = None,
    ) -> "Dataset":
        """A data set whose samples are read once, for the hash of their content and the kinds of files."""
        digest, kinds = _read(ids, texts, media)
        return cls(name, revision, split, ids, texts, media, digest, skipped, kinds, config)

    def __len__(self) -> int:
        return len(self.ids)

    def identity(self) -> dict[str, Any]:
        """Record of the data in a feature store."""
        identity = {
            "name": self.name,
            "revision": self.revision,
            "split": self.split,
            "n": len(self),
            "content_sha256": self.content_sha256,
        }
        for kind in self.media:
            identity[MEDIA[kind].plural] = MEDIA[kind].decoded
        if self.config is not None:
            identity["config"] = self.config
        return {**identity, "skipped": self.skipped} if self.skipped else identity

    def select(self, rows: Sequence[int]) -> "Dataset":
        """The same data set with some samples left out, which its identity records."""
        texts = [self.texts[i] for i in rows] if self.texts is not None else None
        media = {kind: Rows(files, rows) for kind, files in self.media.items()}
        ids = [self.ids[i] for i in rows]
        skipped = self.skipped + len(self) - len(ids)
        more: dict[str, Any] = {"skipped": skipped, "config": self.config}
        return Dataset.of(self.name, self.revision, self.split, ids, texts, media, **more)

    def captions(self, index: int | str = 0) -> list[str]:
        """Caption `index` of every sample; ExtractionError naming samples where there is none or it is empty."""
        self.check_captions(index)
        return [self.captions_of(row, index)[0] for row in range(len(self))]

    def captions_of(self, row: int, index: int | str = 0) -> list[str]:
        """Caption `index` of one sample, or all of them ("all")."""
        captions = self._texts()[row]
        return captions if isinstance(index, str) else [captions[index]]

    def without_caption(self, index: int | str = 0) -> tuple[list[int], list[int]]:
        """Rows where there is no caption `index` (or none at all), and rows where it (or any, of all) is empty."""
        short, empty = [], []
        for row, texts in enumerate(self._texts()):
            if not texts if isinstance(index, str) else not -len(texts) <= index < len(texts):
                short.append(row)
            elif not all(text.strip() for text in self.captions_of(row, index)):
                empty.append(row)
        return short, empty

    def check_captions(self, index: int | str = 0) -> None:
        """ExtractionError naming samples where caption `index` is missing or empty."""
        short, empty = ([self.ids[row] for row in rows] for rows in self.without_caption(index))
        if short:
            raise ExtractionError(
                f"{len(short)} samples of {self.name} have no caption {index}, such as {some(short)}. "
                "Choose another --caption-idx, or leave them out with --on-error skip."
            )
        if empty:
            raise ExtractionError(
                f"Caption {index} of {len(empty)} samples of {self.name} is empty: {some(empty)}. An empty text has "
                "no features; leave those samples out with --on-error skip, or choose another --caption-idx."
            )

    def _texts(self) -> list[list[str]]:
        if self.texts is None:
            raise ExtractionError(f"{self.name} has no texts; language models need a column `text` (--text-column).")
        return self.texts

    @property
    def pictures(self) -> Sequence[Any] | None:
        """The encoded pictures, if there are any."""
        return self.media.get("image")

    def check_media(self, kind: str) -> Medium:
        """Raise an ExtractionError where there are no files of a kind at all."""
        medium = MEDIA[kind]
        if kind not in self.media:
            animated = " If its pictures are animated, give --video-column image." if self.pictures is not None else ""
            told = f"{self.name} has no {medium.plural}"
            if self.media and Path(self.name).is_dir():
                read = " and ".join(MEDIA[other].plural for other in self.media)
                told += (
                    f" among its samples, which are {read}. If there are {medium.plural} in the folder too, extract "
                    f"{medium.models} models by a command of their own"
                )
            raise ExtractionError(
                f"{told}; {medium.models} models need a column `{kind}` (--{kind}-column)."
                + (animated if kind == "video" else "")
            )
        return medium

    def image(self, index: int) -> Any:
        """Picture of one sample as a PIL image in RGB, as a person sees it (see `pictures`)."""
        return self._decoded("image", index, lambda picture: as_rgb(decode(picture)))

    def images(self) -> Sequence[Any]:
        """The pictures of all samples in order, each decoded when it is asked for: for `extract_module`."""
        self.check_media("image")
        return _Images(self)

    def sound(self, index: int) -> tuple[np.ndarray, int]:
        """Sound of one sample, (n,) in float32, and its rate in Hz."""
        return self._decoded("audio", index, lambda sound: sounds.decode(_bytes_of(sound)))

    def frames(self, index: int, rule: clips.FrameRule) -> list[Any]:
        """Frames of one sample's clip that a rule chooses, as PIL images in RGB."""
        return self._decoded("video", index, lambda clip: clips.frames(_bytes_of(clip), rule, self.ids[index]))

    def _decoded(self, kind: str, index: int, decoded: Callable[[Any], Any]) -> Any:
        noun = self.check_media(kind).noun
        try:
            return decoded(self.media[kind][index])
        except MissingExtraError:
            raise
        except Exception as error:  # decoders raise many kinds for damaged files
            raise ExtractionError(
                f"The {noun} of sample {self.ids[index]!r} of {self.name} cannot be read ({error}). Repair it, or "
                "leave broken samples out with --on-error skip."
            ) from error


@dataclass(frozen=True)
class _Images(Sequence):
    data: Dataset

    @property
    def ids(self) -> list[str]:
        return self.data.ids

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: Any) -> Any:
        return self.data.image(range(len(self.data))[index])


def _bytes_of(file: Any) -> bytes:
    stored = stored_bytes(file)
    if stored is None:
        raise ValueError(f"there is no file {file}" if isinstance(file, str) else "there is none")
    return stored


@dataclass(frozen=True)
class Rows(Sequence):
    """Some rows of a sequence, read when they are asked for."""

    whole: Sequence[Any]
    rows: Sequence[int]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        return self.whole[self.rows[index]]


def some(ids: Sequence[str]) -> str:
    """The first few of many ids, for a message."""
    return ", ".join(map(repr, ids[:5])) + (" ..." if len(ids) > 5 else "")


def _read(
    ids: list[str], texts: list[list[str]] | None, media: Mapping[str, Sequence[Any]]
) -> tuple[str, dict[str, dict[str, int]]]:
    """SHA-256 over ids, texts and the stored bytes of all files, in order; and how many files of each kind."""
    digest, kinds = hashlib.sha256(), {kind: Counter[str]() for kind in media}
    for i, key in enumerate(progress(ids, "reading", "samples")):
        digest.update(json.dumps([key, texts[i] if texts is not None else None], ensure_ascii=False).encode())
        for kind in MEDIA:
            stored = None
            if kind in media:
                stored = _stored(media[kind][i], MEDIA[kind], key)
                kinds[kind][MEDIA[kind].kind_of(stored)] += 1
            if kind in media or kind == "image":  # hashes of sets without sounds and clips stay those of all versions
                digest.update(hashlib.sha256(stored or b"").digest())
    return digest.hexdigest(), {kind: dict(counts) for kind, counts in kinds.items()}


def _stored(file: Any, medium: Medium, key: str) -> bytes | None:
    try:
        return stored_bytes(file)
    except TypeError as error:
        raise ExtractionError(
            f"The {medium.noun} of sample {key!r} cannot be read: {error}. Name a column of {medium.plural} with "
            f"--{medium.column}-column{_HINTS.get(medium.column, '')}."
        ) from error
    except OSError as error:
        raise ExtractionError(f"The {medium.noun} of sample {key!r} cannot be read: {error}.") from error


_HINTS = {"image": ", or encode arrays (PIL.Image.fromarray, saved as PNG)"}
"""Another way for those who hold what is not encoded."""
