"""Features of single tokens: how many a model gives, in which grid, and in which order."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from prh_jax.stores.layout import Layer

from ..errors import ExtractionError
from .base import Tower


def check_counts(name: str, layers: Sequence[Layer], states: Sequence[Any]) -> None:
    """ExtractionError unless the states of one picture have as many tokens in every layer: a store has one order."""
    counts = {layer.name: len(state) for layer, state in zip(layers, states, strict=True)}
    if len(set(counts.values())) > 1:
        first, *_, last = counts
        raise ExtractionError(
            f"--tokens needs layers of one grid, and {name} has {counts[first]} patches in {first} and {counts[last]} "
            f"in {last}. Choose a model that keeps its grid, such as a vision transformer; leave out --final-norm, "
            "which may pool the patches; or take --pool mean."
        )


def patch_grid(tower: Tower, count: int) -> list[int] | None:
    """Rows and columns of a picture's patches, which follow each other row by row; None where they are not known."""
    import torch

    height, width = tower.spec()["image_size"][1:]
    with torch.inference_mode():
        shapes = tower.states(torch.zeros(1, 3, height, width), lambda output, _: tuple(output.shape), final=False)
    if len(shapes[0]) == 4:
        grid = shapes[0][2:]
    elif hasattr(tower.model, "patch_embed"):
        grid = getattr(tower.model.patch_embed, "grid_size", None) or ()
    else:
        size = getattr(getattr(tower.model, "config", None), "patch_size", None)
        grid = (height // size, width // size) if isinstance(size, int) else ()
    return list(map(int, grid)) if len(grid) == 2 and grid[0] * grid[1] == count else None


def vocabulary_sha256(tokenizer: Any) -> str:
    """SHA-256 of a tokenizer's vocabulary."""
    return hashlib.sha256(json.dumps(sorted(tokenizer.get_vocab().items())).encode()).hexdigest()


def reorder(lengths: Sequence[int], order: Sequence[int] | np.ndarray) -> np.ndarray:
    """Rows of tokens of samples that are put in another order; `lengths` are those of the samples as they are."""
    stops = np.cumsum(lengths)
    return np.concatenate([np.arange(stops[i] - lengths[i], stops[i]) for i in order])
