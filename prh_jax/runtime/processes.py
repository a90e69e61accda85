"""Processes that work together: how they meet, what they bring together, and how one that fails ends."""

import os
import sys
import threading

import jax
import numpy as np
from jax.experimental import multihost_utils

START_S = 300
"""Seconds to wait, at the start, for all processes to come."""


def start_processes(
    coordinator: str | None = None, index: int | None = None, count: int | None = None, *, timeout: int = START_S
) -> None:
    """Join the processes of a study: `jax.distributed.initialize`, which must come before JAX is used.

    coordinator  HOST:PORT of process 0, reached by all; with `index`, from 0, and `count`. Slurm, MPI and others that
                 JAX knows tell all three: then None

    Processes that have not come after `timeout` seconds end this one with a message and exit status 2. ValueError if
    the processes are not known.
    """
    given = (coordinator, index, count)
    if any(value is None for value in given) and given != (None, None, None):
        raise ValueError("A coordinator, a process id and a process count go together: give all three, or none.")
    if index is not None and count is not None and not 0 <= index < count:
        raise ValueError(f"Processes count from 0: there is no process {index} of {count}.")
    late = threading.Timer(
        timeout, _give_up, [f"{count or 'all'} processes", coordinator or "the coordinator", timeout]
    )
    late.daemon = True
    late.start()
    try:
        # JAX would end the process itself, with a stack of C++; longer than the timer, it never comes to that
        jax.distributed.initialize(coordinator, count, index, initialization_timeout=timeout + 60)
    except ValueError as error:
        raise ValueError(
            f"Who the processes of this study are is not known ({error}). Start them with srun or mpirun, or say "
            "--coordinator HOST:PORT --process-id I --process-count N."
        ) from error
    finally:
        late.cancel()


def fail(error: BaseException, status: int = 2) -> None:
    """Say what went wrong, and end this process at once: an orderly end would wait for the others, and they for it."""
    who = f"process {jax.process_index()} of {jax.process_count()}"
    print(
        f"error: {who}: {error or type(error).__name__}\nAll processes end with one that fails (where a connection was "
        "lost, see what the others say). Start all of them again: what was finished is kept.",
        file=sys.stderr,
    )
    _end(status)


def _end(status: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _give_up(who: str, where: str, seconds: int) -> None:
    print(
        f"error: {who} should have met at {where}, and have not within {seconds} s: one was not started, has ended, or "
        "cannot reach it. Look at the output of the others, and start all of them again.",
        file=sys.stderr,
    )
    _end(2)


def stacked(array: np.ndarray) -> np.ndarray:
    """An array of every process as one, (processes, ...), to the bit; shorter ones are filled up with zeros."""
    array = np.ascontiguousarray(array)
    longest = int(multihost_utils.process_allgather(np.int32(len(array))).max())
    filled = np.zeros((longest, *array.shape[1:]), array.dtype)
    filled[: len(array)] = array
    # as bytes: JAX would round numbers of 64 bits
    rows = np.asarray(multihost_utils.process_allgather(filled.reshape(-1).view(np.uint8)))
    return rows.reshape(jax.process_count(), -1).view(array.dtype).reshape(-1, *filled.shape)


def meet() -> None:
    """Wait for all processes."""
    stacked(np.zeros(1, np.uint8))
