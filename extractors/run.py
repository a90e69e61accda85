"""Extraction of one model after another into feature stores, block by block, resumable."""

import gc
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from prh_jax.checks import StoreError
from prh_jax.feature_store import open_store, store_path
from prh_jax.feature_writer import open_writer

from . import environment, language, vision
from .classical import CLASSICAL, ClassicalExtractor
from .dataset import Dataset
from .errors import ExtractionError


@dataclass(frozen=True)
class Settings:
    """How features are made and where they go; the same for all models of a run."""

    output_dir: str | Path = "./results/features"
    subset: str | None = None
    pool: str = "auto"
    caption_index: int = 0
    prompt: bool = False
    batch_size: int = 16
    dtype: str = "auto"
    store_dtype: str = "auto"
    device: str = "auto"
    random_init: int | None = None
    force_remake: bool = False
    force_download: bool = False


def extract(models: Sequence[str], data: Dataset, settings: Settings, *, modality: str | None = None) -> dict[str, Any]:
    """Extract models one after another; a model that fails does not stop the others.

    Returns, for each model, the path of its store, or the error that stopped it. Features, spec and result of a run
    that was killed and started again are those of a run left alone, to the bit.
    """
    outcomes: dict[str, Any] = {}
    _quiet_libraries()
    for name in models:
        try:
            outcomes[name] = extract_model(name, data, settings, modality=modality)
        except (ExtractionError, StoreError) as error:
            outcomes[name] = error
            print(f"{name}: {error}", file=sys.stderr)
        _release()
    return outcomes


def modality_of(name: str) -> str:
    """ "language" or "vision", from the configuration of a local checkpoint, or from the name."""
    if name in CLASSICAL:
        return "vision"
    config = Path(name) / "config.json"
    if config.is_file():
        return "vision" if "architecture" in json.loads(config.read_text()) else "language"
    import timm

    return "vision" if timm.is_model(name.split(":")[-1].split("/")[-1].split(".")[0]) else "language"


def extract_model(name: str, data: Dataset, settings: Settings, *, modality: str | None = None) -> Path:
    """Extract one model to its store, or go on with it; the path of the store."""
    modality = modality or modality_of(name)
    if modality == "language":
        data.captions(settings.caption_index)
    elif data.pictures is None:
        data.image(0)
    done = _already_complete(name, modality, data, settings)
    if done:
        print(f"{name}: complete at {done}")
        return done
    extractor = _load(name, modality, settings)
    store_dtype = settings.store_dtype
    if store_dtype == "auto":
        store_dtype = str(extractor.spec()["dtype_compute"])
    path = _path(name, modality, extractor.pool, data, settings)
    writer = open_writer(
        path,
        spec={**extractor.spec(), "dataset": data.identity(), "dtype_store": store_dtype},
        ids=data.ids,
        layers=extractor.layers,
        dtype=store_dtype,
        sample_arrays=extractor.sample_arrays,
        overwrite=settings.force_remake,
    )
    start, pending = time.monotonic(), writer.pending()
    left = sum(writer.blocks[b].stop - writer.blocks[b].start for b in pending)
    with tqdm(total=len(data), initial=len(data) - left, desc=name, unit=" samples", disable=None) as bar:
        for block in pending:
            rows = range(writer.blocks[block].start, writer.blocks[block].stop)
            features, values = extractor.block(data, rows, settings.batch_size, bar.update)
            writer.write_block(block, features, **values)
    if not writer.complete:
        batches = {"batch_size": settings.batch_size, "order": "by length within blocks of 256, else by row"}
        env = {"versions": environment.versions(), "batch_policy": batches, "seconds": time.monotonic() - start}
        if extractor.device is not None:
            env["device"] = environment.device_name(extractor.device)
        writer.finish(extractor.result(writer, data), env)
    print(f"{name}: {len(extractor.layers)} layers of {len(data)} samples at {path}")
    return path


def _path(name: str, modality: str, pool: str, data: Dataset, settings: Settings) -> Path:
    language_only = (
        {"prompt": settings.prompt, "caption_index": settings.caption_index} if modality == "language" else {}
    )
    return store_path(settings.output_dir, data.name, settings.subset, name, pool, **language_only)


def _load(name: str, modality: str, settings: Settings) -> Any:
    if name in CLASSICAL:
        return ClassicalExtractor(name)
    common = {
        "pool": settings.pool,
        "random_init": settings.random_init,
        "dtype": settings.dtype,
        "device": settings.device,
    }
    if modality == "vision":
        return vision.load(name, **common)
    return language.load(
        name,
        **common,
        caption_index=settings.caption_index,
        prompt=settings.prompt,
        force_download=settings.force_download,
    )


def _already_complete(name: str, modality: str, data: Dataset, settings: Settings) -> Path | None:
    """A finished store of the same request, found without loading the model: large models take minutes to load.

    What only the model can tell (the revision behind a hub name) is trusted as recorded.
    """
    if settings.force_remake:
        return None
    pools = {"avg": ["mean"], "none": ["cls"], "auto": ["mean"] if modality == "language" else ["cls", "mean"]}
    candidates = ["none"] if name in CLASSICAL else pools.get(settings.pool, [settings.pool])
    wanted: dict[str, Any] = {"model": name, "dataset": data.identity()}
    if name not in CLASSICAL:
        wanted["random_init"] = settings.random_init
        compute = str(environment.pick_dtype(settings.dtype, settings.device)).removeprefix("torch.")
        wanted["dtype_compute"] = compute
        wanted["dtype_store"] = compute if settings.store_dtype == "auto" else settings.store_dtype
        if Path(name).is_dir() and settings.random_init is None:
            wanted["revision"] = environment.file_sha256(Path(name))
    for pool in candidates:
        path = _path(name, modality, pool, data, settings)
        if path.exists():
            store = open_store(path)
            if store.complete and all(store.spec.get(key) == value for key, value in wanted.items()):
                return path
    return None


def _release() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _quiet_libraries() -> None:
    """One progress bar a model is enough, and none where nobody watches."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
