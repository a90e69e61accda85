"""Features on disk: one Zarr v3 group a model, written block by block.

Layout of a store (schema "prh-jax/features/1"):

    features        (layer, sample, feature)  chunks (1, 256, d), crc32c, fill value NaN
    features_<d>    one such array per width, where layers differ in width
    sample          (sample,)  ids, in order          layer  (layer,)  names
    done            (block,)   1 once the block's features are all on disk; written after them
    <sample array>  (sample,)  optional, one number per sample (loss, tokens ...)
    attributes      schema, status, spec, spec_sha256, ids_sha256, layers [{name, array, index, dim}], result, env;
                    run until the store is complete, contents_sha256 from then on

A chunk that is missing reads as NaN, a flipped byte fails its checksum, and a block counts only once it is marked
done: so that nothing half-written is ever taken for features. `contents_sha256` is a hash of the checksums of all
chunks, each at its place, and of what says how to read them: chunks that changed places are detected. `run` is drawn
when the store is begun: a process whose store was replaced by another stops.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from .bfloat16 import BFLOAT16

SCHEMA = "prh-jax/features/1"


SAMPLES_PER_BLOCK = 256

LONGEST_NAME = 240
"""Bytes of a store's name: 255 is a file's, and archives and sketches append to it."""


DTYPES = {"float32": np.dtype("float32"), "float16": np.dtype("float16"), "bfloat16": BFLOAT16}


def common_dtype(layers: Iterable[np.ndarray]) -> str:
    """The name of the type that layers are stored in: their own if they share one that stores have, else float32."""
    names = {str(layer.dtype) for layer in layers}
    return names.pop() if len(names) == 1 and names <= set(DTYPES) else "float32"


@dataclass(frozen=True)
class Layer:
    """Where features were read in a model: a name and a width."""

    name: str
    dim: int


def sha256_json(value: Any) -> str:
    """SHA-256 of a JSON value in canonical form (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def path_parts(name: str) -> list[str]:
    """Folders of a data set or model name below a root: never above it, whatever the name says."""
    return [part for part in PurePosixPath(name).parts if part not in ("/", ".", "..")]


def store_path(
    root: str | Path,
    dataset: str,
    subset: str | None,
    model: str,
    pool: str,
    *,
    prompt: bool | str = False,
    caption_index: int | str = 0,
    final_norm: bool = False,
    random_init: int | None = None,
    marks: Iterable[str] = (),
) -> Path:
    """Where the features of one model belong: `root/dataset/subset/<model>_pool-<pool>[...].zarr`, its "/" as "--".

    A model with random weights has their seed in its name, so that it lies next to the one that was trained. A prompt
    template is named by the first 8 digits of its SHA-256. `marks` of other settings end the name. Of a name
    that is too long for a file, such as a deep path of a checkpoint, the end is kept, after the first 8 digits of the
    SHA-256 of all of it.
    """
    name = "--".join(path_parts(model))
    if random_init is not None:
        name += f"_random-{random_init}"
    name += f"_pool-{pool}"
    if prompt:
        name += f"_prompt-{prompt if prompt is True else hashlib.sha256(str(prompt).encode()).hexdigest()[:8]}"
    if caption_index:
        name += f"_cid-{caption_index}"
    if final_norm:
        name += "_norm-True"
    name += "".join(f"_{mark}" for mark in marks)
    if len(name.encode()) > LONGEST_NAME:
        end = name.encode()[9 - LONGEST_NAME :].decode(errors="ignore").lstrip("-")
        name = f"{hashlib.sha256(name.encode()).hexdigest()[:8]}-{end}"
    return Path(root, *path_parts(dataset), *path_parts(subset or ""), name + ".zarr")


def blocks_of(n: int) -> list[slice]:
    """Sample ranges of the blocks of `n` samples."""
    return [slice(start, min(start + SAMPLES_PER_BLOCK, n)) for start in range(0, n, SAMPLES_PER_BLOCK)]


def spec_sha256(spec: Mapping[str, Any], layers: Iterable[Layer]) -> str:
    """Hash a spec with the names and widths of the layers."""
    return sha256_json({**spec, "layers": [[layer.name, layer.dim] for layer in layers]})
