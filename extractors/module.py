"""Features of any torch module of your own, written like those of the models that are known."""

import inspect
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prh_jax.stores.checks import check_ids, check_real
from prh_jax.stores.reader import FeatureStore, open_store
from prh_jax.stores.target import check_target
from prh_jax.stores.writer import FeatureWriter, open_writer

from .errors import ExtractionError
from .models.base import describe_layers
from .models.pooling import forward_hooks

_ALONE, _REPEATED = 0.05, 1e-3
"""Largest differences, of the largest feature: of another batch, where bfloat16 in deep networks stays below, and other
axes and dropout above; and of the same batch again."""


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
    """Write the pooled outputs of some layers of a torch module to a store. The same call resumes a stopped run.

    Parameters
    ----------
    path
        Path of the store.
    model
        A module. It is called with each batch in evaluation mode and without gradients: `model(*batch)` for a tuple or
        list, `model(**batch)` for a dict, else `model(batch)`. Its mode is restored afterwards.
    loader
        Batches of inputs in the order of the ids, each as long as its first tensor. It is read from the start each
        time.
    layers
        Names of submodules, as in `model.named_modules()`.
    pool
        A function from a layer's output to (batch, d), such as `lambda x: x.mean(dim=(2, 3))` for feature maps.
    ids
        An id for each sample.
    spec
        Origin of the features: {"model": ..., "modality": ..., "pool": ...} and any other settings.
    dtype
        Type in which features are stored.
    device
        Torch device of the inputs; that of the module if None.
    overwrite
        Replace a store of other features.

    Returns
    -------
    FeatureStore
        The store, opened.

    Raises
    ------
    ExtractionError
        If a layer does not exist, is not reached or is called more than once, or the loader shuffles. Also if the
        number of samples is not that of the ids, or the features of the first sample change when it is alone in its
        batch.
    StoreError
        If the store at `path` holds something else.
    """
    import torch

    check_target(Path(path))
    ids = check_ids(ids)
    modules = dict(model.named_modules())
    unknown = [name for name in layers if name not in modules]
    if unknown or not layers:
        some = ", ".join([name for name in modules if name][:12])
        raise ExtractionError(f"The model has no layer {(unknown or ['(none given)'])[0]!r}; it has {some} ...")
    _check_order(loader, len(ids))
    modes = [(module, module.training) for module in modules.values()]
    model.eval()
    try:
        with torch.inference_mode():
            chosen = [modules[name] for name in layers]
            return _extract(path, model, loader, chosen, list(layers), pool, ids, spec, dtype, device, overwrite)
    finally:
        for module, training in modes:  # each its own: parts may be frozen in evaluation mode
            module.training = training


def _check_order(loader: Iterable[Any], n: int) -> None:
    """ExtractionError unless the loader gives its samples in one order, as the ids do."""
    import torch

    way_out = "and features would belong to other ids: pass shuffle=False, or a sampler that keeps the order."
    batches = getattr(loader, "batch_sampler", None)
    streams = isinstance(getattr(loader, "dataset", None), torch.utils.data.IterableDataset)
    if streams and getattr(loader, "num_workers", 0) > 1:
        raise ExtractionError(
            f"The loader reads a stream by {loader.num_workers} processes, which take turns, {way_out} Or read it by "  # type: ignore[attr-defined]
            "one: num_workers=1."
        )
    with torch.random.fork_rng(devices=[]):  # looking changes no random number that is drawn later
        if batches is not None and not streams:
            order = list(itertools.islice(itertools.chain.from_iterable(batches), n))
            if any(later <= earlier for earlier, later in itertools.pairwise(order)):
                raise ExtractionError(f"The loader takes samples in the order {order[:4]} ..., {way_out}")
        elif not isinstance(loader, Iterator):
            first, again = (next(iter(loader), None) for _ in range(2))
            if not _equal(first, again):
                raise ExtractionError(f"Two passes over the loader begin with other samples, {way_out}")


def _equal(one: Any, other: Any) -> bool:
    """Whether two batches hold the same."""
    import torch

    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return set(one) == set(other) and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.shape == other.shape and bool(((one == other) | ((one != one) & (other != other))).all())
    return bool(np.all(np.asarray(one == other)))


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
            copy = _part_of(batch, slice(None)) if writer is None else None
            states = _states(model, modules, names, pool, batch, size, device)
            if writer is None:

                def run(rows, count, copy=copy):
                    return _states(model, modules, names, pool, _part_of(copy, rows), count, device)

                _check_alone(states, names, run)
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
    """Samples of a batch: the length of its first tensor, or of its first part where it has none."""
    tensors = [leaf for leaf in _leaves(batch) if getattr(leaf, "shape", ()) != ()]
    if tensors:
        return len(tensors[0])
    if isinstance(batch, Mapping):
        batch = next(iter(batch.values()))
    try:
        return len(batch[0]) if isinstance(batch, tuple | list) else len(batch)
    except (TypeError, IndexError) as error:
        raise ExtractionError(
            f"The loader gives {type(batch).__name__} {batch!r:.60}, where a batch is a tensor, or a tuple, list or "
            "dict of such."
        ) from error


def _leaves(batch: Any) -> Iterator[Any]:
    if isinstance(batch, Mapping):
        batch = batch.values()
    elif not isinstance(batch, tuple | list):
        yield batch
        return
    for part in batch:
        yield from _leaves(part)


def _check_parts(model: Any, parts: int) -> None:
    """ExtractionError where a batch has more parts than the model takes, such as inputs and labels."""
    try:
        inspect.signature(model.forward).bind(*range(parts))
    except TypeError as error:
        raise ExtractionError(
            f"Batches have {parts} parts, each of which is an argument of the model, and its forward() takes others "
            f"({error}). Give a loader of inputs alone, such as (x for x, label in loader)."
        ) from error


def _states(model, modules, names, pool, batch, size, device) -> list[np.ndarray]:
    import torch

    found: dict[Any, Any] = {}
    calls: Counter[Any] = Counter()

    def keep(module, inputs, output):
        # a copy: later layers may change the output in place
        try:
            pooled = pool(output)
            found[module] = pooled.detach().clone() if isinstance(pooled, torch.Tensor) else np.array(pooled)
        except (AttributeError, TypeError, IndexError, KeyError, RuntimeError) as error:
            kind = f"of shape {tuple(output.shape)}" if hasattr(output, "shape") else f"a {type(output).__name__}"
            raise ExtractionError(
                f"pool fails at layer {names[modules.index(module)]!r}, whose output is {kind}: {error}. It gets what "
                "the layer gives, and returns a tensor (batch, d)."
            ) from error
        calls[module] += 1

    with forward_hooks(modules, keep):
        if isinstance(batch, Mapping):
            model(**{key: _to(value, device) for key, value in batch.items()})
        elif isinstance(batch, tuple | list):
            _check_parts(model, len(batch))
            model(*(_to(value, device) for value in batch))
        else:
            model(_to(batch, device))
    states = []
    for name, module in zip(names, modules, strict=True):
        if module not in found:
            raise ExtractionError(f"Layer {name!r} is not reached in a forward pass of the model.")
        if calls[module] > 1:
            raise ExtractionError(
                f"Layer {name!r} is called {calls[module]} times in a forward pass, and which output is meant is not "
                "known. Name layers that are called once, such as the blocks that call it."
            )
        shape = tuple(found[module].shape)
        if len(shape) != 2 or shape[0] != size:
            raise ExtractionError(f"Layer {name!r}, pooled, has shape {shape}; pool must give ({size}, d).")
        states.append(check_real(name, found[module]).astype(np.float32))
    return states


def _part_of(batch: Any, rows: slice) -> Any:
    """Some samples of a batch as a batch of their own: a copy, as a model may change its input in place."""
    import torch

    if isinstance(batch, torch.Tensor):
        return batch[rows].clone() if batch.dim() else batch
    if isinstance(batch, Mapping):
        return {key: _part_of(value, rows) for key, value in batch.items()}
    return type(batch)(_part_of(part, rows) for part in batch) if type(batch) in (tuple, list) else batch


def _check_alone(states: Sequence[np.ndarray], names: Sequence[str], run: Callable[[slice, int], Any]) -> None:
    """ExtractionError where samples have other features in another batch, or at another call.

    Parameters
    ----------
    states
        The features of a whole batch.
    names
        The layers, for messages.
    run
        From rows of the batch and their number to the features of these alone.
    """
    size = len(states[0])
    last, half = slice(size - 1, size), slice(size // 2, size)
    try:
        first = run(slice(0, 1), 1)
        _compare(names, first, run(slice(0, 1), 1), states, "at another call", _REPEATED)
        found = [(slice(0, 1), first), (last, run(last, 1))] if size > 1 else []
    except ExtractionError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError):  # a model that takes no batch of one
        found = [(half, run(half, size - size // 2))] if size >= 4 else []
    for rows, alone in found:
        count = len(alone[0])
        where = "when it is alone" if count == 1 else f"in a batch of {count}"
        _compare(names, [state[rows] for state in states], alone, states, where, _ALONE)


def _compare(names, expected, found, states, where, tolerance) -> None:
    for name, one, other, whole in zip(names, expected, found, states, strict=True):
        off, largest = abs(one - other).max(), abs(whole).max()
        if off > tolerance * largest:
            raise ExtractionError(
                f"Layer {name!r} gives a sample other features {where} than in a batch of {len(whole)}: they differ by "
                f"{off / largest:.1%} of the largest. Either samples are not the first axis of its output, or the "
                "model mixes samples or draws random numbers. Such features belong to a batch, not to a sample."
            )


def _to(value: Any, device: Any) -> Any:
    return value.to(device) if device is not None and hasattr(value, "to") else value
