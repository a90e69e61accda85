"""Tiny repositories in the shape of the real ones: the study's data set, language models, timm's, CLIP."""

import io
import json
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import timm
import torch
import transformers
from timm.models import save_for_hf

from extractors.datasets.loading import load
from extractors.models.tiny import tiny_language_model

SAMPLES = 24

CARD = """\
---
dataset_info:
  features:
  - name: image
    dtype: image
  - name: text
    sequence: string
  splits:
  - name: train
    num_bytes: 100000
    num_examples: {n}
  download_size: 100000
  dataset_size: 100000
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*
---
"""
FEATURES = {
    "image": {"_type": "Image"},
    "text": {"feature": {"dtype": "string", "_type": "Value"}, "_type": "Sequence"},
}


def shard(rows, texts):
    """A parquet file as `push_to_hub` writes it: pictures as bytes and path, the features in its metadata."""
    pictures = [{"bytes": rows.pictures[i]["bytes"], "path": None} for i in range(len(rows.ids))]
    table = pa.table(
        {
            "image": pa.array(pictures, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            "text": pa.array(texts, pa.list_(pa.string())),
        }
    )
    told = json.dumps({"info": {"features": FEATURES}})
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({"huggingface": told}), buffer)
    return buffer.getvalue()


def study(n=SAMPLES):
    """The data set `minhuh/prh` at its revision wit_1024, with pictures and texts of emoji_1024, in two shards."""
    rows, half = load("emoji_1024", num_samples=n), n // 2
    parts = [rows.select(range(half)), rows.select(range(half, n))]
    files = {f"data/train-{i:05}-of-00002.parquet": shard(part, part.texts) for i, part in enumerate(parts)}
    return {"README.md": CARD.format(n=n).encode(), **files}


def two_languages(n=SAMPLES):
    """A data set with a configuration for each of two languages."""
    rows = load("emoji_1024", num_samples=n)
    card = "---\nconfigs:\n" + "".join(
        f"- config_name: {name}\n  data_files:\n  - split: train\n    path: {name}/train-*\n" for name in ("en", "de")
    )
    files = {
        f"{name}/train-00000-of-00001.parquet": shard(rows, [[texts[i]] for texts in rows.texts])
        for name, i in (("en", 1), ("de", 2))
    }
    return {"README.md": f"{card}---\n".encode(), **files}


def files_of(write):
    """{path: bytes} of what `write(folder)` writes."""
    with TemporaryDirectory() as folder:
        write(Path(folder))
        return {
            p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()
        }


@lru_cache(None)
def language_model(kind="llama", seed=0, shards=1):
    """A causal model with its tokenizer, its weights in one file or two."""
    texts = load("emoji_1024", num_samples=SAMPLES).captions()

    def write(folder):
        tiny_language_model(kind, folder, texts, seed=seed)
        if shards > 1:
            model = transformers.AutoModelForCausalLM.from_pretrained(folder)
            (folder / "model.safetensors").unlink()
            model.save_pretrained(folder, max_shard_size=sum(p.nbytes for p in model.parameters()) * 2 // 3)

    return files_of(write)


@lru_cache(None)
def timm_model(name, seed=0):
    """A timm model with random weights as timm pushes it: config.json and model.safetensors."""
    torch.manual_seed(seed)
    model = timm.create_model(name, pretrained=False)
    return files_of(lambda folder: save_for_hf(model, folder, safe_serialization=True))


@lru_cache(None)
def clip(seed=0):
    """A CLIP of transformers, both sides, with its picture processor."""
    torch.manual_seed(seed)
    side = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config={**side, "vocab_size": 50}, vision_config={**side, "image_size": 16, "patch_size": 8}
    )
    processor = transformers.CLIPImageProcessor(size={"height": 16, "width": 16}, do_center_crop=False)

    def write(folder):
        transformers.CLIPModel(config).save_pretrained(folder)
        processor.save_pretrained(folder)

    return files_of(write)
