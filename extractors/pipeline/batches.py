"""Features of a block of samples: batches in a fixed order, halved when memory runs out."""

import gc
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from ..errors import ExtractionError, first_line
from ..models.base import Extractor


class BatchSize:
    """How many inputs a forward pass takes: halved each time that memory runs out, for the rest of the run."""

    def __init__(self, size: int):
        self.size = self.first = size

    def run(self, forward: Callable[[Sequence[Any]], Any], inputs: Sequence[Any]) -> Iterator[tuple[slice, Any]]:
        """`forward` of all inputs in order, as parts of at most `size` with where each belongs.

        ExtractionError when not even one input fits in memory.
        """
        start = 0
        while start < len(inputs):
            where = slice(start, min(start + self.size, len(inputs)))
            try:
                output = forward(inputs[where])
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                output, reason = None, first_line(error).rstrip(".")
            if output is not None:
                yield where, output
                start = where.stop
            elif where.stop - start == 1:
                raise ExtractionError(
                    f"Memory ran out with a single sample ({reason}). Use --dtype bfloat16, --quantize, --device-map "
                    "auto to spread the model over several GPUs, or a device with more memory. Blocks done are kept."
                )
            else:
                # Outside the except clause: the exception's traceback would keep the failed pass's tensors alive.
                self.size = (where.stop - start + 1) // 2
                release_memory()
                print(f"out of memory: going on with batches of {self.size}", file=sys.stderr)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on a GPU or the CPU."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return "out of memory" in str(error).lower() or "can't allocate memory" in str(error)


def release_memory() -> None:
    """Give memory that nothing refers to back to the device."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def extract_block(
    extractor: Extractor,
    samples: Iterable[Sequence[Any]],
    rows: int,
    batch: BatchSize,
    tick: Callable[[int], Any] = lambda count: None,
) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """Features (rows, d) float32 of each layer, and per-sample numbers, of the next `rows` of prepared samples.

    The features of a sample with several inputs are their mean, its numbers their sum. Batches depend on the block
    and the batch size alone, so that a resumed run repeats them.
    """
    features = [np.zeros((rows, layer.dim), np.float32) for layer in extractor.layers]
    values = {name: np.zeros(rows, kind) for name, kind in extractor.sample_arrays.items()}
    count, left = np.zeros(rows, np.int64), np.zeros(rows, np.int64)

    def inputs() -> Iterator[tuple[int, Any]]:
        for row, sample in enumerate(islice(samples, rows)):
            count[row] = left[row] = len(sample)
            for one in sample:
                yield row, one

    queue = inputs()
    if extractor.by_length:
        queue = iter(sorted(queue, key=lambda entry: (len(entry[1]), entry[0])))
    while chunk := list(islice(queue, batch.size)):
        for where, (states, numbers) in batch.run(extractor.forward, [one for _, one in chunk]):
            at = np.array([row for row, _ in chunk[where]])
            single = len(set(at)) == len(at)
            for array, state in zip(features, states, strict=True):
                if single:  # much faster than add.at
                    array[at] += state.cpu().numpy()
                else:
                    np.add.at(array, at, state.cpu().numpy())
            for name, numbers_of_inputs in numbers.items():
                np.add.at(values[name], at, numbers_of_inputs)
            np.subtract.at(left, at, 1)
            tick(int((left[np.unique(at)] == 0).sum()))
    for array in features:
        array /= count[:, None]
    return features, values
