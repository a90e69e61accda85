"""Batches for modules: made of samples, in the order of the ids, and on the device of the module."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from prh_jax.stores.checks import check_ids
from prh_jax.stores.streaming import check_order

from .errors import ExtractionError


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

    if batch_size < 1:
        raise ExtractionError(f"batch_size must be at least 1, got {batch_size}.")
    _check_samples(samples)

    class Transformed(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(samples)

        def __getitem__(self, row: int) -> Any:
            return samples[row] if transform is None else transform(samples[row])

    return torch.utils.data.DataLoader(Transformed(), batch_size=batch_size, shuffle=False)


def _check_samples(samples: Any) -> None:
    if not (hasattr(samples, "__getitem__") and hasattr(samples, "__len__")):
        raise ExtractionError(
            f"With batch_size, samples are a data set or a sequence, and {type(samples).__name__} is none. Leave "
            "batch_size away for a loader of batches."
        )


def check_kept_order(loader: Iterable[Any], n: int) -> None:
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
        else:
            check_order(loader, ExtractionError)


def device_of(model: Any) -> Any:
    """The device of a module's first parameter; None where there is none, or it is nowhere (offloaded weights)."""
    first = next(itertools.chain(model.parameters(), model.buffers()), None)
    return None if first is None or first.device.type == "meta" else first.device
