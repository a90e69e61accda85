"""The model sets of the PRH study, as plain data, and those of a user's own; names are Hugging Face's and timm's."""

import re
import tomllib
from collections.abc import Iterable
from itertools import product
from pathlib import Path

_BLOOM_LLAMA = (
    "bigscience/bloomz-560m",
    "bigscience/bloomz-1b1",
    "bigscience/bloomz-1b7",
    "bigscience/bloomz-3b",
    "bigscience/bloomz-7b1",
    "openlm-research/open_llama_3b",
    "openlm-research/open_llama_7b",
    "openlm-research/open_llama_13b",
    "huggyllama/llama-7b",
    "huggyllama/llama-13b",
    "huggyllama/llama-30b",
    "huggyllama/llama-65b",
)
_LATER = (
    "allenai/OLMo-1B-hf",
    "allenai/OLMo-7B-hf",
    "google/gemma-2b",
    "google/gemma-7b",
    "mistralai/Mistral-7B-v0.1",
    "mistralai/Mixtral-8x7B-v0.1",
    "NousResearch/Meta-Llama-3-8B",
    "NousResearch/Meta-Llama-3-70B",
)
_VISION = (
    "vit_tiny_patch16_224.augreg_in21k",
    "vit_small_patch16_224.augreg_in21k",
    "vit_base_patch16_224.augreg_in21k",
    "vit_large_patch16_224.augreg_in21k",
    "vit_base_patch16_224.mae",
    "vit_large_patch16_224.mae",
    "vit_huge_patch14_224.mae",
    "vit_small_patch14_dinov2.lvd142m",
    "vit_base_patch14_dinov2.lvd142m",
    "vit_large_patch14_dinov2.lvd142m",
    "vit_giant_patch14_dinov2.lvd142m",
    "vit_base_patch16_clip_224.laion2b",
    "vit_large_patch14_clip_224.laion2b",
    "vit_huge_patch14_clip_224.laion2b",
    "vit_base_patch16_clip_224.laion2b_ft_in12k",
    "vit_large_patch14_clip_224.laion2b_ft_in12k",
    "vit_huge_patch14_clip_224.laion2b_ft_in12k",
)

MODELSETS: dict[str, dict[str, tuple[str, ...]]] = {
    "val": {"language": _BLOOM_LLAMA, "vision": _VISION},
    "test": {"language": _LATER, "vision": ()},
    "custom": {"language": _BLOOM_LLAMA + _LATER, "vision": ("vit_giant_patch14_dinov2.lvd142m",)},
}
"""Models of each set by modality, in the order of the reference's tables."""


class Words(tuple):
    """Words that shells complete, of which any other is taken too."""

    def __contains__(self, word: object) -> bool:
        return True


KINDS = (
    "language",
    "vision",
    "language-decoder",
    "audio",
    "video",
    "vision-language",
    "vision-language-image",
    "vision-language-text",
)
"""Modalities of models that are read by name; stores and sets of models may have any other."""


def models_of(modelset: str, modality: str) -> tuple[str, ...]:
    """Models of one modality in a set by name, or in a TOML file of your own; none where it has none of that modality.

    See `models_in`.
    """
    return tuple(name for _, name in models_in(modelset, modality))


def models_in(modelset: str, modality: str = "all") -> list[tuple[str, str]]:
    """(modality, name) of the models of a set by name, or in a TOML file of your own.

    A file lists names by modality, `language = [...]`, `vision = [...]`, `audio = [...]`, at its top or in tables:
    "sets.toml" is the top, or the only table; "sets.toml:small" is the table of that name. Braces in names are written
    out, see `expand`. ValueError for a set that cannot be found or used.
    """
    models = MODELSETS[modelset] if modelset in MODELSETS else _file(modelset)
    return [(kind, name) for kind, names in models.items() if modality in ("all", kind) for name in names]


def _file(modelset: str) -> dict[str, tuple[str, ...]]:
    path, _, table = modelset.partition(".toml")
    if not (modelset.endswith(".toml") or table.startswith(":")):
        raise ValueError(
            f"Unknown model set {modelset!r}; the sets are {', '.join(MODELSETS)}, or a file of your own: sets.toml"
        )
    return _read(path + ".toml", table.removeprefix(":"))


_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)(?:\.\.(-?\d+))?")
_MOST = 10_000


def expand(names: Iterable[str]) -> list[str]:
    """Names with their braces written out, as shells do: step{10,20} is two names, and so is step{10..20..10}.

    A name that is a path here is left as it is. ValueError for braces that hold neither a list nor a range.
    """
    return [made for name in names for made in ([name] if Path(name).exists() else _expanded(name))]


def _expanded(name: str) -> list[str]:
    parts = _BRACES.split(name)
    if "{" in "".join(parts[::2]) or "}" in "".join(parts[::2]):
        raise ValueError(f"{name!r} has a brace without its other: write step{{1000,2000}} or step{{0..4000..1000}}.")
    choices = [[part] if i % 2 == 0 else _choices(name, part) for i, part in enumerate(parts)]
    return ["".join(chosen) for chosen in product(*choices)]


def _choices(name: str, inside: str) -> list[str]:
    """Values that braces stand for: each of a list, or the numbers of a range, both ends included."""
    numbers = _RANGE.fullmatch(inside)
    if numbers is None:
        found = inside.split(",")
        if len(found) < 2 or not all(found):
            raise ValueError(
                f"{{{inside}}} in {name!r} is neither a list nor a range: write step{{1000,2000}} or "
                "step{0..4000..1000}."
            )
        return found
    first, last, step = int(numbers[1]), int(numbers[2]), abs(int(numbers[3] or 1))
    if step == 0 or abs(last - first) // step >= _MOST:
        raise ValueError(f"{{{inside}}} in {name!r} is no range of at most {_MOST} numbers: first..last..step.")
    return [str(n) for n in (range(first, last + 1, step) if first <= last else range(first, last - 1, -step))]


def control_seeds(text: str) -> tuple[int, ...]:
    """The seeds of `--control random-init:0,1,2`; ValueError for anything else."""
    kind, _, seeds = text.partition(":")
    if kind != "random-init":
        raise ValueError(f"{text!r} is no control")
    return tuple(dict.fromkeys(int(seed) for seed in (seeds or "0").split(",")))


def name_of(modelset: str) -> str:
    """A set's name for folders of results: of a file, its stem and table."""
    return Path(modelset).name.replace(".toml", "").replace(":", "-")


def _read(path: str, table: str) -> dict[str, tuple[str, ...]]:
    try:
        content = tomllib.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"The model set file {path} cannot be read as TOML: {error}.") from error
    tables = [name for name, value in content.items() if isinstance(value, dict)]
    if table and table not in tables:
        raise ValueError(f"{path} has no table [{table}]; it has {', '.join(tables) or 'none'}.")
    if not table and tables and not any(isinstance(value, list) for value in content.values()):
        if len(tables) > 1:
            raise ValueError(f"{path} has several sets; say which: {', '.join(f'{path}:{name}' for name in tables)}.")
        table = tables[0]
    chosen = content[table] if table else content
    models = {modality: names for modality, names in chosen.items() if not isinstance(names, dict)}
    for modality, names in models.items():
        if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise ValueError(f"{path}: {modality} must be a list of model names, got {names!r}.")
    if not any(models.values()):
        raise ValueError(
            f"{path} must list models by modality, such as `language` and `vision`; it has "
            f"{', '.join(chosen) or 'nothing'}."
        )
    return {modality: tuple(expand(names)) for modality, names in models.items()}
