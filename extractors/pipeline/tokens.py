"""Features of single tokens, written in blocks of rows that samples straddle."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np

from prh_jax.runtime.progress import progress_bar
from prh_jax.stores.writer import FeatureWriter

from ..datasets.samples import Dataset
from ..errors import ExtractionError
from ..models.classical import CLASSICAL
from ..models.pooling import TOKENS
from .batches import BatchSize
from .prefetch import prepared
from .settings import Settings

MOST = 32
"""Samples of a forward pass at most: the tokens of all layers of these are in memory at once."""


def check_has_tokens(source: str, modality: str, settings: Settings) -> None:
    """ExtractionError where tokens are asked of features that have none, or whose tokens are not kept."""
    if settings.pool != TOKENS:
        return
    if source in CLASSICAL:
        raise ExtractionError(f"{source} is one vector for each sample and has no tokens: leave out --tokens.")
    if modality not in ("vision", "language"):
        raise ExtractionError(
            f"--tokens keeps the patches of pictures and the tokens of texts, and {source} is read as {modality}. "
            "Leave it out, or name another --modality."
        )


def extract_tokens(
    name: str,
    extractor: Any,
    data: Dataset,
    writer: FeatureWriter,
    blocks: Sequence[int],
    batch: BatchSize,
    counts: Sequence[int],
    data_workers: int = 0,
) -> None:
    """Write some blocks of a store of tokens.

    Samples share a forward pass by their place in the data alone: a run that is resumed repeats the passes of samples
    that straddle a block, with the same neighbours, and its features are those of a run left alone.

    Parameters
    ----------
    name
        Of the model, for the progress bar.
    extractor, data, writer, batch, data_workers
        As for blocks of samples.
    blocks
        Those to write, in order.
    counts
        Number of tokens of each sample.
    """
    stops = np.cumsum(counts)
    starts = stops - counts
    step = min(batch.first, MOST)
    wanted = np.zeros(int(stops[-1]) + 1, np.int64)  # how many wanted rows come before each
    for block in blocks:
        wanted[writer.blocks[block].start + 1 : writer.blocks[block].stop + 1] = 1
    wanted = np.cumsum(wanted)
    passes = [range(first, min(first + step, len(data))) for first in range(0, len(data), step)]
    passes = [rows for rows in passes if wanted[stops[rows[-1]]] > wanted[starts[rows[0]]]]
    samples = prepared(extractor, data, [row for rows in passes for row in rows], data_workers)
    queue, held, begin = list(blocks), [], 0
    total = sum(map(len, passes))
    with progress_bar(name, "samples", len(data), initial=len(data) - total) as bar:
        for rows in passes:
            inputs = [one for sample in islice(samples, len(rows)) for one in sample]
            states = _states(extractor, inputs, batch, int(sum(counts[row] for row in rows)))
            if held and len(held[0]):
                states = [np.concatenate(pair) for pair in zip(held, states, strict=True)]
            else:
                begin = int(starts[rows[0]])
            end = int(stops[rows[-1]])
            while queue and writer.blocks[queue[0]].stop <= end:
                where = writer.blocks[queue[0]]
                writer.write_block(queue.pop(0), [layer[where.start - begin : where.stop - begin] for layer in states])
            keep = min(max(writer.blocks[queue[0]].start, begin), end) if queue else end
            held, begin = [layer[keep - begin :] for layer in states], keep
            bar.update(len(rows))


def _states(extractor: Any, inputs: Sequence[Any], batch: BatchSize, count: int) -> list[np.ndarray]:
    """Features (tokens, d) of each layer of the samples of one pass, in parts where memory runs out."""
    parts = [[state.cpu().numpy() for state in states] for _, (states, _) in batch.run(extractor.forward, inputs)]
    layers = [np.concatenate(layer) for layer in zip(*parts, strict=True)]
    if any(len(layer) != count for layer in layers):
        raise ExtractionError(
            f"The model gives {len(layers[0])} tokens for {len(inputs)} samples, and {count} were expected: it has "
            "other numbers of tokens for other samples, which cannot be known before it runs. Take --pool mean."
        )
    return layers
