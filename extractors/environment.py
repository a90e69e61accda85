"""Where a run computes and with what: device, dtype, versions, and hashes of local checkpoints."""

import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .errors import ExtractionError

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


def file_sha256(folder: Path) -> str:
    """SHA-256 over the names and bytes of the files in a checkpoint folder: its revision."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")):
        digest.update(path.relative_to(folder).as_posix().encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"


def versions() -> dict[str, str]:
    """Versions of the packages that make features."""
    return {name: version(name) for name in ("torch", "timm", "transformers", "datasets", "numpy", "zarr")}


def device_name(device: Any) -> str:
    """The device in words."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
