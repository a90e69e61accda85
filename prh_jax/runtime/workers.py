"""Which share of the work is this process's: given as i/n, or read from torchrun's or Slurm's environment."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")

_RANKS = (
    ("RANK", "WORLD_SIZE", None),
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN"),
    ("SLURM_PROCID", "SLURM_NTASKS", None),
)


@dataclass(frozen=True)
class Worker:
    """Worker `index` of `count`, counted from 0: every count-th item of the work is its own."""

    index: int = 0
    count: int = 1

    def __post_init__(self):
        if not 0 <= self.index < self.count:
            raise ValueError(f"Workers count from 0: there is no worker {self.index} of {self.count}.")

    @property
    def alone(self) -> bool:
        """Whether there is no other worker."""
        return self.count == 1

    def share(self, items: Sequence[Item]) -> list[Item]:
        """Its own items."""
        return list(items[self.index :: self.count])

    def __str__(self) -> str:
        return f"worker {self.index}/{self.count}"


ALONE = Worker()


def parse_worker(text: str, environment: Mapping[str, str] | None = None) -> Worker:
    """A worker from "i/n", "env" (torchrun, a Slurm array or srun) or "auto" (torchrun, else alone).

    `auto` leaves Slurm alone: an array job may well extract another model in each task, and sharing blocks would then
    leave every store unfinished.
    """
    environment = os.environ if environment is None else environment
    if text in ("auto", "env"):
        for rank, size, first in _RANKS if text == "env" else _RANKS[:1]:
            if rank in environment and size in environment:
                low = _number(environment, first, 0) if first else 0
                step = max(1, _number(environment, "SLURM_ARRAY_TASK_STEP", 1)) if first else 1
                return _worker((_number(environment, rank) - low) // step, _number(environment, size), text)
        if text == "auto":
            return ALONE
        raise ValueError(
            "--worker env finds neither torchrun's RANK and WORLD_SIZE nor Slurm's SLURM_ARRAY_TASK_ID and _COUNT or "
            "SLURM_PROCID and SLURM_NTASKS. Say --worker i/n, with i from 0 to n - 1."
        )
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal()):
        raise ValueError(f"--worker takes i/n, such as 0/4, or env, got {text!r}.")
    return _worker(int(index), int(count), text)


def _number(environment: Mapping[str, str], name: str, default: int = 0) -> int:
    text = environment.get(name, str(default))
    try:
        return int(text)
    except ValueError:
        raise ValueError(
            f"--worker reads {name} from the environment, where it is {text!r} and should be a whole number. Say "
            "--worker i/n, or set it right."
        ) from None


def _worker(index: int, count: int, text: str) -> Worker:
    try:
        return Worker(index, count)
    except ValueError as error:
        raise ValueError(f"--worker {text}: {error}") from None
