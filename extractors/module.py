"""Features of any torch module of one's own, written like those of the models that are known."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prh_jax.stores.checks import check_ids
from prh_jax.stores.reader import FeatureStore, open_store
from prh_jax.stores.target import check_target
from prh_jax.stores.writer import FeatureWriter, open_writer

from .errors import ExtractionError
from .models.base import describe_layers
from .models.pooling import forward_hooks


def extract_module(
    path: str | Path,
    model: Any,
    loader: Iterable[Any],
    *,
    layers: Sequence[str],
    pool: Callable[[Any], Any],
    ids: Sequence[str],
    spec: Mapping[str, Any],
    dtype: str = "float32",
    device: Any = None,
    overwrite: bool = False,
) -> FeatureStore:
    """Write the pooled outputs of some layers of a torch module to a store; a run that was stopped goes on.

    model   a module, called with each batch: `model(*batch)` of a tuple or list, `model(**batch)` of a dict, else
            `model(batch)`; in evaluation mode and without gradients. Its mode is as before afterwards
    loader  batches of inputs, in the order of the ids, each as long as its first tensor; read from the start each time
    layers  names of submodules, as `model.named_modules()` has them
    pool    a layer's output to (batch, d); `lambda x: x.mean(dim=(2, 3))` for feature maps
    ids     one for each sample
    spec    what identifies the features: {"model": ..., "modality": ..., "pool": ...} and whatever else matters

    ExtractionError where a layer does not exist or is not reached, the loader shuffles, or its samples are more or
    fewer than the ids; StoreError where the store at `path` holds something else.
    """
    import torch

    check_target(Path(path))
    ids = check_ids(ids)
    modules = dict(model.named_modules())
    unknown = [name for name in layers if name not in modules]
    if unknown or not layers:
        some = ", ".join([name for name in modules if name][:12])
        raise ExtractionError(f"The model has no layer {(unknown or ['(none given)'])[0]!r}; it has {some} ...")
    if isinstance(getattr(loader, "sampler", None), torch.utils.data.RandomSampler):
        raise ExtractionError("The loader shuffles, and features would belong to other ids: pass shuffle=False.")
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            chosen = [modules[name] for name in layers]
            return _extract(path, model, loader, chosen, list(layers), pool, ids, spec, dtype, device, overwrite)
    finally:
        model.train(training)


def _extract(path, model, loader, modules, names, pool, ids, spec, dtype, device, overwrite) -> FeatureStore:
    writer: FeatureWriter | None = None
    held: list[np.ndarray] = []
    start = 0
    for batch in loader:
        size = _length(batch)
        stop = start + size
        if stop > len(ids):
            raise ExtractionError(f"The loader gives more samples than the {len(ids)} ids.")
        if writer is None or _wanted(writer, start, stop):
            states = _states(model, modules, names, pool, batch, size, device)
            if writer is None:
                writer = open_writer(
                    path, spec=spec, ids=ids, layers=describe_layers(names, states), dtype=dtype, overwrite=overwrite
                )
        else:
            states = [np.full((size, layer.dim), np.nan, np.float32) for layer in writer.layers]
        held = states if not held else [np.concatenate(pair) for pair in zip(held, states, strict=True)]
        held = _write_whole(writer, held, stop)
        start = stop
    if writer is None or start < len(ids):
        raise ExtractionError(f"The loader gives {start} samples, but there are {len(ids)} ids. Blocks done are kept.")
    if not writer.complete:
        writer.finish()
    return open_store(path)


def _wanted(writer: FeatureWriter, start: int, stop: int) -> bool:
    """Whether samples of a batch belong to a block that is not done."""
    return any(writer.blocks[b].start < stop and start < writer.blocks[b].stop for b in writer.pending())


def _write_whole(writer: FeatureWriter, held: list[np.ndarray], stop: int) -> list[np.ndarray]:
    """Write the blocks that end by row `stop`, of which the rows held are the last; the rows left over."""
    first = stop - len(held[0])
    for block, rows in enumerate(writer.blocks):
        if rows.start == first and rows.stop <= stop:
            if block in writer.pending():
                writer.write_block(block, [array[: rows.stop - first] for array in held])
            held, first = [array[rows.stop - first :] for array in held], rows.stop
    return held


def _length(batch: Any) -> int:
    if isinstance(batch, Mapping):
        batch = next(iter(batch.values()))
    return len(batch[0]) if isinstance(batch, tuple | list) else len(batch)


def _states(model, modules, names, pool, batch, size, device) -> list[np.ndarray]:
    found: dict[Any, Any] = {}

    def keep(module, inputs, output):
        found[module] = pool(output)

    with forward_hooks(modules, keep):
        if isinstance(batch, Mapping):
            model(**{key: _to(value, device) for key, value in batch.items()})
        elif isinstance(batch, tuple | list):
            model(*(_to(value, device) for value in batch))
        else:
            model(_to(batch, device))
    states = []
    for name, module in zip(names, modules, strict=True):
        if module not in found:
            raise ExtractionError(f"Layer {name!r} is not reached in a forward pass of the model.")
        shape = tuple(found[module].shape)
        if len(shape) != 2 or shape[0] != size:
            raise ExtractionError(f"Layer {name!r}, pooled, has shape {shape}; pool must give ({size}, d).")
        states.append(found[module].float().cpu().numpy())
    return states


def _to(value: Any, device: Any) -> Any:
    return value.to(device) if device is not None and hasattr(value, "to") else value
