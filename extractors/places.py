"""Where the stores of a study are: `prh extract` writes there, and `prh align` looks there."""

from pathlib import Path

from prh_jax.stores.layout import store_path

from .models.classical import CLASSICAL


def subset_of(dataset: str, subset: str | None) -> str | None:
    """The revision of a data set: the one asked for, or that of the paper for the paper's data set."""
    return "wit_1024" if subset is None and dataset == "minhuh/prh" else subset


def folder_of(config: str) -> str:
    """The folder of a configuration of a data set, beside those of its revisions."""
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
) -> Path:
    """Where the store of a model belongs; settings that its kind of model does not have are left out of the name.

    A configuration of the data set is a folder of its own.
    """
    if config is not None:
        subset = f"{subset or ''}/{folder_of(config)}"
    if model in CLASSICAL:
        return store_path(root, dataset, subset, model, pool)
    if modality == "vision":
        return store_path(root, dataset, subset, model, pool, final_norm=final_norm, random_init=random_init)
    return store_path(
        root, dataset, subset, model, pool, prompt=prompt, caption_index=caption_index, random_init=random_init
    )


def pools_of(pool: str, model: str, modality: str) -> list[str]:
    """The poolings that a model's store may come to have: `auto` is settled once a vision model is loaded."""
    if model in CLASSICAL:
        return ["none"]
    named = {"avg": ["mean"], "none": ["cls"], "auto": ["mean"] if modality == "language" else ["cls", "mean"]}
    return named.get(pool, [pool])
