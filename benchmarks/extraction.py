"""Extraction: memory and speed of the writing side beside the model, and features beside the reference's own.

python -m benchmarks.extraction                        65,536 samples x 12 layers x 384
python -m benchmarks.extraction --reference DIR        also features of the PRH reference code in DIR
"""

import argparse
import contextlib
import importlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from extractors.datasets.loading import load
from extractors.datasets.samples import Dataset
from extractors.models import language, tiny
from extractors.pipeline.batches import BatchSize, extract_block
from extractors.pipeline.prefetch import prepared
from extractors.pipeline.run import Settings, extract_model
from prh_jax.stores.inspect import inspect_store
from prh_jax.stores.publish import write_whole
from prh_jax.stores.reader import open_store
from prh_jax.stores.target import file_target
from prh_jax.stores.writer import open_writer

from . import machine

RESULTS = Path(__file__).parent / "results"


def captions(samples: int) -> Dataset:
    """So many short texts: the names of emoji in ten languages, each with a number where they repeat."""
    emoji = load("emoji_1024")
    assert emoji.texts is not None
    texts = [
        [emoji.texts[i % 1024][1 + (i // 1024) % 10] + " " * (i >= 10240) + "x" * (i // 10240)] for i in range(samples)
    ]
    return Dataset("captions", None, "train", [f"{i:06d}" for i in range(samples)], texts, None, f"n={samples}")


def resident() -> int:
    """Bytes of memory the process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(folder: Path, *, samples: int, layers: int = 12, width: int = 384, batch_size: int = 256) -> dict[str, Any]:
    """Seconds of model and writing, and the most memory held above what the loaded model took.

    The model is a llama of layers - 1 blocks with random weights, float32, on the CPU; `layers` counts its embeddings.
    """
    data = captions(samples)
    texts = [text for (text,) in data.texts or []]
    model = tiny.tiny_language_model(
        "llama", folder / "model", texts[:4096], layers=layers - 1, width=width, heads=6, vocabulary=4000
    )
    extractor = language.load(str(model), dtype="float32", device="cpu")
    writer = open_writer(
        folder / "features.zarr",
        spec={**extractor.spec(), "dataset": data.identity()},
        ids=data.ids,
        layers=extractor.layers,
        sample_arrays=extractor.sample_arrays,
    )
    held, most = resident(), 0
    reading, writing = 0.0, 0.0
    rows, batch = prepared(extractor, data, range(samples)), BatchSize(batch_size)
    for block, where in enumerate(writer.blocks):
        start = time.perf_counter()
        features, values = extract_block(extractor, rows, where.stop - where.start, batch)
        middle = time.perf_counter()
        writer.write_block(block, features, **values)
        reading, writing = reading + middle - start, writing + time.perf_counter() - middle
        most = max(most, resident() - held)
    writer.finish(language.summarize(writer.sample_array, writer.sample_array_names))
    report = inspect_store(writer.path)
    assert report.intact and report.store.complete
    return {
        "samples": samples,
        "layers": len(extractor.layers),
        "width": width,
        "tokens": report.store.result["n_tokens"],
        "model_seconds": reading,
        "writing_seconds": writing,
        "model_samples_per_second": samples / reading,
        "writing_samples_per_second": samples / writing,
        "writing_over_model": reading / writing,
        "writing_bytes_per_second": report.store.nbytes / writing,
        "memory_above_model_bytes": most,
        "store_bytes": report.bytes_on_disk,
    }


@contextlib.contextmanager
def without_cuda() -> Any:
    """The reference moves models and pictures to a GPU by `.cuda()`; on a machine without one they stay."""
    from unittest.mock import patch

    import torch

    with contextlib.ExitStack() as stack:
        if not torch.cuda.is_available():
            for owner in (torch.nn.Module, torch.Tensor):
                stack.enter_context(patch.object(owner, "cuda", lambda self, *_: self))
            stack.enter_context(patch.object(torch.cuda, "ipc_collect", lambda: None))
        yield


def reference_module(folder: str | Path) -> Any:
    """The module extract_features of a checkout of the reference; ValueError where there is none."""
    if not (Path(folder) / "extract_features.py").exists():
        raise ValueError(f"{folder} is no checkout of the reference: it has no extract_features.py.")
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module("extract_features")
    finally:
        sys.path.remove(str(folder))


def against_reference(reference: str | Path, folder: Path, *, samples: int = 1024) -> list[dict[str, Any]]:
    """The largest difference of features, relative to the largest feature of the layer, over all layers and samples.

    Tiny checkpoints with random weights and the built-in data, read by the reference's extract_features.py and by ours.
    """
    import timm
    import torch

    theirs = reference_module(reference)
    data = load("emoji_1024", num_samples=samples)
    rows = [{"text": data.captions_of(i, "all"), "image": data.image(i)} for i in range(samples)]
    llama = tiny.tiny_language_model("llama", folder / "llama", data.captions(), layers=4, width=64)
    bloom = tiny.tiny_language_model("bloom", folder / "bloom", data.captions(), layers=4, width=64)
    torch.manual_seed(0)
    vit = timm.create_model("vit_tiny_patch16_224", depth=4)
    timm.models.save_for_hf(vit, folder / "vit_tiny", model_args={"depth": 4})
    found = []
    for path, pool, call in (
        (llama, "avg", theirs.extract_llm_features),
        (bloom, "avg", theirs.extract_llm_features),
        (folder / "vit_tiny", "cls", theirs.extract_lvm_features),
    ):
        name = f"local-dir:{path}" if pool == "cls" else str(path)
        options = {"pool": pool, "prompt": False, "caption_idx": 0, "batch_size": 4, "force_remake": True}
        options |= {"dataset": "emoji_1024", "subset": "", "output_dir": str(folder / f"theirs-{path.name}")}
        with without_cuda(), contextlib.redirect_stdout(sys.stderr):
            call([name], rows, argparse.Namespace(**options, qlora=False, force_download=False))
        (saved,) = (folder / f"theirs-{path.name}").rglob("*.pt")
        expected = torch.load(saved, weights_only=True)
        settings = Settings(output_dir=folder / "ours", pool=pool, dtype="float32", batch_size=4)
        store = open_store(extract_model(str(path), data, settings))
        row = {"model": path.name, "layers": len(store.layers), "samples": samples}
        differences = []
        for i in range(len(store.layers)):
            reference_layer = expected["feats"][:, i].numpy()
            differences.append(np.abs(store.read_layer(i) - reference_layer).max() / np.abs(reference_layer).max())
        row["difference"] = float(max(differences))
        row["params_equal"] = store.result["params_total"] == expected["num_params"]
        for ours, their in (("loss", "loss"), ("bpb_reference", "bpb")):
            if their in expected:
                row[f"{ours}_difference"] = abs(store.result[ours] / float(expected[their]) - 1)
        found.append(row)
    return found


def main(argv: list[str] | None = None) -> int:
    """Measure, print and write JSON."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.extraction", description=__doc__.split("\n")[0] if __doc__ else ""
    )
    parser.add_argument("--samples", type=int, default=65536, help="(%(default)s)")
    parser.add_argument("--reference", metavar="DIR", help="checkout of the PRH reference code")
    parser.add_argument("--output", metavar="JSON", help="where results go (benchmarks/results/extraction.json)")
    args = parser.parse_args(argv)
    path = file_target(args.output or RESULTS / "extraction.json", overwrite=True)
    results: dict[str, Any] = {"machine": machine.describe()}
    with tempfile.TemporaryDirectory() as temporary:
        results["writing"] = measure(Path(temporary), samples=args.samples)
        print(json.dumps(results["writing"], indent=1))
        if args.reference:
            results["reference"] = against_reference(args.reference, Path(temporary))
            print(json.dumps(results["reference"], indent=1))
    with write_whole(path, replace=True) as building:
        building.write_text(json.dumps(results, indent=1) + "\n")
    print(f"Results: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
