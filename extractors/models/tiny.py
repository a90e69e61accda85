"""Small models with random weights, and a tokenizer trained on the spot: for work without a hub."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

CAUSAL = (
    *("bloom", "llama", "olmo", "olmo2", "gemma", "gemma2", "gemma3_text"),
    *("mistral", "qwen2", "qwen3", "gpt2", "opt", "gpt_neox", "phi3"),
    *("smollm3", "falcon", "mixtral", "olmoe", "qwen3_moe"),
)
ENCODERS = ("bert", "roberta", "modernbert", "mpnet", "deberta", "deberta-v2", "distilbert", "albert")
ENCODER_DECODERS = ("t5", "bart")
KINDS = CAUSAL + ENCODERS + ENCODER_DECODERS


def tiny_language_model(
    kind: str,
    path: str | Path,
    texts: Sequence[str],
    *,
    seed: int = 0,
    width: int = 32,
    layers: int = 3,
    heads: int = 4,
    vocabulary: int = 400,
) -> Path:
    """Write a checkpoint of one model family with random weights and a byte-level BPE trained on `texts`.

    It loads like any local checkpoint, offline. `kind` is one of KINDS.
    """
    import torch
    from transformers import AutoModel, AutoModelForCausalLM

    if kind not in KINDS:
        raise ValueError(f"Unknown kind {kind!r}; the kinds are {', '.join(KINDS)}.")
    tokenizer = _tokenizer(texts, vocabulary, class_token=kind not in CAUSAL and kind != "t5")
    tokenizer.save_pretrained(path)
    torch.manual_seed(seed)
    factory = AutoModelForCausalLM if kind in CAUSAL else AutoModel
    factory.from_config(_config(kind, width, layers, heads, len(tokenizer))).save_pretrained(path)
    return Path(path)


def _tokenizer(texts: Sequence[str], vocabulary: int, class_token: bool) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    # in RoBERTa's order, as its kin take id 1 for padding whatever the configuration says
    special = ["<s>", "<pad>", "</s>"] if class_token else ["<pad>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    named = {"pad_token": "<pad>", "eos_token": "</s>"}
    if class_token:
        tokenizer.post_processor = processors.TemplateProcessing(
            "<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
        )
        named |= {"cls_token": "<s>", "bos_token": "<s>", "sep_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)


def _config(kind: str, width: int, layers: int, heads: int, vocabulary: int) -> Any:
    """The smallest configuration of a family, in its own words."""
    from transformers import AutoConfig

    common: dict[str, Any] = {"vocab_size": vocabulary, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
    if kind not in CAUSAL and kind != "t5":
        common |= {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    size = {"num_hidden_layers": layers, "num_attention_heads": heads, "hidden_size": width}
    own: dict[str, dict[str, Any]] = {
        "bloom": {"hidden_size": width, "n_layer": layers, "n_head": heads},
        "gpt2": {"n_embd": width, "n_layer": layers, "n_head": heads, "n_positions": 512},
        "falcon": size,
        "opt": {**size, "ffn_dim": 2 * width, "word_embed_proj_dim": width, "max_position_embeddings": 512},
        "distilbert": {"dim": width, "n_layers": layers, "n_heads": heads, "hidden_dim": 2 * width},
        "t5": {"d_model": width, "num_layers": layers, "num_heads": heads, "d_kv": width // heads, "d_ff": 2 * width},
        "bart": {
            "d_model": width,
            "encoder_layers": layers,
            "decoder_layers": 1,
            "encoder_attention_heads": heads,
            "decoder_attention_heads": heads,
            "encoder_ffn_dim": 2 * width,
            "decoder_ffn_dim": 2 * width,
        },
    }
    if kind in own:
        return AutoConfig.for_model(kind, **common, **own[kind])
    size |= {"intermediate_size": 2 * width, "max_position_embeddings": 512}
    if kind in CAUSAL and kind != "gpt_neox":
        size["num_key_value_heads"] = heads
    if kind.startswith(("gemma", "qwen3")):
        size["head_dim"] = width // heads
    if kind == "mixtral":
        size |= {"num_local_experts": 4, "num_experts_per_tok": 2}
    if kind in ("olmoe", "qwen3_moe"):
        size |= {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": width}
    if kind == "albert":
        size["embedding_size"] = width
    if kind == "modernbert":
        common |= {"cls_token_id": 0, "sep_token_id": 2}
    return AutoConfig.for_model(kind, **common, **size)
