"""What the extractor makes of a text family: the library's own states, a refusal, or something else."""

import re
from pathlib import Path

import numpy as np
import torch

from extractors.errors import ExtractionError
from extractors.models import language, transformers_language
from extractors.models.language import LanguageExtractor, Text
from extractors.pipeline.batches import BatchSize, extract_block

from .tiny_families import VOCABULARY, small_config, write_checkpoint
from .verdict import Verdict, words_of

LENGTHS = (7, 3, 30, 7, 12, 2, 30, 19)
"""Tokens of the texts, which share one batch where the extractor lets them."""
NEAR = 1e-4
"""Differences from the library's states that rounding explains, relative to the largest of a layer."""
OTHER_INPUT = re.compile("input_features|pixel_values|inputs_embeds|encoder_inputs_embeds|bbox|visual_feats")


def text_families() -> list[str]:
    """Every family that transformers lists as predicting the next token, masked tokens or another text, or encoding."""
    from transformers.models.auto import modeling_auto as auto

    lists = ("CAUSAL_LM", *transformers_language.ENCODERS)
    return sorted({family for name in lists for family in getattr(auto, f"MODEL_FOR_{name}_MAPPING_NAMES")})


def judge(family: str, folder: Path, dtype: str = "float32") -> Verdict:
    """The verdict on a family, from a small checkpoint in a folder."""
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    try:
        config = small_config(family)
        causal = transformers_language._is_causal(family, config)
        factory = AutoModelForCausalLM if causal else AutoModel
        write_checkpoint(config, factory, folder)
    except Exception as error:
        return _unbuilt(family, folder, words_of(error), AutoConfig)
    try:
        extractor = language.load(str(folder), dtype=dtype)
    except ExtractionError as error:
        words = words_of(error, folder)
        if "own call with a text alone ends with" in words and not OTHER_INPUT.search(words):
            return Verdict(family, "text", "not built", f"the small model does not run: {words}")
        return Verdict(family, "text", "refused", words)
    rng = np.random.default_rng(1)
    texts = [Text(rng.integers(20, VOCABULARY - 21, length).tolist(), 0, length, 0) for length in LENGTHS]
    model = factory.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
    worst = _difference(extractor, texts, model, causal)
    how = str(extractor.loaded.way)
    if worst > NEAR:
        return Verdict(family, "text", "different", f"by {worst:.1e}; padding: {how}")
    return Verdict(family, "text", "equal", how)


def _unbuilt(family: str, folder: Path, why: str, factory) -> Verdict:
    """A family that cannot be made small may be one that is refused by its configuration alone."""
    try:
        factory.for_model(family).save_pretrained(folder)
        language.load(str(folder))
    except Exception as error:
        if isinstance(error, ExtractionError) and "could not be loaded" not in str(error):
            return Verdict(family, "text", "refused", words_of(error, folder))
    return Verdict(family, "text", "not built", why)


def _difference(extractor: LanguageExtractor, texts: list[Text], model: torch.nn.Module, causal: bool) -> float:
    """The largest difference of features or losses from those of the library's plain call with each text alone."""
    features, numbers = extract_block(extractor, iter([[text] for text in texts]), len(texts), BatchSize(len(texts)))
    reader = model.get_encoder() if not causal and model.config.is_encoder_decoder else model
    worst = 0.0
    for row, text in enumerate(texts):
        tokens = torch.tensor([text.tokens])
        with torch.inference_mode():
            output = reader(input_ids=tokens, attention_mask=torch.ones_like(tokens), output_hidden_states=True)
        assert len(output.hidden_states) == len(features)
        for found, states in zip(features, output.hidden_states, strict=True):
            gap = np.abs(found[row] - states[0].float().mean(0).numpy()).max()
            worst = max(worst, float(gap / states.abs().max()))
        if causal:
            logs = output.logits[0].double().log_softmax(-1)
            nats = -sum(float(logs[i, token]) for i, token in enumerate(text.tokens[1:]))
            worst = max(worst, abs(nats - numbers["nats"][row]) / max(nats, 1.0))
    return worst if np.isfinite(worst) else np.inf
