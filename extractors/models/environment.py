"""Where a run computes and with what: device, dtype, versions, and hashes of local checkpoints."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..errors import ExtractionError
from ..hub import cached_commit, cached_weights, sha256_of, weights_in

DTYPES = ("auto", "float32", "bfloat16")


def pick_device(device: str) -> Any:
    """A torch device; `auto` is the first GPU where there is one, else the CPU."""
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.device(device)
    except RuntimeError as error:
        raise ExtractionError(f"Unknown device {device!r}; say cpu, cuda or cuda:0.") from error


def pick_dtype(dtype: str, device: str) -> Any:
    """A torch dtype; `auto` is bfloat16 on a GPU that computes in it and float32 elsewhere."""
    import torch

    if dtype not in DTYPES:
        raise ExtractionError(f"Unknown dtype {dtype!r}; choose one of {', '.join(DTYPES)}.")
    if dtype == "auto":
        fast = pick_device(device).type == "cuda" and torch.cuda.is_bf16_supported()
        dtype = "bfloat16" if fast else "float32"
    return getattr(torch, dtype)


def with_revision(name: str) -> tuple[str, str | None]:
    """The name of a model on the hub, and the revision that `name@revision` asks for; a path that is there is a path.

    ExtractionError where one of the two is empty.
    """
    base, at, revision = name.partition("@")
    if not at or Path(name).exists() or ":" in base:  # timm reads the revision of hf_hub:owner/name@revision itself
        return name, None
    if not base or not revision:
        raise ExtractionError(f"{name!r} is no model at a revision: say name@revision, such as owner/name@step1000.")
    return base, revision


def revision_of(source: str, revision: str | None) -> str | None:
    """Identity of the weights: a hash of a folder's files, or the commit that the hub's cache has for a revision."""
    return file_sha256(Path(source)) if Path(source).is_dir() else cached_commit(source, revision)


def weights_of(source: str, revision: str | None) -> dict[str, dict[str, str]]:
    """`{"weights": SHA-256 of each file of weights}`, as a store's result has it; empty where none is found."""
    found = weights_in(Path(source)) if Path(source).is_dir() else cached_weights(source, revision)
    return {"weights": found} if found else {}


QUANTIZATIONS = ("4bit", "8bit")


def quantization_config(quantize: str, dtype: Any, device: Any) -> Any:
    """Return settings of bitsandbytes: `4bit` is the reference's (NF4, doubly quantised), `8bit` is LLM.int8().

    ExtractionError if bitsandbytes or a GPU is missing.
    """
    from importlib.util import find_spec

    if quantize not in QUANTIZATIONS:
        raise ExtractionError(f"Unknown quantisation {quantize!r}; choose one of {', '.join(QUANTIZATIONS)}.")
    if find_spec("bitsandbytes") is None:
        raise ExtractionError(f"--quantize {quantize} needs bitsandbytes, which is not installed: pip install it.")
    if device.type != "cuda":
        raise ExtractionError(f"--quantize {quantize} needs a GPU, and the device is {device}. Leave it out.")
    from transformers import BitsAndBytesConfig

    if quantize == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_quant_type="nf4",
    )


def identity(
    name: str,
    revision: str | None,
    random_init: int | None,
    dtype: Any,
    *,
    quantization: str | None = None,
    device_map: str | None = None,
    compiled: bool = False,
) -> dict[str, Any]:
    """Identity of a model's weights and how they compute, as every store records it."""
    return {
        "model": name,
        "revision": revision,
        "random_init": random_init,
        "dtype_compute": str(dtype).removeprefix("torch."),
        "quantization": quantization,
        "device_map": device_map,
        "compile": compiled,
    }


def compile_blocks(blocks: Iterable[Any]) -> None:
    """Compile each layer's own arithmetic: hooks stay outside, and one compilation serves all equal layers."""
    import torch

    for block in blocks:
        block.forward = torch.compile(block.forward)


def file_sha256(folder: Path) -> str:
    """SHA-256 over the names and bytes of the files in a checkpoint folder: its revision."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(bytes.fromhex(sha256_of(path)))
    return f"sha256:{digest.hexdigest()}"


def versions() -> dict[str, str]:
    """Versions of the packages that make features."""
    return {name: version(name) for name in ("torch", "timm", "transformers", "datasets", "numpy", "zarr")}


def device_name(device: Any) -> str:
    """The device in words."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"


def local_device(device: str, environment: Mapping[str, str] | None = None) -> str:
    """`auto` as the GPU that torchrun gave this process; all else as it is."""
    environment = os.environ if environment is None else environment
    if device != "auto" or "LOCAL_RANK" not in environment:
        return device
    import torch

    count = torch.cuda.device_count()
    return f"cuda:{int(environment['LOCAL_RANK']) % count}" if count else device
