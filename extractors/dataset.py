"""Data sets of paired pictures and texts: ids, captions and images in one fixed order, with a hash of their content."""

import hashlib
import io
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prh_jax.checks import check_ids

from .errors import ExtractionError

BUILT_IN = {"emoji_1024": Path(__file__).parent / "data" / "emoji_1024.parquet"}


@dataclass(frozen=True)
class Dataset:
    """Samples in order: sample i has ids[i], the captions texts[i] and the encoded picture pictures[i]."""

    name: str
    revision: str | None
    split: str
    ids: list[str]
    texts: list[list[str]] | None
    pictures: Sequence[Any] | None = field(repr=False)
    content_sha256: str = ""

    def __len__(self) -> int:
        return len(self.ids)

    def identity(self) -> dict[str, Any]:
        """What a feature store records of its data."""
        return {
            "name": self.name,
            "revision": self.revision,
            "split": self.split,
            "n": len(self),
            "content_sha256": self.content_sha256,
        }

    def captions(self, index: int = 0) -> list[str]:
        """Caption `index` of every sample; ExtractionError naming samples where there is none or it is empty."""
        if self.texts is None:
            raise ExtractionError(f"{self.name} has no texts; language models need a column `text`.")
        short = [i for i, texts in zip(self.ids, self.texts, strict=True) if not -len(texts) <= index < len(texts)]
        if short:
            raise ExtractionError(
                f"{len(short)} samples of {self.name} have no caption {index}, such as {_some(short)}. "
                "Choose another --caption-idx."
            )
        chosen = [str(texts[index]) for texts in self.texts]
        empty = [i for i, text in zip(self.ids, chosen, strict=True) if not text.strip()]
        if empty:
            raise ExtractionError(
                f"Caption {index} of {len(empty)} samples of {self.name} is empty: {_some(empty)}. An empty text has "
                "no features; leave those samples out of the data set, or choose another --caption-idx."
            )
        return chosen

    def image(self, index: int) -> Any:
        """Picture of one sample as a PIL image in RGB, transparency composited on white."""
        if self.pictures is None:
            raise ExtractionError(f"{self.name} has no pictures; vision models need a column `image`.")
        try:
            return as_rgb(_decode(self.pictures[index]))
        except Exception as error:  # PIL raises many kinds for damaged files
            raise ExtractionError(
                f"The picture of sample {self.ids[index]!r} of {self.name} cannot be read ({error}). Repair it, or "
                "leave the sample out of the data set."
            ) from error


def _some(ids: Sequence[str]) -> str:
    return ", ".join(map(repr, ids[:5])) + (" ..." if len(ids) > 5 else "")


def _stored_bytes(picture: Any) -> bytes | None:
    """The encoded picture of a row, from its bytes or its file; None where there is neither."""
    if not isinstance(picture, dict):
        return picture
    if picture.get("bytes") is not None:
        return picture["bytes"]
    path = picture.get("path")
    return Path(path).read_bytes() if path and Path(path).is_file() else None


def _decode(picture: Any) -> Any:
    from PIL import Image

    stored = _stored_bytes(picture)
    if stored is None:
        raise ValueError("there is none")
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        image = Image.open(io.BytesIO(stored))
        image.load()
    return image


def as_rgb(image: Any) -> Any:
    """A PIL image in RGB: transparent ones composited on white, the others converted."""
    from PIL import Image

    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def load(
    name: str,
    subset: str | None = None,
    *,
    split: str = "train",
    num_samples: int | None = None,
    force_download: bool = False,
) -> Dataset:
    """A data set by name: built-in ("emoji_1024"), a local parquet file or folder, or a hub name with a revision.

    Columns: `image` (pictures), `text` (a caption or a list of them), `id` (unique; else the row number).
    ExtractionError where it cannot be found or read.
    """
    if name in BUILT_IN:
        table, revision = _parquet([BUILT_IN[name]]), subset
    elif Path(name).exists():
        table, revision = _local(Path(name)), subset
    else:
        table, revision = _hub(name, subset, split, force_download)
    if num_samples is not None:
        if num_samples < 1:
            raise ExtractionError(f"--num-samples must be at least 1, got {num_samples}.")
        table = {column: values[:num_samples] for column, values in table.items()}
    return _dataset(name, revision, split, table)


def _dataset(name: str, revision: str | None, split: str, table: dict[str, Any]) -> Dataset:
    if not table or not {"image", "text"} & set(table):
        raise ExtractionError(f"{name} has columns {sorted(table)}; it needs `image`, `text` or both.")
    n = len(next(iter(table.values())))
    ids = check_ids([str(i) for i in table.get("id", range(n))])
    texts = table.get("text")
    if texts is not None:
        texts = [[text] if isinstance(text, str) or text is None else list(text) for text in texts]
        texts = [[text or "" for text in captions] for captions in texts]
    pictures = table.get("image")
    return Dataset(name, revision, split, ids, texts, pictures, _content_sha256(ids, texts, pictures))


def _content_sha256(ids: list[str], texts: list[list[str]] | None, pictures: Sequence[Any] | None) -> str:
    """SHA-256 over ids, texts and the stored bytes of the pictures, in order."""
    digest = hashlib.sha256()
    for i, key in enumerate(ids):
        digest.update(json.dumps([key, texts[i] if texts is not None else None], ensure_ascii=False).encode())
        stored = _stored_bytes(pictures[i]) if pictures is not None else None
        digest.update(hashlib.sha256(stored or b"").digest())
    return digest.hexdigest()


def _parquet(files: list[Path]) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pa.concat_tables([pq.read_table(file) for file in files])
    except (OSError, pa.ArrowException) as error:
        raise ExtractionError(f"{files[0]} cannot be read as parquet: {error}") from error
    return {column: table[column].to_pylist() for column in table.column_names if column in ("id", "image", "text")}


def _local(path: Path) -> dict[str, Any]:
    if path.is_file():
        return _parquet([path])
    files = sorted(path.rglob("*.parquet"))
    if files:
        return _parquet(files)
    from datasets import load_dataset

    try:
        return _columns(load_dataset("imagefolder", data_dir=str(path), split="train"))
    except Exception as error:  # datasets raises many kinds for folders it cannot make sense of
        raise ExtractionError(f"{path} holds no parquet file and is not a folder of images: {error}") from error


def _hub(name: str, subset: str | None, split: str, force_download: bool) -> tuple[dict[str, Any], str | None]:
    from datasets import DownloadMode, load_dataset

    mode = DownloadMode.FORCE_REDOWNLOAD if force_download else None
    try:
        loaded = load_dataset(name, revision=subset, split=split, download_mode=mode)
    except Exception as error:  # the hub client raises many kinds: not found, no network, no access
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ExtractionError(
            f"Data set {name!r} (revision {subset}, split {split}) could not be loaded: {first} It is neither built in "
            f"({', '.join(BUILT_IN)}) nor a local file or folder; check the name and the network."
        ) from error
    return _columns(loaded), _commit(name, subset)


def _columns(loaded: Any) -> dict[str, Any]:
    """Columns of a `datasets` table with pictures left encoded."""
    from datasets import Image

    if "image" in loaded.column_names:
        loaded = loaded.cast_column("image", Image(decode=False))
    return {name: loaded[name] for name in loaded.column_names if name in ("id", "image", "text")}


def _commit(name: str, subset: str | None) -> str | None:
    """The commit behind a revision where the hub says it, else the revision."""
    from huggingface_hub import HfApi

    try:
        return HfApi().dataset_info(name, revision=subset, timeout=10).sha or subset
    except Exception:  # offline with a cached data set: the revision's name is what is known
        return subset
