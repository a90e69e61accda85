"""Batches for modules: made of samples, in the order of the ids, and on the device of the module."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from prh_jax.stores.checks import check_ids
from prh_jax.stores.streaming import check_count, check_order, same

from .errors import ExtractionError, first_line


def ids_of(samples: Any, ids: Sequence[str] | None, batch_size: int | None) -> list[str]:
    """The ids given, or those of a data set, or the numbers of its samples."""
    if ids is not None:
        return check_ids(ids)
    if batch_size is None:
        raise ExtractionError(
            "The ids of the samples are missing: give ids=, one for each sample of the loader. They are made up for a "
            "data set alone (batch_size=)."
        )
    _check_samples(samples)
    return check_ids(getattr(samples, "ids", None) or range(len(samples)))


def batches_of(samples: Any, transform: Callable[[Any], Any] | None, batch_size: int) -> Iterable[Any]:
    """Batches of a sequence of samples, in order, each time again."""
    import torch

    if not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise ExtractionError(f"batch_size must be a whole number of at least 1, got {batch_size!r}.")
    _check_samples(samples)

    class Transformed(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(samples)

        def __getitem__(self, row: int) -> Any:
            return samples[row] if transform is None else transform(samples[row])

    return torch.utils.data.DataLoader(Transformed(), batch_size=int(batch_size), shuffle=False, collate_fn=_collate)


def _collate(samples: list[Any]) -> Any:
    """A batch as torch makes it; ExtractionError where samples are no tensors, or not of one shape."""
    import torch

    try:
        return torch.utils.data.default_collate(samples)
    except (TypeError, RuntimeError) as error:
        several = isinstance(samples[0], tuple | list)
        raise ExtractionError(
            f"Samples such as {_told(samples[0])} make no batch ({first_line(error).rstrip('.')}). A batch is made of "
            "tensors of one shape: give transform=, a function from a sample to the tensor that the model takes, such "
            f"as {'lambda sample: preprocess(sample[0])' if several else 'preprocess'} with the preprocessing of the "
            "model."
        ) from error


def _told(sample: Any) -> str:
    """A sample in a few words: its type, and its shape where it has one."""
    if isinstance(sample, tuple | list):
        return f"({', '.join(map(_told, sample))})"
    shape = getattr(sample, "shape", None)
    return type(sample).__name__ if shape is None else f"{type(sample).__name__} of shape {tuple(shape)}"


def _check_samples(samples: Any) -> None:
    if not (hasattr(samples, "__getitem__") and hasattr(samples, "__len__")):
        raise ExtractionError(
            f"With batch_size, samples are a data set or a sequence, and {type(samples).__name__} is none. Leave "
            "batch_size away for a loader of batches."
        )


def check_kept_order(loader: Iterable[Any], n: int) -> None:
    """ExtractionError unless the loader gives its samples in one order, as the ids do, and the same at each pass.

    Also where it is known to have other than n samples.
    """
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
            order = list(itertools.islice(itertools.chain.from_iterable(batches), n + 1))
            if any(later <= earlier for earlier, later in itertools.pairwise(order)):
                raise ExtractionError(f"The loader takes samples in the order {order[:4]} ..., {way_out}")
            if getattr(loader, "collate_fn", None) in (torch.utils.data.default_collate, _collate) and len(order) != n:
                count = "more samples than the" if len(order) > n else f"{len(order)} samples, but there are"
                raise ExtractionError(f"The loader gives {count} {n} ids{_dropped(loader)}.")
            if getattr(loader, "num_workers", 0):  # which open files of their own
                check_order(loader, ExtractionError)
            else:
                _check_repeated(loader.dataset, order[:8])  # type: ignore[attr-defined]
        else:
            check_order(loader, ExtractionError)
            check_count(loader, n, ExtractionError)


def _dropped(loader: Any) -> str:
    return ": drop_last=True leaves out the last batch, pass False" if getattr(loader, "drop_last", False) else ""


def _check_repeated(samples: Any, rows: Sequence[Any]) -> None:
    """ExtractionError where a sample is another when it is read again: its transform draws random numbers."""
    for row in rows:
        if not same(samples[row], samples[row]):
            raise ExtractionError(
                f"Sample {row} is another when it is read again: its transform draws random numbers, such as a random "
                "crop, and features would be of other inputs at each run. Give the transform of evaluation."
            )


def device_of(model: Any) -> Any:
    """The device of a module's first parameter; None where there is none, or it is nowhere (offloaded weights)."""
    first = next(itertools.chain(model.parameters(), model.buffers()), None)
    return None if first is None or first.device.type == "meta" else first.device
