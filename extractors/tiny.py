"""Small language models with random weights and a tokenizer trained on the spot: for work without a hub."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

KINDS = ("bloom", "llama", "olmo", "gemma", "mistral", "mixtral", "gpt2", "gpt_neox", "qwen2")


def tiny_causal_lm(
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
    from transformers import AutoModelForCausalLM

    tokenizer = _tokenizer(texts, vocabulary)
    tokenizer.save_pretrained(path)
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(_config(kind, width, layers, heads, len(tokenizer)))
    model.save_pretrained(path)
    return Path(path)


def _tokenizer(texts: Sequence[str], vocabulary: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<pad>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>")


def _config(kind: str, width: int, layers: int, heads: int, vocabulary: int) -> Any:
    from transformers import AutoConfig

    if kind not in KINDS:
        raise ValueError(f"Unknown kind {kind!r}; the kinds are {', '.join(KINDS)}.")
    common = {"vocab_size": vocabulary, "hidden_size": width, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
    if kind == "bloom":
        return AutoConfig.for_model(kind, **common, n_layer=layers, n_head=heads)
    if kind == "gpt2":
        del common["hidden_size"]
        return AutoConfig.for_model(kind, **common, n_embd=width, n_layer=layers, n_head=heads, n_positions=512)
    common |= {
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 2 * width,
        "max_position_embeddings": 512,
    }
    if kind != "gpt_neox":
        common["num_key_value_heads"] = heads
    if kind == "gemma":
        common["head_dim"] = width // heads
    if kind == "mixtral":
        common |= {"num_local_experts": 4, "num_experts_per_tok": 2}
    return AutoConfig.for_model(kind, **common)
