"""Which share of the work is this process's."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """Every count-th block of a study, from block `index` on: what one of `count` workers scores."""

    index: int = 0
    count: int = 1

    def __post_init__(self):
        if not 0 <= self.index < self.count:
            raise ValueError(f"Workers count from 0: there is no worker {self.index} of {self.count}.")


ALL = Share()
