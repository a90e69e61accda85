"""Checkpoints of any text family of transformers, made small by the names of the settings of its configuration."""

import re
from pathlib import Path
from typing import Any

import torch

VOCABULARY, WIDTH, LAYERS, HEADS = 160, 32, 2, 4
WORDS = [f"w{i}" for i in range(VOCABULARY)]

_WIDTHS = (
    "hidden_size|d_model|n_embd|dim|emb_dim|embed_dim|model_dim|width|embedding_size|word_embed_proj_dim|hidden_dim|"
    "true_hidden_size|rnn_hidden|attention_hidden_size|encoder_hidden_size|decoder_hidden_size|d_latents|lm_dim"
)
SIZES = (
    (rf"^({_WIDTHS})$", WIDTH),
    (r"^((num_)?(encoder_|decoder_)?(hidden_)?layers?|n_layers?|depth|num_(encoder|decoder)_layers)$", LAYERS),
    (r"^(num_|n_)?((encoder|decoder)_)?(attention_|attn_)?(heads?|num_attention_heads|num_heads|head)$", HEADS),
    (r"^(num_key_value_heads|num_kv_heads|n_head_kv|multi_query_group_num)$", HEADS),
    (r"^(head_dim|d_kv|d_head|attention_head_size|head_size)$", WIDTH // HEADS),
    (r"^(.*intermediate_size|ffn_dim|d_ff|d_inner|n_inner|(encoder|decoder)_ffn_dim|ffn_hidden_size)$", 2 * WIDTH),
    (r"^vocab_size$", VOCABULARY),
    (r"^(num_experts|num_local_experts|n_routed_experts|moe_num_experts|num_routed_experts)$", 4),
    (r"^(num_experts_per_tok|moe_topk|moe_k|top_k_experts)$", 2),
    (r"^(first_k_dense_replace|moe_layer_start_index|num_dense_layers|mlp_only_layers_until)$", 1),
    (r"^(n_group|topk_group)$", 1),
    (r"^(q|kv)_lora_rank$", 16),
    (r"^(qk_nope|qk_rope|v)_head_dim$", WIDTH // HEADS),
)

OWN: dict[str, dict[str, Any]] = {
    "bamba": {"mamba_n_heads": 4, "mamba_d_head": 16},
    "codegen": {"rotary_dim": 4},
    "cohere_compass_text": {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4}}},
    "deepseek_v2": {"num_experts_per_tok": 2, "topk_method": "greedy"},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "esm": {"vocab_size": VOCABULARY, "pad_token_id": 1, "mask_token_id": 4},
    "funnel": {
        "block_sizes": [1, 1],
        "block_repeats": [1, 1],
        "num_decoder_layers": 1,
        "architectures": ["FunnelModel"],
    },
    "blt": {"encoder_hash_byte_group_vocab": 300},
    "gemma3n_text": {"num_kv_shared_layers": 0, "layer_types": ["sliding_attention", "full_attention"]},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "gptj": {"rotary_dim": 4},
    "hunyuan_v1_dense": {"head_dim": 8},
    "hunyuan_v1_moe": {"head_dim": 8},
    "inkling2_loop_text": {"unpadded_vocab_size": VOCABULARY},
    "inkling2_text": {"unpadded_vocab_size": VOCABULARY},
    "kimi_linear": {"num_experts_per_token": 2, "layer_types": ["linear_attention", "full_attention"]},
    "luke": {"entity_vocab_size": 10, "entity_emb_size": 32},
    "mimo_v2_flash": {"layer_types": ["full_attention", "sliding_attention"], "num_attention_heads": 8},
    "ministral": {"head_dim": 8},
    "mobilebert": {"intra_bottleneck_size": WIDTH},
    "nemotron": {"num_key_value_heads": HEADS},
    "reformer": {"axial_pos_embds_dim": [16, 16], "axial_pos_shape": [8, 8], "max_position_embeddings": 64},
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "zaya": {"num_experts_per_tok": 1},
}
"""Settings that a family's names do not tell."""


def small_settings(config: Any) -> dict[str, Any]:
    """The settings to change, those of configurations within it included."""
    from transformers import PreTrainedConfig

    found: dict[str, Any] = {}
    own = OWN.get(config.model_type, {})
    for name, value in config.to_dict().items():
        part = getattr(config, name, None) if isinstance(value, dict) else None
        if isinstance(part, PreTrainedConfig):
            found[name] = small_settings(part) | {"model_type": part.model_type}
        elif isinstance(value, int) and not isinstance(value, bool):
            if name.endswith("_token_id") and not 0 <= value < VOCABULARY:
                found[name] = VOCABULARY - 1 - len(found) % 20
            else:
                found |= next(({name: size} for pattern, size in SIZES if re.search(pattern, name)), {})
    return found | own


def small_config(family: str) -> Any:
    """The configuration of a family with small sizes."""
    from transformers import AutoConfig

    config = AutoConfig.for_model(family)
    return type(config)(**small_settings(config))


def write_tokenizer(config: Any, path: Path) -> None:
    """A tokenizer whose tokens are words, with the special ones where the configuration has them."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    text, words, named = config.get_text_config(), list(WORDS), {}
    for kind in ("pad", "bos", "eos"):
        place = getattr(text, f"{kind}_token_id", None)
        place = place[0] if isinstance(place, list) else place
        if isinstance(place, int) and 0 <= place < VOCABULARY and words[place] == WORDS[place]:
            words[place] = named[f"{kind}_token"] = f"<{kind}>"
    unknown = next(i for i in range(VOCABULARY) if words[i] == WORDS[i])
    words[unknown] = named["unk_token"] = "<unk>"
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named).save_pretrained(path)


@torch.no_grad()
def enliven(model: torch.nn.Module) -> None:
    """Weights that let every token matter: those of fresh models are so small that few mistakes would show."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if not parameter.is_floating_point():
            continue
        if parameter.ndim >= 2:
            drawn = torch.randn(parameter.shape, generator=generator) * max(parameter[:1].numel(), 1) ** -0.5
        else:  # of norms and biases, as they are but for a little
            drawn = parameter + 0.1 * torch.randn(parameter.shape, generator=generator)
        parameter.copy_(drawn)


def write_checkpoint(config: Any, factory: Any, path: Path) -> None:
    """A checkpoint of random weights with its tokenizer."""
    torch.manual_seed(0)
    model = factory.from_config(config)
    enliven(model)
    model.eval().save_pretrained(path)
    config.save_pretrained(path)  # whole, where the model keeps a part
    write_tokenizer(config, path)
