"""What the extractor makes of a vision family: the library's own states, a refusal, or something else."""

import json
from pathlib import Path
from typing import Any

import torch

from extractors.errors import ExtractionError
from extractors.models import vision
from extractors.models.transformers_vision import FAMILIES

from .tiny_families import HEADS, LAYERS, VOCABULARY, WIDTH, enliven
from .verdict import Verdict, words_of

NEAR = 1e-4
SMALLER: tuple[dict[str, Any], ...] = (
    {"img_size": 64, "depth": 2},
    {"img_size": 64},
    {"pretrained_cfg_overlay": {"input_size": (3, 96, 96), "fixed_input_size": False}},
    {"depth": 2},
    {},
)
"""Options of timm's models, of which the first that a model takes are used."""
SIZES = (
    "test_",
    "atto",
    "femto",
    "pico",
    "nano",
    "micro",
    "xxs",
    "xxt",
    "tiny",
    "xs",
    "_xt",
    "mini",
    "small",
    "_s",
    "_t",
)


def timm_models() -> dict[str, str]:
    """One small model of each of timm's modules."""
    import timm

    found = {}
    for module in timm.list_modules():
        names = timm.list_models(module=module)
        if names:
            rank = [min((i for i, word in enumerate(SIZES) if word in name), default=len(SIZES)) for name in names]
            found[module] = min(zip(rank, names, strict=True))[1]
    return found


def transformers_families() -> list[str]:
    """Every family that transformers lists as seeing pictures."""
    from transformers.models.auto import modeling_auto as auto

    lists = ("IMAGE", "IMAGE_CLASSIFICATION")
    names = {family for name in lists for family in getattr(auto, f"MODEL_FOR_{name}_MAPPING_NAMES", {})}
    return sorted(names | set(FAMILIES))


def judge_timm(module: str, name: str) -> Verdict:
    """The verdict on one of timm's modules by one of its models, in small pictures where it takes them."""
    modality = f"vision, timm ({name})"
    extractor, why = None, Exception()
    for options in SMALLER:
        try:
            extractor = vision.load(name, random_init=0, pool="mean", options=options, dtype="float32")
            break
        except Exception as error:  # many models have no such options
            why = error
    if extractor is None:
        verdict = "refused" if isinstance(why, ExtractionError) else "not built"
        return Verdict(module, modality, verdict, words_of(why))
    model = extractor.model
    enliven(model)

    def library(picture: torch.Tensor) -> list[torch.Tensor]:
        outputs = model.forward_intermediates(picture[None], norm=False, intermediates_only=True)
        return [output.float().mean(tuple(range(2, output.ndim)) if output.ndim == 4 else 1)[0] for output in outputs]

    return _compare(extractor, library, module, modality)


def judge_tower(family: str, folder: Path) -> Verdict:
    """The verdict on a vision family of transformers, from a small checkpoint in a folder."""
    import transformers

    modality = "vision, transformers"
    if family not in FAMILIES:
        (folder / "config.json").write_text(json.dumps({"model_type": family}))
        try:
            vision.load(str(folder))
        except ExtractionError as error:
            return Verdict(family, modality, "refused", words_of(error, folder))
        return Verdict(family, modality, "different", "its layers are not known, and it was read")
    sizes: dict[str, Any] = {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
    sizes |= {"intermediate_size": 2 * WIDTH, "image_size": 32, "patch_size": 8}
    config: Any = transformers.AutoConfig.for_model(family)
    if hasattr(config, "vision_config"):
        text = {**sizes, "vocab_size": VOCABULARY, "max_position_embeddings": 16}
        config = type(config)(text_config=text, vision_config=sizes, projection_dim=16)
    else:
        config = type(config)(**sizes)
    torch.manual_seed(0)
    whole = transformers.AutoModel.from_config(config)
    enliven(whole)
    whole.eval().save_pretrained(folder)
    processor = transformers.CLIPImageProcessor(size={"height": 32, "width": 32}, do_center_crop=False)
    processor.save_pretrained(folder)
    extractor = vision.load(str(folder), pool="mean", dtype="float32")
    seeing, prefix = getattr(whole, "vision_model", whole), extractor.tower.prefix

    def library(picture: torch.Tensor) -> list[torch.Tensor]:
        states = seeing(pixel_values=picture[None], output_hidden_states=True).hidden_states[1:]
        return [state[0, prefix:].mean(0) for state in states]

    return _compare(extractor, library, family, modality)


def _compare(extractor: Any, library: Any, family: str, modality: str) -> Verdict:
    size = extractor.tower.spec()["image_size"]
    pictures = list(torch.randn(3, *size, generator=torch.Generator().manual_seed(1)))
    with torch.inference_mode():
        expected = [torch.stack(layer) for layer in zip(*map(library, pictures), strict=True)]
    found, _ = extractor.forward(pictures)
    assert len(found) == len(expected)
    gaps = [float((a - b).abs().max() / b.abs().max()) for a, b in zip(found, expected, strict=True)]
    worst = max(gap if gap == gap else float("inf") for gap in gaps)
    if worst > NEAR:
        return Verdict(family, modality, "different", f"by {worst:.1e}")
    return Verdict(family, modality, "equal", "one picture at a time" if extractor.alone else "any batch")
