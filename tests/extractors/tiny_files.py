"""Checkpoints of audio and video models with random weights, and sounds and clips to run them on."""

import io

import numpy as np
import torch
import transformers
from PIL import Image

WAVES = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "num_feat_extract_layers": 3,
    "conv_dim": (16, 16, 16),
    "conv_stride": (5, 4, 4),
    "conv_kernel": (10, 8, 4),
}
MASKED = {**WAVES, "feat_extract_norm": "layer", "do_stable_layer_norm": True}
WHISPER = {
    "num_mel_bins": 20,
    "max_source_positions": 100,
    "d_model": 32,
    "encoder_layers": 3,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "vocab_size": 60,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
SPECTROGRAM = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "num_mel_bins": 32,
    "max_length": 128,
}
_TOWER = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2, "intermediate_size": 64}
CLAP = {
    "text_config": {**_TOWER, "vocab_size": 60, "max_position_embeddings": 64, "projection_dim": 16},
    "audio_config": {
        "spec_size": 64,
        "num_mel_bins": 16,
        "patch_size": 4,
        "patch_stride": [4, 4],
        "projection_dim": 16,
        "patch_embeds_hidden_size": 16,
        "depths": [1, 1],
        "num_attention_heads": [2, 2],
        "window_size": 4,
        "hidden_size": 32,
        "enable_fusion": False,
    },
}
VIDEO = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 16,
    "num_frames": 4,
}
JEPA = {
    "crop_size": 32,
    "frames_per_clip": 4,
    "tubelet_size": 2,
    "patch_size": 16,
    "hidden_size": 32,
    "mlp_ratio": 2.0,
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
    "pred_hidden_size": 32,
    "pred_num_attention_heads": 4,
    "pred_num_hidden_layers": 3,
    "pred_num_mask_tokens": 2,
}


def _waves():
    return transformers.Wav2Vec2FeatureExtractor(sampling_rate=16000, do_normalize=True)


def _size():
    return {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}


KINDS = {
    "wav2vec2": (WAVES, _waves),
    "hubert": (MASKED, _waves),
    **dict.fromkeys(("wavlm", "data2vec-audio", "unispeech", "unispeech-sat", "wav2vec2-conformer"), (WAVES, _waves)),
    "whisper": (WHISPER, lambda: transformers.WhisperFeatureExtractor(feature_size=20, chunk_length=2)),
    "audio-spectrogram-transformer": (
        SPECTROGRAM,
        lambda: transformers.ASTFeatureExtractor(num_mel_bins=32, max_length=128),
    ),
    "clap": (
        CLAP,
        lambda: transformers.ClapFeatureExtractor(
            feature_size=16,
            max_length_s=2,
            sampling_rate=16000,
            fft_window_size=512,
            hop_length=160,
            frequency_max=8000,
            truncation="rand_trunc",
        ),
    ),
    "videomae": ({**VIDEO, "tubelet_size": 2}, lambda: transformers.VideoMAEImageProcessor(**_size())),
    "timesformer": (VIDEO, lambda: transformers.VideoMAEImageProcessor(**_size())),
    "vivit": ({**VIDEO, "tubelet_size": [2, 16, 16]}, lambda: transformers.VivitImageProcessor(**_size())),
    "vjepa2": (JEPA, lambda: transformers.VJEPA2VideoProcessor(**_size())),
}


def write_checkpoint(kind, path):
    """A folder that loads as a local checkpoint."""
    config, processor = KINDS[kind]
    torch.manual_seed(0)
    transformers.AutoModel.from_config(transformers.AutoConfig.for_model(kind, **config)).save_pretrained(path)
    processor().save_pretrained(path)
    return str(path)


VLM_VISION = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 16,
}
QWEN_MARKS = ["<|image_pad|>", "<|vision_start|>", "<|vision_end|>", "<|video_pad|>"]


def write_vision_language(kind, path):
    """A folder of a small vision-language model: LLaVA, PaliGemma or Qwen2-VL."""
    from extractors.models.tiny import _tokenizer

    marks = QWEN_MARKS if kind.startswith("qwen") else ["<image>"]
    plain = _tokenizer(["a cat on a mat", "a dog"] * 20, 300, class_token=False)
    plain.add_tokens(marks, special_tokens=True)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=plain.backend_tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        bos_token="</s>",
        extra_special_tokens={"image_token": marks[0]},
    )
    words = {**VLM_VISION, "num_key_value_heads": 4, "head_dim": 8, "vocab_size": len(tokenizer)}
    words = {key: value for key, value in words.items() if key not in ("image_size", "patch_size")}
    place = tokenizer.convert_tokens_to_ids(marks[0])
    torch.manual_seed(0)
    if kind == "llava":
        vision = {"model_type": "clip_vision_model", "projection_dim": 32, **VLM_VISION}
        config = transformers.LlavaConfig(
            vision_config=vision, text_config={"model_type": "llama", **words}, image_token_index=place
        )
        model = transformers.LlavaForConditionalGeneration(config)
        processor = transformers.LlavaProcessor(
            transformers.CLIPImageProcessor(**_size()),
            tokenizer,
            patch_size=16,
            vision_feature_select_strategy="default",
            num_additional_image_tokens=1,
        )
    elif kind == "paligemma":
        vision = {"model_type": "siglip_vision_model", **VLM_VISION}
        text = {"model_type": "gemma", **words, "vocab_size": len(tokenizer) + 1100}
        config = transformers.PaliGemmaConfig(
            vision_config=vision, text_config=text, image_token_index=place, projection_dim=32, hidden_size=32
        )
        model = transformers.PaliGemmaForConditionalGeneration(config)
        pictures = transformers.SiglipImageProcessor(size={"height": 32, "width": 32})
        pictures.image_seq_length = 4
        processor = transformers.PaliGemmaProcessor(pictures, tokenizer)
    else:
        names = ("image_token_id", "vision_start_token_id", "vision_end_token_id", "video_token_id")
        ids = {name: tokenizer.convert_tokens_to_ids(mark) for name, mark in zip(names, QWEN_MARKS, strict=True)}
        rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
        vision = {"depth": 3, "hidden_size": 32, "num_heads": 4, "patch_size": 14}
        vision |= (
            {"embed_dim": 32, "mlp_ratio": 2}
            if kind == "qwen2_vl"
            else {"out_hidden_size": 32, "intermediate_size": 64, "fullatt_block_indexes": [1], "window_size": 56}
        )
        name = "Qwen2VL" if kind == "qwen2_vl" else "Qwen2_5_VL"
        made = getattr(transformers, f"{name}Config")
        config = made(vision_config=vision, text_config={**words, "rope_parameters": rope}, **ids)
        model = getattr(transformers, f"{name}ForConditionalGeneration")(config)
        processor = getattr(transformers, f"{name}Processor")(
            transformers.Qwen2VLImageProcessor(min_pixels=28 * 28, max_pixels=56 * 56),
            tokenizer,
            transformers.Qwen2VLVideoProcessor(),
        )
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return str(path)


def sound(seed, seconds, rate=16000, channels=1):
    """A few tones and noise, as (n, channels)."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    tones = sum(np.sin(2 * np.pi * f * time) for f in rng.uniform(100, 3000, 3))
    return (0.1 * tones[:, None] + 0.05 * rng.standard_normal((len(time), channels))).astype(np.float32)


def wav(values, rate=16000, **settings):
    """An encoded sound."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, values, rate, format=settings.pop("format", "WAV"), **{"subtype": "FLOAT", **settings})
    return file.getvalue()


def frames(seed, count, size=48):
    """Frames (count, size, size, 3), each of one grey that tells its number, with a coloured corner of its clip's."""
    colour = np.random.default_rng(seed).integers(0, 256, 3)
    made = np.zeros((count, size, size, 3), np.uint8)
    made += (np.arange(count) * (255 // max(count, 1))).astype(np.uint8)[:, None, None, None]
    made[:, : size // 2, : size // 2] = colour
    return made


def film(values):
    """Frames as a film without loss."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = values.shape[2], values.shape[1], "bgr0"
        for frame in values:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def animation(values):
    """Frames as an animated GIF."""
    file = io.BytesIO()
    first, *others = (Image.fromarray(frame) for frame in values)
    first.save(file, "GIF", save_all=True, append_images=others, duration=100)
    return file.getvalue()
