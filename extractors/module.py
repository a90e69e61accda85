"""Features of any torch module of your own, written like those of the models that are known."""

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from prh_jax.stores.checks import check_real
from prh_jax.stores.reader import FeatureStore
from prh_jax.stores.streaming import Stream, copy_of, is_texts, leaves_of, stream_all

from .errors import ExtractionError, first_line
from .layers import named_layers, named_pool
from .loaders import batches_of, check_kept_order, device_of, ids_of
from .models.pooling import forward_hooks


@dataclass(frozen=True)
class Target:
    """A module, and the store that its features go to: for `extract_modules`.

    Attributes
    ----------
    path, model, layers, pool, spec
        As of `extract_module`.
    inputs, timesteps
        As of `extract_module`.
    """

    path: str | Path
    model: Any
    layers: Sequence[str]
    pool: str | Callable[[Any], Any]
    spec: Mapping[str, Any]
    inputs: Callable[..., Any] | None = None
    timesteps: Sequence[Any] | None = field(default=None)


def extract_module(
    path: str | Path,
    model: Any,
    loader: Any,
    *,
    layers: Sequence[str],
    pool: str | Callable[[Any], Any],
    ids: Sequence[str] | None = None,
    spec: Mapping[str, Any],
    dtype: str = "float32",
    device: Any = None,
    overwrite: bool = False,
    transform: Callable[[Any], Any] | None = None,
    batch_size: int | None = None,
    inputs: Callable[..., Any] | None = None,
    timesteps: Sequence[Any] | None = None,
    quiet: bool | None = None,
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
        time. With `batch_size`, samples: a data set or a sequence.
    layers
        Names of submodules, as in `model.named_modules()`. `*` and `?` stand for letters of one part of a name:
        `"blocks.*"` are the blocks, without their own parts.
    pool
        "mean" (over tokens, or over the places of a feature map), "cls" (the first token), "last", "max", "flatten", or
        "none" for outputs that are (batch, d). These read (batch, tokens, d) and (batch, d, height, width);
        "mean_channels_last" reads (batch, height, width, d). If the output is a tuple, a dict or a dataclass, a pooling
        by name takes its first tensor. Or a function from a layer's output to (batch, d).
    ids
        An id for each sample. With `batch_size`, None takes the ids of the data set (`.ids`), or numbers from 0.
    spec
        Origin of the features: {"model": ..., "modality": ..., "pool": ...} and any other settings. A pooling by name,
        the timesteps and the record of `inputs` are added to it.
    dtype
        Type in which features are stored.
    device
        Torch device of the inputs; that of the module if None.
    overwrite
        Replace a store of other features.
    transform
        From a sample to the input of the model; for `batch_size`.
    batch_size
        Samples of a batch, which `torch.utils.data.default_collate` puts together. None reads batches.
    inputs
        From a batch, its rows (a range) and, with `timesteps`, a timestep to the arguments of the model, a dict, tuple
        or tensor: `extractors.Noised` makes noisy inputs of diffusion models. None gives the batch itself.
    timesteps
        Numbers. The model runs once at each, and a layer becomes several, with names such as `"blocks.3@250"`.
    quiet
        Show no progress; None shows it where somebody watches.

    Returns
    -------
    FeatureStore
        The store, opened.

    Raises
    ------
    ExtractionError
        If a layer does not exist, is not reached or is called more than once, or the loader shuffles or draws random
        numbers. Also if the number of samples is not that of the ids, or the features of the first sample change when
        it is alone in its batch.
    StoreError
        If the store at `path` holds something else, or other features of the first samples.
    """
    target = Target(path, model, layers, pool, spec, inputs, timesteps)
    return extract_modules(
        [target],
        loader,
        ids=ids,
        dtype=dtype,
        device=device,
        overwrite=overwrite,
        transform=transform,
        batch_size=batch_size,
        quiet=quiet,
    )[0]


def extract_modules(
    targets: Sequence[Target],
    loader: Any,
    *,
    ids: Sequence[str] | None = None,
    dtype: str = "float32",
    device: Any = None,
    overwrite: bool = False,
    transform: Callable[[Any], Any] | None = None,
    batch_size: int | None = None,
    quiet: bool | None = None,
) -> list[FeatureStore]:
    """Write the features of several torch modules, of which each batch is read once.

    Parameters
    ----------
    targets
        The modules, with their layers, poolings and stores.
    loader, ids, dtype, device, overwrite, transform, batch_size, quiet
        As of `extract_module`.

    Returns
    -------
    list of FeatureStore
        The stores, in the order of the targets. Each is resumed where it stopped.

    Raises
    ------
    ExtractionError, StoreError
        As of `extract_module`.
    """
    import torch

    if not targets:
        raise ExtractionError("No modules were given to extract.")
    places = Counter(Path(target.path).resolve() for target in targets)
    if len(places) < len(targets):
        raise ExtractionError(f"Several targets write to {places.most_common(1)[0][0]}; give each a path of its own.")
    ids = ids_of(loader, ids, batch_size)
    if batch_size is not None:
        loader = batches_of(loader, transform, batch_size)
    elif transform is not None:
        raise ExtractionError("transform is for samples: give batch_size too, or a loader that transforms them itself.")
    runs = [_run_of(target, device) for target in targets]
    check_kept_order(loader, len(ids))
    streams = [
        Stream(
            target.path,
            run,
            ids=ids,
            spec=_spec_of(target),
            dtype=dtype,
            overwrite=overwrite,
            error=ExtractionError,
        )
        for target, run in zip(targets, runs, strict=True)
    ]
    with ExitStack() as stack:
        for target in targets:
            stack.enter_context(_evaluating(target.model))
        stack.enter_context(torch.inference_mode())
        return stream_all(streams, loader, quiet=quiet)


def _spec_of(target: Target) -> dict[str, Any]:
    """The spec of a target with the settings that are known; ExtractionError where it says otherwise."""
    own: dict[str, Any] = {"pool": target.pool} if isinstance(target.pool, str) else {}
    if target.timesteps is not None:
        own["timesteps"] = _numbers(target.timesteps)
    if hasattr(target.inputs, "spec"):
        own["inputs"] = target.inputs.spec()  # type: ignore[union-attr]
    for key, value in own.items():
        if target.spec.get(key, value) != value:
            raise ExtractionError(
                f"The spec has {key} = {target.spec[key]!r}, and features are made with {value!r}. Leave {key} out of "
                "the spec: it is added."
            )
    return {**target.spec, **own}


def _numbers(timesteps: Sequence[Any]) -> list[Any]:
    """Timesteps as plain numbers, also of a tensor or an array."""
    return [step.item() if hasattr(step, "item") else step for step in timesteps]


def _by_name(timesteps: Sequence[Any]) -> dict[str, Any]:
    """Timesteps by their names; ExtractionError where two share one."""
    found = {f"{step:g}" if isinstance(step, float) else str(step): step for step in timesteps}
    if len(found) < len(timesteps) or not timesteps:
        raise ExtractionError(f"timesteps are some numbers, each once; they are {', '.join(map(str, timesteps))}.")
    return found


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """A module in evaluation mode, and then each part in its own: parts may have been frozen."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _run_of(target: Target, device: Any) -> Callable[[Any, range], dict[str, np.ndarray]]:
    """From a batch and its rows to the features of each layer, at each timestep."""
    if not hasattr(target.model, "named_modules"):
        raise ExtractionError(
            f"The model is a {type(target.model).__name__}, and layers are those of a torch module. "
            "prh_jax.write_features_from takes functions."
        )
    names = named_layers(target.model, target.layers)
    modules = dict(target.model.named_modules())
    chosen = [modules[name] for name in names]
    pool = named_pool(target.pool) if isinstance(target.pool, str) else target.pool
    device = device_of(target.model) if device is None else device
    times = None if target.timesteps is None else _by_name(_numbers(target.timesteps))
    if times is not None and target.inputs is None:
        raise ExtractionError(
            "timesteps need inputs=, a function that makes the model's input of a batch at a timestep."
        )

    def run(batch: Any, rows: range) -> dict[str, np.ndarray]:
        if times is None:
            given = batch if target.inputs is None else target.inputs(batch, rows)
            return _states(target.model, chosen, names, pool, given, len(rows), device)
        found = {}
        for name_of_time, timestep in times.items():
            given = target.inputs(copy_of(batch), rows, timestep)  # type: ignore[misc]
            for name, state in _states(target.model, chosen, names, pool, given, len(rows), device).items():
                found[f"{name}@{name_of_time}"] = state
        return found

    return run


def _check_parts(model: Any, parts: int, names: Iterable[str] = ()) -> None:
    """ExtractionError where a batch has other parts than the model takes, such as inputs and labels."""
    names = list(names)
    try:
        inspect.signature(model.forward).bind(*range(parts), **dict.fromkeys(names))
    except TypeError as error:
        given = f"the parts {', '.join(map(str, names))}" if names else f"{parts} parts"
        first = names[0] if names else 0
        remedy = (
            "Leave out of condition=, and of the batches, those that forward() does not take."
            if parts and names
            else f"Give inputs alone: of a data set (batch_size=), transform=lambda sample: sample[{first!r}]; of "
            "batches, a loader of inputs alone, such as (x for x, label in loader)."
        )
        raise ExtractionError(
            f"Batches have {given}, each of which is an argument of the model, and its forward() takes others "
            f"({error}). {remedy}"
        ) from error


@contextmanager
def _told_inputs(model: Any, batch: Any) -> Iterator[None]:
    """ExtractionError in place of a failure of the model that its inputs explain."""
    import torch

    try:
        yield
    except ExtractionError:
        raise
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        given = [leaf for leaf in leaves_of(batch) if hasattr(leaf, "shape")]
        own = next((p.dtype for p in model.parameters() if p.is_floating_point()), None)
        kinds = {leaf.dtype for leaf in given if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()}
        told = getattr(batch, "hint", None)
        if any(isinstance(leaf, np.ndarray) for leaf in given):
            told = (
                "Batches hold numpy arrays, and modules take tensors: give torch.from_numpy(batch), or the arrays as "
                "samples with batch_size=."
            )
        elif own is not None and kinds - {own} and "type" in str(error):
            told = (
                f"The parameters of the model are {own}, and its inputs {', '.join(map(str, kinds - {own}))}: give "
                f"inputs of its type, such as batch.to({own}), or model.float()."
            )
        if told is None:
            raise
        raise ExtractionError(f"The model cannot take its inputs ({first_line(error).rstrip('.')}). {told}") from error


def _states(model, modules, names, pool, batch, size, device) -> dict[str, np.ndarray]:
    import torch

    found: dict[Any, Any] = {}
    calls: Counter[Any] = Counter()

    def keep(module, inputs, output):
        # a copy: later layers may change the output in place
        try:
            pooled = pool(output)
            found[module] = pooled.detach().clone() if isinstance(pooled, torch.Tensor) else np.array(pooled)
        except (AttributeError, TypeError, IndexError, KeyError, RuntimeError, ValueError) as error:
            kind = f"of shape {tuple(output.shape)}" if hasattr(output, "shape") else f"a {type(output).__name__}"
            raise ExtractionError(
                f"pool fails at layer {names[modules.index(module)]!r}, whose output is {kind}: {error}. It gets what "
                "the layer gives, and returns a tensor (batch, d)."
            ) from error
        calls[module] += 1

    with forward_hooks(modules, keep), _told_inputs(model, batch):
        if isinstance(batch, Mapping):
            places = [_to(value, device) for value in getattr(batch, "places", ())]
            _check_parts(model, len(places), batch)
            model(*places, **{key: _to(value, device) for key, value in batch.items()})
        elif isinstance(batch, tuple | list) and not is_texts(batch):
            _check_parts(model, len(batch))
            model(*(_to(value, device) for value in batch))
        else:
            model(_to(batch, device))
    states = {}
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
        states[name] = check_real(name, found[module]).astype(np.float32)
    return states


def _to(value: Any, device: Any) -> Any:
    return value.to(device) if device is not None and hasattr(value, "to") else value
