"""Samples in one fixed order: ids, captions and pictures, with a hash of their content."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from prh_jax.runtime.progress import progress

from ..errors import ExtractionError
from .pictures import DECODED, as_rgb, decode, kind_of, stored_bytes


@dataclass(frozen=True)
class Dataset:
    """Samples in order: sample i has ids[i], the captions texts[i] and the encoded picture pictures[i]."""

    name: str
    revision: str | None
    split: str | None
    ids: list[str]
    texts: list[list[str]] | None
    pictures: Sequence[Any] | None = field(repr=False)
    content_sha256: str = ""
    skipped: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    """Number of pictures of each kind, by `kind_of`."""
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
        pictures: Sequence[Any] | None,
        *,
        skipped: int = 0,
        config: str | None = None,
    ) -> "Dataset":
        """A data set whose samples are read once, for the hash of their content and the kinds of pictures."""
        digest, kinds = _read(ids, texts, pictures)
        return cls(name, revision, split, ids, texts, pictures, digest, skipped, kinds, config)

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
        if self.pictures is not None:
            identity["pictures"] = DECODED
        if self.config is not None:
            identity["config"] = self.config
        return {**identity, "skipped": self.skipped} if self.skipped else identity

    def select(self, rows: Sequence[int]) -> "Dataset":
        """The same data set with some samples left out, which its identity records."""
        texts = [self.texts[i] for i in rows] if self.texts is not None else None
        pictures = Rows(self.pictures, rows) if self.pictures is not None else None
        ids = [self.ids[i] for i in rows]
        skipped = self.skipped + len(self) - len(ids)
        more: dict[str, Any] = {"skipped": skipped, "config": self.config}
        return Dataset.of(self.name, self.revision, self.split, ids, texts, pictures, **more)

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

    def check_pictures(self) -> None:
        """ExtractionError where there are no pictures at all."""
        if self.pictures is None:
            raise ExtractionError(f"{self.name} has no pictures; vision models need a column `image` (--image-column).")

    def image(self, index: int) -> Any:
        """Picture of one sample as a PIL image in RGB, as a person sees it (see `pictures`)."""
        self.check_pictures()
        assert self.pictures is not None
        try:
            return as_rgb(decode(self.pictures[index]))
        except Exception as error:  # PIL raises many kinds for damaged files
            raise ExtractionError(
                f"The picture of sample {self.ids[index]!r} of {self.name} cannot be read ({error}). Repair it, or "
                "leave broken samples out with --on-error skip."
            ) from error


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


def _read(ids: list[str], texts: list[list[str]] | None, pictures: Sequence[Any] | None) -> tuple[str, dict[str, int]]:
    """SHA-256 over ids, texts and the stored bytes of the pictures, in order; and how many pictures of each kind."""
    digest, kinds = hashlib.sha256(), Counter[str]()
    for i, key in enumerate(progress(ids, "reading", "samples")):
        digest.update(json.dumps([key, texts[i] if texts is not None else None], ensure_ascii=False).encode())
        try:
            stored = stored_bytes(pictures[i]) if pictures is not None else None
        except (TypeError, OSError) as error:
            raise ExtractionError(f"The picture of sample {key!r} cannot be read: {error}.") from error
        digest.update(hashlib.sha256(stored or b"").digest())
        if pictures is not None:
            kinds[kind_of(stored)] += 1
    return digest.hexdigest(), dict(kinds)
