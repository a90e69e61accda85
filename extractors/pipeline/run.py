"""Extraction of one model after another into feature stores, block by block, resumable, by one process or several."""

import json
import os
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prh_jax.runtime.progress import progress_bar, waiting
from prh_jax.stores.target import check_target
from prh_jax.stores.tokens import token_ids
from prh_jax.stores.weights import equal_weights
from prh_jax.stores.writer import FeatureWriter, open_writer

from ..datasets.broken import leave_out_broken
from ..datasets.clips import FrameRule
from ..datasets.media import read_by
from ..datasets.preview import preview
from ..datasets.samples import Dataset
from ..errors import ExtractionError, first_line
from ..files import check_checkpoint
from ..models import audio, decoder, environment, language, video, vision, vision_language
from ..models.classical import CLASSICAL, ClassicalExtractor
from ..models.packaged import is_packaged, packaged
from ..models.pooling import TOKENS
from ..modelsets import MODELSETS
from .batches import BatchSize, extract_block, release_memory
from .existing import already_complete, candidates, place_to_write
from .finish import finish_writer, revisions_beside
from .prefetch import prepared
from .settings import Settings, Wanted
from .tokens import check_has_tokens, extract_tokens


def extract(
    models: Sequence[str | tuple[str | None, str] | Wanted],
    data: Dataset,
    settings: Settings,
    *,
    modality: str | None = None,
) -> dict[str, Any]:
    """Extract models one after another; one that fails does not stop the others.

    Parameters
    ----------
    models
        Names, (modality, name), or `Wanted`.
    data, settings
        The samples, and how features are made of all models.
    modality
        Of the models that come by name.

    Returns
    -------
    dict
        For each model, by its label, the path of its store, or an ExtractionError with what stopped it. Features, spec
        and result of a run that was killed and started again are those of a run left alone, to the bit.
    """
    outcomes: dict[str, Any] = {}
    usable: dict[str, Dataset] = {}
    with waiting("starting"):  # torch and its kin take seconds to import
        _quiet_libraries()
    for wanted in (Wanted.of(model, modality) for model in models):
        name = wanted.label
        try:
            check_folder(wanted.source)
            with waiting(f"looking at {name}"):  # of a model by name, timm or the hub tells the modality
                kind = wanted.modality or modality_of(wanted.source)
            if settings.on_error == "skip" and kind not in usable:
                usable[kind] = leave_out_broken(data, kind, settings.caption_index)
            outcomes[name] = extract_model(
                wanted.source, usable.get(kind, data), wanted.settings(settings), modality=kind, called=wanted.name
            )
            for sentence in equal_weights(revisions_beside(outcomes[name], wanted.called)):
                print(sentence, file=sys.stderr)
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
    """Raise an ExtractionError unless the data have what models of a modality read."""
    for kind in read_by(modality):
        if kind == "text":
            data.check_captions(settings.caption_index)
        else:
            data.check_media(kind)


def error_text(error: Exception) -> str:
    """Return the message of an error, with its kind unless it is one that we raise for users."""
    if isinstance(error, ValueError | OSError):
        return str(error).strip() or type(error).__name__
    return f"{type(error).__name__}: {first_line(error).rstrip('.')} (PRH_DEBUG=1 shows where)"


def summary(outcomes: dict[str, Any]) -> str:
    """Outcome of each model, the failed ones last; empty if all went well.

    Reasons are printed as models fail. They are repeated here if models that succeeded came after, or many failed.
    """
    failed = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, Exception)}
    if not failed:
        return ""
    lines = [f"{len(failed)} of {len(outcomes)} models failed: {', '.join(failed)}"]
    lines += [f"  done    {name}: {outcome}" for name, outcome in outcomes.items() if name not in failed]
    last = max((row for row, name in enumerate(outcomes) if name not in failed), default=-1)
    above = set(list(outcomes)[last + 1 :]) if len(outcomes) - last <= _AT_A_GLANCE else set()
    lines += [f"  failed  {name}: {outcome}" for name, outcome in failed.items() if name not in above]
    return "\n".join(lines)


_AT_A_GLANCE = 10
"""Reasons in a row that need no repetition below them."""


_LANGUAGE = frozenset(name for models in MODELSETS.values() for name in models["language"])
"""Language models that need no look-up."""


def modality_of(name: str) -> str:
    """Return the modality of a model, from a local checkpoint's configuration, or the hub's, or the name.

    ExtractionError where the hub does not give the configuration.
    """
    if name in CLASSICAL:
        return CLASSICAL[name].modality
    if is_packaged(name):
        return "vision"
    config = Path(name) / "config.json"
    if config.is_file() and "architecture" in json.loads(config.read_text()):
        return "vision"
    from ..models import audio_families
    from ..models.timm_vision import HUB_SCHEMES
    from ..models.transformers_vision import FAMILIES, model_type, timm_knows

    if not config.is_file() and (timm_knows(name) or name.partition(":")[0] in HUB_SCHEMES):
        return "vision"
    if name in _LANGUAGE:
        return "language"
    try:
        kind = model_type(name, f"The configuration of {name!r}, which tells its modality, could not be read")
    except ExtractionError as error:
        raise ExtractionError(
            f"{error} Offline, name a local folder of the checkpoint, or the cache that has it (HF_HOME). --modality "
            "audio, video, vision or language says what it reads without its configuration."
        ) from error
    known = {"vision": FAMILIES, "audio": audio_families.FAMILIES, "video": video.FAMILIES}
    return next((modality for modality, families in known.items() if kind in families), "language")


def extract_model(
    source: str, data: Dataset, settings: Settings, *, modality: str | None = None, called: str | None = None
) -> Path:
    """Extract one model to its store, or resume it; the path of the store.

    `source` is its name, or the folder of a local checkpoint; `called` what it is called in place of that.
    """
    modality, name = modality or modality_of(source), called or source
    shown = Wanted(source, name=called, random_init=settings.random_init).label
    check_samples(data, modality, settings)
    check_has_tokens(source, modality, settings)
    for place in candidates(name, modality, data, settings):
        check_target(place)
    done = already_complete(source, modality, data, settings, called=called)
    if done:
        print(f"{shown}: complete at {done}")
        return done
    start = time.monotonic()
    with waiting(f"loading {shown}"):  # what the hub sends is shown by its own bars on a terminal
        extractor = _load(source, modality, settings)
    store_dtype = settings.store_dtype
    if store_dtype == "auto":
        store_dtype = str(extractor.spec()["dtype_compute"])
    spec = {**extractor.spec(), "model": name, "dataset": data.identity(), "dtype_store": store_dtype}
    path = place_to_write(name, modality, extractor.pool, data, settings, spec)
    batch = BatchSize(_first_batch_size(settings.batch_size, extractor.device))
    counts = extractor.count_tokens(data) if extractor.pool == TOKENS else None
    writer = open_writer(
        path,
        spec=spec,
        ids=data.ids if counts is None else token_ids(data.ids, counts),
        layers=extractor.layers,
        dtype=store_dtype,
        sample_arrays=extractor.sample_arrays,
        result=extractor.parameters(),
        env={
            **_environment(extractor, batch),
            **({"loaded_from": source} if called else {}),
            "data": preview(data, modality, settings.caption_index),
        },
        overwrite=settings.force_remake,
    )
    share = settings.worker.share(range(len(writer.blocks)))
    blocks = sorted(set(writer.pending()) & set(share))
    if counts is None:
        _extract_blocks(shown, extractor, data, writer, blocks, batch, settings)
    else:
        extract_tokens(shown, extractor, data, writer, blocks, batch, counts, settings.data_workers)
    left = writer.pending()
    if left:
        print(
            f"{shown}: {settings.worker} has done its share; {len(left)} of {len(writer.blocks)} blocks are the other "
            f"workers'. The last to come finishes {path}."
        )
    elif not writer.complete:
        finish_writer(writer, {"batch_policy": _policy(batch), "seconds": time.monotonic() - start})
    if not left:
        count = len(extractor.layers)
        print(f"{shown}: {count} layer{'s' * (count != 1)} of {len(data)} samples at {path}")
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
    with progress_bar(name, "samples", total, initial=total - len(rows)) as bar:
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


def _load(name: str, modality: str, settings: Settings) -> Any:
    frames = None if settings.frames is None else FrameRule.parse(settings.frames)
    if modality == "video" and not video.is_native(name):
        return video.FramesExtractor(_load(name, "vision", settings), frames or video.FRAMES)
    if name in CLASSICAL:
        if CLASSICAL[name].modality != modality:
            raise ExtractionError(f"{name} is a feature of {CLASSICAL[name].modality}, not of {modality}.")
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
    if modality == "language-decoder":
        return decoder.load(
            name,
            **common,
            caption_index=settings.caption_index,
            prompt=settings.prompt,
            max_length=settings.max_length,
            special_tokens=settings.special_tokens,
        )
    if modality.startswith("vision-language"):
        return vision_language.load(
            name,
            **common,
            modality=modality,
            caption_index=settings.caption_index,
            prompt=settings.prompt,
            max_length=settings.max_length,
            special_tokens=settings.special_tokens,
        )
    if modality == "vision":
        return vision.load(name, **common, final_norm=settings.final_norm)
    if modality == "audio":
        return audio.load(name, **common, max_seconds=settings.max_seconds)
    if modality == "video":
        return video.load(name, **common, frames=frames)
    return language.load(
        name,
        **common,
        caption_index=settings.caption_index,
        prompt=settings.prompt,
        max_length=settings.max_length,
        special_tokens=settings.special_tokens,
        force_download=settings.force_download,
    )


def _quiet_libraries() -> None:
    """Bars of loading where somebody watches alone: large models take minutes to load."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    if not sys.stderr.isatty():
        logging.disable_progress_bar()
