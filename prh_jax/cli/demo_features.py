"""The networks of `prh demo` and their features: shipped ones, or extracted from pretrained networks at hand."""

import os
import shutil
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..data import SHIPPED

LITE = {"package:efficientnet-lite0": 75.1, "package:efficientnet-lite1": 76.7, "package:efficientnet-lite2": 77.6}
"""Networks whose weights come from the package index, with their top-1 accuracy on ImageNet in percent (Google's)."""
HUB = {"resnet18.a1_in1k": 71.5, "vit_tiny_patch16_224.augreg_in21k_ft_in1k": 75.5}
"""The same of networks from the hub (timm's table, at 224 pixels)."""
LANGUAGE = ("HuggingFaceTB/SmolLM2-135M", "EleutherAI/pythia-70m")
"""Small causal models from the hub."""
CLASSICAL = ("hog", "color_histogram", "pixels_32")
MINILM = "all-MiniLM-L6-v2_pool-mean"
SEED = 0
"""Of the random weights."""
FAMILIES = ("trained", "random weights", "no network")
"""Kinds of the vision models, by which figures colour them."""


@dataclass(frozen=True)
class Stores:
    """Feature stores of both sides; each trained network is followed by the same with random weights."""

    language: list[Path]
    vision: list[Path]


def top1(spec: Mapping[str, Any]) -> float | None:
    """Top-1 accuracy on ImageNet of the network of a store once it is trained; None for what is no such network."""
    return (LITE | HUB).get(str(spec.get("model")))


def shipped(folder: Path) -> Stores:
    """Copies of the stores that ship with the package."""
    networks = [f"{name.removeprefix('package:')}{seed}_pool-mean" for name in LITE for seed in ("", f"_random-{SEED}")]
    classical = [f"{name}_pool-none" for name in CLASSICAL if (SHIPPED / f"{name}_pool-none.zarr").exists()]
    return Stores([_copy(MINILM, folder)], [_copy(name, folder) for name in (*networks, *classical)])


def _copy(name: str, folder: Path) -> Path:
    target = folder / "features" / f"{name}.zarr"
    if not target.exists():
        from ..stores.publish import write_whole

        with write_whole(target, replace=False) as building:
            shutil.copytree(SHIPPED / f"{name}.zarr", building)
    return target


def extracted(folder: Path) -> Stores:
    """Stores of pretrained networks, from the packages that are installed and the hub where it answers.

    Networks with random weights only accompany them: without any pretrained one there is nothing to show.

    Raises
    ------
    ImportError
        If PyTorch and its kin are not installed.
    ExtractionError
        If there are no pretrained networks.
    """
    from extractors.errors import ExtractionError, MissingExtraError, require_extra

    remedy = 'pip install "prh-jax[demo]"; or see the same from shipped features: prh demo --quick'
    try:
        require_extra()
    except MissingExtraError as error:
        raise MissingExtraError(f"{str(error).partition('. ')[0]}. Install the extra: {remedy}") from error
    from extractors.models.packaged import PACKAGED

    online = _hub_answers()
    installed = [name for name in LITE if PACKAGED[name].path()]
    if not online:
        os.environ["HF_HUB_OFFLINE"] = "1"  # read when the hub's packages are imported
        if not installed:
            packages = ", ".join(PACKAGED[name].distribution for name in LITE)
            raise ExtractionError(
                f"There is no pretrained network: the model hub does not answer, and {packages} are not installed. "
                f"Install the extra: {remedy}"
            )
    from extractors.datasets.loading import load
    from extractors.pipeline.run import Settings, extract_model

    networks = [*installed, *(HUB if online else ())]
    places = [*(["installed packages"] * bool(installed)), *(["the hub (revision main)"] * online)]
    print(f"Pretrained networks from {' and '.join(places)}, each also with random weights:", file=sys.stderr)
    data = load("emoji_1024")
    trained = Settings(output_dir=folder / "features", batch_size=32)
    random = replace(trained, random_init=SEED)
    language = [extract_model(name, data, trained, modality="language") for name in (LANGUAGE if online else ())]
    vision = [extract_model(name, data, way, modality="vision") for name in networks for way in (trained, random)]
    vision += [extract_model(name, data, trained) for name in CLASSICAL]
    return Stores([_copy(MINILM, folder), *language], vision)


def _hub_answers() -> bool:
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return False
    try:
        socket.create_connection(("huggingface.co", 443), timeout=3).close()
    except OSError:
        return False
    return True
