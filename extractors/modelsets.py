"""The model sets of the PRH study, as plain data; names are Hugging Face's and timm's."""

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


def models_of(modelset: str, modality: str) -> tuple[str, ...]:
    """Models of one modality ("language", "vision") in a set; ValueError for an unknown set."""
    if modelset not in MODELSETS:
        raise ValueError(f"Unknown model set {modelset!r}; the sets are {', '.join(MODELSETS)}.")
    return MODELSETS[modelset][modality]
