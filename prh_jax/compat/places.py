"""Where the features are that the reference's class names: stores of ours, or .pt files of the reference."""

from collections.abc import Sequence
from pathlib import Path

from ..errors import NotFoundError
from ..stores.layout import path_parts, store_path
from ..stores.memory import MemoryStore

SHORT_NAMES = {
    **{f"i21k_{size[0]}": f"vit_{size}_patch16_224.augreg_in21k" for size in ("tiny", "small", "base", "large")},
    "dinov2_s": "vit_small_patch14_dinov2.lvd142m",
    "dinov2_m": "vit_base_patch14_dinov2.lvd142m",
    "dinov2_l": "vit_large_patch14_dinov2.lvd142m",
    "dinov2_g": "vit_giant_patch14_dinov2.lvd142m",
    "clip_b": "vit_base_patch16_clip_224.laion2b",
    "clip_l": "vit_large_patch14_clip_224.laion2b",
    "clip_h": "vit_huge_patch14_clip_224.laion2b",
    "clip_i21k_ft_b": "vit_base_patch16_clip_224.laion2b_ft_in12k",
    "clip_i21k_ft_l": "vit_large_patch14_clip_224.laion2b_ft_in12k",
    "clip_i21k_ft_h": "vit_huge_patch14_clip_224.laion2b_ft_in12k",
    **{f"bloom_{size}": f"bigscience/bloomz-{size}" for size in ("560m", "1b1", "1b7", "3b", "7b1")},
    **{f"openllama_{size}": f"openlm-research/open_llama_{size}" for size in ("3b", "7b", "13b")},
    **{f"llama_{size}": f"huggyllama/llama-{size}" for size in ("7b", "13b", "30b", "65b")},
}
"""The models that the reference's class knows, by its names for them."""

_POOLS = ("cls", "mean", "last", "none")
_THEIRS = ("cls", "avg", "last")


def find_features(root: str | Path, dataset: str, subset: str | None, model: str) -> Path:
    """The features of a model below a folder: a store of `prh extract` or `prh import`, or a .pt of the reference.

    Raises
    ------
    NotFoundError
        If there are none, with the command that makes them, or several that differ in pooling.
    """
    name = SHORT_NAMES.get(model, model)
    folder = Path(root, *path_parts(dataset), *path_parts(subset or ""))
    theirs = [f"{name.replace('/', '_')}_pool-{pool}" for pool in _THEIRS] + [f"{name.replace('/', '_')}-cls"]
    stores = [store_path(root, dataset, subset, name, pool) for pool in _POOLS]
    stores += [folder / f"{stem}.zarr" for stem in theirs]
    saved = [folder / f"{stem}.pt" for stem in theirs]
    found = [path for path in dict.fromkeys(stores) if path.exists()] or [path for path in saved if path.exists()]
    if len(found) == 1:
        return found[0]
    if found:
        raise NotFoundError(
            f"There are several features of {model} in {folder}: {', '.join(path.name for path in found)}. Give the "
            "paths of those to score against: Alignment([...])."
        )
    raise NotFoundError(
        f"There are no features of {model} in {folder}, and none are downloaded. Make them with `prh extract --dataset "
        f"{dataset}{f' --subset {subset}' if subset else ''} --model {name}`, put a file of the reference there, such "
        f"as {saved[1 if '/' in name else 0].name}, or name another folder (input_dir=)."
    )


def open_saved(path: Path) -> MemoryStore:
    """A .pt file of the reference, or a dictionary of layers, as a store in memory; rows are samples by number."""
    from extractors.importing.axes import layers_of
    from extractors.importing.torch_files import read_torch

    found = read_torch(path, None)
    layers, _ = layers_of(path, found, found.ids, None)
    return MemoryStore(path.stem, layers, found.ids)


def is_saved(path: object) -> bool:
    """Whether a path is one of a file that torch has saved."""
    return isinstance(path, str | Path) and Path(path).suffix.lower() in (".pt", ".pth")


def data_of(dataset: str, subset: str | None, ids: Sequence[str], modality: str) -> list:
    """First captions ("text") or pictures ("image") of samples, in their order."""
    from extractors.datasets.loading import load

    if modality not in ("text", "image"):
        raise ValueError(f"modality {modality!r} is not known; it is 'text' or 'image'.")
    data = load(dataset, subset)
    rows = {sample: row for row, sample in enumerate(data.ids)}
    lacking = next((sample for sample in ids if sample not in rows), None)
    if lacking is not None:
        raise NotFoundError(f"Sample {lacking!r} of the features is none of {dataset}: they are of other data.")
    if modality == "image":
        return [data.image(rows[sample]) for sample in ids]
    captions = data.captions()
    return [captions[rows[sample]] for sample in ids]
