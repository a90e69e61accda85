"""Where the stores of a study are: `prh extract` writes there, and `prh align` looks there."""

import glob
import re
from collections.abc import Sequence
from pathlib import Path

from prh_jax.stores.layout import store_path

from .models.classical import CLASSICAL


def subset_of(dataset: str, subset: str | None) -> str | None:
    """The revision of a data set: the one asked for, or that of the paper for the paper's data set."""
    return "wit_1024" if subset is None and dataset == "minhuh/prh" else subset


def folder_of(config: str) -> str:
    """The folder of a configuration of a data set, next to those of its revisions."""
    return f"config-{config.replace('/', '--')}"


def place_of(
    root: str | Path,
    dataset: str,
    subset: str | None,
    model: str,
    modality: str,
    pool: str,
    *,
    prompt: bool | str = False,
    caption_index: int | str = 0,
    final_norm: bool = False,
    random_init: int | None = None,
    config: str | None = None,
    marks: Sequence[str] = (),
) -> Path:
    """Where the store of a model belongs; settings that its kind of model does not have are left out of the name.

    A configuration of the data set is a folder of its own. `marks` are those of `marks_of`.
    """
    if config is not None:
        subset = f"{subset or ''}/{folder_of(config)}"
    if modality not in ("language", "vision"):  # the pictures or texts of one model may have stores, too
        marks = [modality, *marks]
    if model in CLASSICAL:
        kept = [mark for mark in marks if mark.startswith(("as-", "video", "frames-"))]
        return store_path(root, dataset, subset, model, pool, marks=kept)
    if modality in ("vision", "video"):
        return store_path(
            root, dataset, subset, model, pool, final_norm=final_norm, random_init=random_init, marks=marks
        )
    return store_path(
        root,
        dataset,
        subset,
        model,
        pool,
        prompt=False if modality == "audio" else prompt,
        caption_index=0 if modality == "audio" else caption_index,
        random_init=random_init,
        marks=marks,
    )


def marks_of(
    *,
    quantize: str | None = None,
    max_length: int | None = None,
    max_seconds: float | None = None,
    frames: str | None = None,
    special_tokens: bool = True,
    dtype: str = "auto",
    store_dtype: str = "auto",
    device_map: str | None = None,
    compiled: bool = False,
) -> list[str]:
    """Part of a store's name for settings other than the usual ones, so that both have a place."""
    given = {
        quantize: quantize is not None,
        f"max-{max_length}": max_length is not None,
        f"max-{max_seconds}s": max_seconds is not None,
        f"frames-{frames}": frames is not None,
        "no-special": not special_tokens,
        dtype: dtype != "auto",
        f"as-{store_dtype}": store_dtype != "auto",
        f"map-{device_map}": device_map is not None,
        "compiled": compiled,
    }
    return [str(mark) for mark, named in given.items() if named]


_MARKS = re.compile(
    r"(_(4bit|8bit|max-\d+|max-[\d.]+s|frames-\d+(@\d+)?|no-special|float32|bfloat16|as-(float32|bfloat16|float16)|map-[^_.]+|compiled))+\.zarr"
)


def choose_store(paths: Sequence[Path]) -> Path:
    """The store of a model among the places where it may be: at one of them, or next to it with marks in its name.

    The first place where there is none. ValueError where there are several, of different settings.
    """
    there = next((path for path in paths if path.exists()), None)
    if there is not None:
        return there
    marked = [
        beside
        for path in dict.fromkeys(paths)
        for beside in sorted(path.parent.glob(f"{glob.escape(path.stem)}_*.zarr"))
        if _MARKS.fullmatch(beside.name.removeprefix(path.stem))
    ]
    if len(marked) > 1:
        names = ", ".join(path.name for path in marked)
        raise ValueError(
            f"There are several stores for {paths[0].name}, made with different settings: {names}. Name those "
            "that you want with --x and --y."
        )
    return marked[0] if marked else paths[0]


def pools_of(pool: str, model: str, modality: str) -> list[str]:
    """The poolings that a model's store may come to have: `auto` is settled once a vision model is loaded."""
    if model in CLASSICAL:
        return ["none"]
    named = {
        "own": ["mean", "cls", "last"],
        "avg": ["mean"],
        "none": ["cls"],
        "auto": ["mean"] if modality == "language" else ["cls", "mean"],
    }
    return named.get(pool, [pool])
