"""Models of torchvision and OpenCLIP by name, with their preprocessing, for `extract_module`."""

from pathlib import Path
from typing import Any, NamedTuple

from .errors import ExtractionError, first_line, require
from .layers import named_layers


class Adapted(NamedTuple):
    """A model, the transform of its inputs, patterns of its layers, and a pooling that reads them."""

    model: Any
    transform: Any
    layers: list[str]
    pool: str


_LAYERS = (
    *("encoder.layers.*", "transformer.resblocks.*", "transformer.encoder.layer.*", "features.*", "layer[1-4]"),
    *("layers.*", "trunk.blocks.*", "trunk.stages.*", "trunk.layers.*", "blocks.*", "stages.*", "stage?"),
    *("trunk_output.*", "inception*", "Mixed_*"),
)
"""Patterns of the blocks or stages in the families of both libraries; the first that a model has is taken."""


def torchvision_model(name: str, weights: str | None = None) -> Adapted:
    """Return a torchvision classifier by name, ready for `extract_module`.

    Parameters
    ----------
    name
        Name of the model, such as "resnet18" or "vit_b_16".
    weights
        "DEFAULT" or the name of weights that torchvision fetches, the path of a state dict (.pt, .pth, read as tensors
        alone), or None for random weights.

    Returns
    -------
    Adapted
        The model, its `transform` (that of the weights, or of the default ones), `layers`, which are patterns of its
        blocks or stages, and `pool`, the name of a pooling that reads them.

    Raises
    ------
    ExtractionError
        If there is no such model, or its weights cannot be read.
    """
    from torchvision import models

    if name not in models.list_models(module=models):
        raise ExtractionError(
            f"torchvision has no classifier {name!r}; it has {', '.join(models.list_models(module=models)[:8])} ..."
        )
    known = models.get_model_weights(name)
    local = weights is not None and Path(weights).is_file()
    try:
        model = models.get_model(name, weights=None if local else weights)
        if local:
            model.load_state_dict(_tensors(str(weights)))
    except (ValueError, KeyError, RuntimeError, OSError) as error:
        raise ExtractionError(
            f"The weights {weights!r} of torchvision's {name} cannot be read: {first_line(error)}"
        ) from error
    member = str(weights).rpartition(".")[2]  # also by its whole name, ResNet18_Weights.IMAGENET1K_V1
    chosen = known[member] if member in known.__members__ else known["DEFAULT"]
    return _adapted(model, chosen.transforms())


def open_clip_model(name: str, pretrained: str | None = None, *, tower: str = "visual") -> Adapted:
    """Return a tower of an OpenCLIP model by name, ready for `extract_module`.

    Parameters
    ----------
    name
        Name of the architecture, such as "ViT-B-32".
    pretrained
        Name of weights that OpenCLIP fetches, the path of a checkpoint, or None for random weights.
    tower
        "visual", or "text".

    Returns
    -------
    Adapted
        The tower, its `transform` (from a PIL image, or a text, to a tensor), `layers`, which are patterns of its
        blocks, and `pool`, the name of a pooling that reads them.

    Raises
    ------
    ExtractionError
        If there is no such model, or its weights cannot be read.
    """
    require("open_clip", "open-clip")
    import open_clip

    if tower not in ("visual", "text"):
        raise ExtractionError(f'The towers of OpenCLIP are "visual" and "text", not {tower!r}.')
    try:
        made: Any = open_clip.create_model_and_transforms(
            name, pretrained=pretrained, force_custom_text=tower == "text"
        )
    except (ValueError, KeyError, RuntimeError, OSError) as error:
        raise ExtractionError(f"OpenCLIP's {name} ({pretrained}) cannot be made: {first_line(error)}") from error
    model, _, preprocess = made
    if tower == "visual":
        return _adapted(model.visual, preprocess)
    tokenizer = open_clip.get_tokenizer(name)
    return _adapted(model.text, lambda text: tokenizer([text])[0])


def _adapted(model: Any, transform: Any) -> Adapted:
    # the blocks of Swin give (batch, height, width, d)
    pool = "mean_channels_last" if any("Swin" in type(part).__name__ for part in model.modules()) else "mean"
    return Adapted(model.eval(), transform, _layers_of(model), pool)


def _layers_of(model: Any) -> list[str]:
    """The pattern of a model's blocks or stages; none where they are not known, and the caller names layers."""
    for pattern in _LAYERS:
        try:
            named_layers(model, [pattern])
        except ExtractionError:
            continue
        return [pattern]
    return []


def _tensors(path: str) -> Any:
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)
