"""Where the store of a model is, or will be: found by what is asked for, before any model is loaded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prh_jax.errors import StoreError
from prh_jax.stores.reader import open_store

from ..datasets.samples import Dataset
from ..models import environment
from ..models.classical import CLASSICAL
from ..models.packaged import is_packaged, packaged
from ..places import marks_of, place_of, pools_of
from .settings import Settings


def _paths(name: str, modality: str, pool: str, data: Dataset, settings: Settings) -> list[Path]:
    """Where a store belongs; and where it was before names had all settings."""
    marks = marks_of(
        quantize=settings.quantize,
        max_length=settings.max_length if modality.startswith("language") else None,
        max_seconds=settings.max_seconds if modality == "audio" else None,
        frames=settings.frames if modality == "video" else None,
        special_tokens=settings.special_tokens,
        dtype=settings.dtype,
        store_dtype=settings.store_dtype,
        device_map=settings.device_map,
        compiled=settings.compiled,
    )
    return [
        place_of(
            settings.output_dir,
            data.name,
            settings.subset,
            name,
            modality,
            pool,
            prompt=settings.prompt,
            caption_index=settings.caption_index,
            final_norm=settings.final_norm,
            random_init=settings.random_init,
            config=settings.config,
            marks=given,
        )
        for given in ([marks, ()] if marks else [()])
    ]


def candidates(name: str, modality: str, data: Dataset, settings: Settings) -> list[Path]:
    """Where the store of a model may come to be: pooling that is chosen for a model is known once it is loaded.

    Of each pooling first where it belongs. Stores of earlier versions, whose names tell of fewer settings, come last.
    """
    paths = [_paths(name, modality, pool, data, settings) for pool in pools_of(settings.pool, name, modality)]
    return [found[0] for found in paths] + [path for found in paths for path in found[1:] if path.exists()]


def place_to_write(
    name: str, modality: str, pool: str, data: Dataset, settings: Settings, spec: Mapping[str, Any]
) -> Path:
    """Where a store is written; one of an earlier version goes on where it is, if it is of this request."""
    first, *earlier = _paths(name, modality, pool, data, settings)
    if not first.exists():
        for path in earlier:
            if path.exists() and _spec(path) == spec:
                return path
    return first


def _spec(path: Path) -> Mapping[str, Any] | None:
    try:
        return open_store(path).spec
    except StoreError:
        return None


def already_complete(
    source: str, modality: str, data: Dataset, settings: Settings, *, called: str | None = None
) -> Path | None:
    """A finished store of the same request, found without loading the model: large models take minutes to load.

    The recorded revision behind a hub name is trusted, because only the model could show it.
    """
    if settings.force_remake:
        return None
    name = called or source
    wanted: dict[str, Any] = {"model": name, "dataset": data.identity()}
    if source not in CLASSICAL:
        compute = str(environment.pick_dtype(settings.dtype, settings.device)).removeprefix("torch.")
        wanted |= {
            "random_init": settings.random_init,
            "dtype_compute": compute,
            "dtype_store": compute if settings.store_dtype == "auto" else settings.store_dtype,
            "quantization": settings.quantize,
            "device_map": settings.device_map,
            "compile": settings.compiled,
        }
        if modality == "language":
            names = ("caption_index", "prompt", "max_length", "special_tokens")
            wanted |= {key: getattr(settings, key) for key in names}
        elif modality in ("language-decoder", "vision-language", "vision-language-text"):
            wanted["caption_index"] = settings.caption_index
        elif modality == "audio":
            wanted["max_seconds"] = settings.max_seconds
        elif modality == "vision":
            wanted["final_norm"] = settings.final_norm
        if settings.random_init is None:
            if Path(source).is_dir():
                wanted["revision"] = environment.file_sha256(Path(source))
            elif is_packaged(source):
                wanted["revision"] = packaged(source).revision
    if modality == "video" and settings.frames is not None:
        wanted["frames"] = settings.frames
    for path in candidates(name, modality, data, settings):
        if path.exists():
            store = open_store(path)
            if store.complete and all(store.spec.get(key) == value for key, value in wanted.items()):
                return path
    return None
