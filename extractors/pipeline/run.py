"""Extraction of one model after another into feature stores, block by block, resumable, by one process or several."""

import json
import os
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from prh_jax.runtime.workers import ALONE, Worker
from prh_jax.stores.reader import open_store
from prh_jax.stores.target import check_target
from prh_jax.stores.writer import FeatureWriter, open_writer

from ..datasets.broken import leave_out_broken
from ..datasets.preview import preview
from ..datasets.samples import Dataset
from ..errors import ExtractionError, first_line
from ..files import check_checkpoint
from ..models import environment, language, vision
from ..models.classical import CLASSICAL, ClassicalExtractor
from ..models.packaged import is_packaged, packaged
from ..places import place_of, pools_of
from .batches import BatchSize, extract_block, release_memory
from .finish import finish_writer
from .prefetch import prepared


@dataclass(frozen=True)
class Settings:
    """How features are made and where they go; the same for all models of a run."""

    output_dir: str | Path = "./results/features"
    subset: str | None = None
    pool: str = "auto"
    caption_index: int | str = 0
    prompt: bool | str = False
    max_length: int | None = None
    special_tokens: bool = True
    final_norm: bool = False
    batch_size: int | str = 16
    dtype: str = "auto"
    store_dtype: str = "auto"
    device: str = "auto"
    quantize: str | None = None
    device_map: str | None = None
    compiled: bool = False
    random_init: int | None = None
    worker: Worker = ALONE
    data_workers: int = 0
    on_error: str = "fail"
    force_remake: bool = False
    force_download: bool = False


def extract(
    models: Sequence[str | tuple[str | None, str]], data: Dataset, settings: Settings, *, modality: str | None = None
) -> dict[str, Any]:
    """Extract models, names or (modality, name), one after another; one that fails does not stop the others.

    Returns, for each model of this worker, the path of its store, or an ExtractionError with what stopped it.
    Features, spec and result of a run that was killed and started again are those of a run left alone, to the bit.
    """
    outcomes: dict[str, Any] = {}
    usable: dict[str, Dataset] = {}
    _quiet_libraries()
    wanted = [model if isinstance(model, tuple) else (modality, model) for model in models]
    for given, name in wanted:
        try:
            check_folder(name)
            kind = given or modality_of(name)
            if settings.on_error == "skip" and kind not in usable:
                usable[kind] = leave_out_broken(data, kind, settings.caption_index)
            outcomes[name] = extract_model(name, usable.get(kind, data), settings, modality=kind)
        except Exception as error:
            if os.environ.get("PRH_DEBUG"):
                traceback.print_exc()
            # A new exception: the one that was caught holds the model alive by its traceback.
            outcomes[name] = ExtractionError(error_text(error))
            print(f"{name}: {outcomes[name]}", file=sys.stderr)
        release_memory()
    return outcomes


def check_folder(name: str) -> None:
    """ExtractionError where a name can only be a folder, and there is none: the hub would call it a bad name.

    Also where the weights in it were never fetched, or are in no form that is read.
    """
    check_checkpoint(Path(name))
    if is_packaged(name):
        packaged(name)
    path_like = name.startswith(("/", "./", "../", "~")) or (name.partition("@")[0].count("/") > 1 and ":" not in name)
    if path_like and not Path(name).is_dir():
        raise ExtractionError(
            f"There is no folder at {name}. A local checkpoint is a folder with config.json and weights; a model of "
            "the hub is owner/name."
        )


def check_samples(data: Dataset, modality: str, settings: Settings) -> None:
    if modality == "language":
        data.check_captions(settings.caption_index)
    else:
        data.check_pictures()


def error_text(error: Exception) -> str:
    if isinstance(error, ValueError | OSError):
        return str(error).strip() or type(error).__name__
    return f"{type(error).__name__}: {first_line(error).rstrip('.')} (PRH_DEBUG=1 shows where)"


def summary(outcomes: dict[str, Any]) -> str:
    """What became of each model, the failed ones with their reasons last; empty where all went well."""
    failed = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, Exception)}
    if not failed:
        return ""
    lines = [f"{len(failed)} of {len(outcomes)} models failed: {', '.join(failed)}"]
    lines += [f"  done    {name}: {outcome}" for name, outcome in outcomes.items() if name not in failed]
    return "\n".join([*lines, *(f"  failed  {name}: {outcome}" for name, outcome in failed.items())])


def modality_of(name: str) -> str:
    """ "language" or "vision", from a local checkpoint's configuration, or the hub's, or the name."""
    if name in CLASSICAL or is_packaged(name):
        return "vision"
    config = Path(name) / "config.json"
    if config.is_file() and "architecture" in json.loads(config.read_text()):
        return "vision"
    from ..models.transformers_vision import FAMILIES, model_type, timm_knows

    if not config.is_file() and timm_knows(name):
        return "vision"
    return "vision" if model_type(name) in FAMILIES else "language"


def extract_model(name: str, data: Dataset, settings: Settings, *, modality: str | None = None) -> Path:
    """Extract one model to its store, or go on with it; the path of the store."""
    modality = modality or modality_of(name)
    check_samples(data, modality, settings)
    for place in candidates(name, modality, data, settings):
        check_target(place)
    done = already_complete(name, modality, data, settings)
    if done:
        print(f"{name}: complete at {done}")
        return done
    start = time.monotonic()
    extractor = _load(name, modality, settings)
    store_dtype = settings.store_dtype
    if store_dtype == "auto":
        store_dtype = str(extractor.spec()["dtype_compute"])
    path = _path(name, modality, extractor.pool, data, settings)
    batch = BatchSize(_first_batch_size(settings.batch_size, extractor.device))
    writer = open_writer(
        path,
        spec={**extractor.spec(), "dataset": data.identity(), "dtype_store": store_dtype},
        ids=data.ids,
        layers=extractor.layers,
        dtype=store_dtype,
        sample_arrays=extractor.sample_arrays,
        result=extractor.parameters(),
        env={**_environment(extractor, batch), "data": preview(data, modality, settings.caption_index)},
        overwrite=settings.force_remake,
    )
    share = settings.worker.share(range(len(writer.blocks)))
    _extract_blocks(name, extractor, data, writer, sorted(set(writer.pending()) & set(share)), batch, settings)
    left = writer.pending()
    if left:
        print(
            f"{name}: {settings.worker} has done its share; {len(left)} of {len(writer.blocks)} blocks are the other "
            f"workers'. The last to come finishes {path}."
        )
    elif not writer.complete:
        finish_writer(writer, {"batch_policy": _policy(batch), "seconds": time.monotonic() - start})
    if not left:
        print(f"{name}: {len(extractor.layers)} layers of {len(data)} samples at {path}")
    return path


def _extract_blocks(
    name: str,
    extractor: Any,
    data: Dataset,
    writer: FeatureWriter,
    blocks: list[int],
    batch: BatchSize,
    settings: Settings,
) -> None:
    sizes = {b: writer.blocks[b].stop - writer.blocks[b].start for b in blocks}
    rows = [row for b in blocks for row in range(writer.blocks[b].start, writer.blocks[b].stop)]
    samples = prepared(extractor, data, rows, settings.data_workers)
    total = len(data) if settings.worker.alone else len(rows)
    with tqdm(total=total, initial=total - len(rows), desc=name, unit=" samples", disable=None) as bar:
        for block in blocks:
            features, values = extract_block(extractor, samples, sizes[block], batch, bar.update)
            writer.write_block(block, features, **values)


def _first_batch_size(batch_size: int | str, device: Any) -> int:
    """`auto` is a whole block on a GPU, halved as memory runs out, and 32 on the CPU, which swaps before it fails."""
    if isinstance(batch_size, int):
        return batch_size
    return 256 if device is not None and getattr(device, "type", "cuda") == "cuda" else 32


def _policy(batch: BatchSize) -> dict[str, Any]:
    return {
        "batch_size": batch.first,
        "batch_size_at_end": batch.size,
        "order": "by length within blocks of 256, else by row",
    }


def _environment(extractor: Any, batch: BatchSize) -> dict[str, Any]:
    env = {"versions": environment.versions(), "batch_policy": _policy(batch)}
    return env if extractor.device is None else {**env, "device": environment.device_name(extractor.device)}


def _path(name: str, modality: str, pool: str, data: Dataset, settings: Settings) -> Path:
    return place_of(
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
    )


def candidates(name: str, modality: str, data: Dataset, settings: Settings) -> list[Path]:
    """Where the store of a model may come to be: pooling that is chosen for a model is known once it is loaded."""
    return [_path(name, modality, pool, data, settings) for pool in pools_of(settings.pool, name, modality)]


def _load(name: str, modality: str, settings: Settings) -> Any:
    if name in CLASSICAL:
        return ClassicalExtractor(name)
    common = {
        "pool": settings.pool,
        "random_init": settings.random_init,
        "dtype": settings.dtype,
        "device": environment.local_device(settings.device),
        "quantize": settings.quantize,
        "device_map": settings.device_map,
        "compiled": settings.compiled,
    }
    if modality == "vision":
        return vision.load(name, **common, final_norm=settings.final_norm)
    return language.load(
        name,
        **common,
        caption_index=settings.caption_index,
        prompt=settings.prompt,
        max_length=settings.max_length,
        special_tokens=settings.special_tokens,
        force_download=settings.force_download,
    )


def already_complete(name: str, modality: str, data: Dataset, settings: Settings) -> Path | None:
    """A finished store of the same request, found without loading the model: large models take minutes to load.

    What only the model can tell (the revision behind a hub name) is trusted as recorded.
    """
    if settings.force_remake:
        return None
    wanted: dict[str, Any] = {"model": name, "dataset": data.identity()}
    if name not in CLASSICAL:
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
        else:
            wanted["final_norm"] = settings.final_norm
        if settings.random_init is None:
            if Path(name).is_dir():
                wanted["revision"] = environment.file_sha256(Path(name))
            elif is_packaged(name):
                wanted["revision"] = packaged(name).revision
    for path in candidates(name, modality, data, settings):
        if path.exists():
            store = open_store(path)
            if store.complete and all(store.spec.get(key) == value for key, value in wanted.items()):
                return path
    return None


def _quiet_libraries() -> None:
    """Bars of loading where somebody watches alone: large models take minutes to load."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    if not sys.stderr.isatty():
        logging.disable_progress_bar()
