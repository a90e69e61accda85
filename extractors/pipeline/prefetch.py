"""Samples prepared ahead of the model by data workers, in the order of their rows and no other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..datasets.samples import Dataset
from ..errors import ExtractionError
from ..models.base import Extractor


@dataclass(frozen=True)
class _Prepared:
    """Data set for workers: row i of `rows`, made ready, next to the row it is; or the error that it met."""

    extractor: Extractor
    data: Dataset
    rows: Sequence[int]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[int, Any]:
        row = self.rows[index]
        try:
            return row, self.extractor.prepare(self.data, row)
        except ExtractionError as error:
            return row, str(error)  # exceptions of workers come back wrapped in their tracebacks


def prepared(extractor: Extractor, data: Dataset, rows: Sequence[int], data_workers: int = 0) -> Iterator[Any]:
    """Samples of `rows` made ready, in that order; each comes with its row, which is checked.

    Texts are tokenised on the spot, which costs nothing next to the model; pictures, sounds and clips are decoded and
    resized by `data_workers` processes, if there are any.
    """
    samples = _Prepared(extractor, data, rows)
    if data_workers and extractor.modality != "language" and len(rows):
        yield from _checked(_loaded(samples, data_workers), rows)
    else:
        yield from _checked((samples[i] for i in range(len(samples))), rows)


def _loaded(samples: _Prepared, data_workers: int) -> Iterator[tuple[int, Any]]:
    from torch.utils.data import DataLoader

    # in_order: the loader hands results out as rows were asked for, whichever worker is first
    loader = DataLoader(samples, batch_size=None, shuffle=False, num_workers=data_workers, prefetch_factor=16)  # type: ignore[arg-type]
    yield from loader


def _checked(samples: Iterator[tuple[int, Any]], rows: Sequence[int]) -> Iterator[Any]:
    for row in rows:
        came, sample = next(samples)
        if came != row:
            raise ExtractionError(f"Row {came} came where row {row} was due: data workers have changed the order.")
        if isinstance(sample, str):
            raise ExtractionError(sample)
        yield sample
