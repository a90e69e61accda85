"""How the host computes while a study runs: threads, memory that is used again, compilers' efforts."""

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import jax

TRIM, MMAP = -1, -3
"""glibc's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD."""
LARGEST, USUAL = 1 << 28, 1 << 25
"""Bytes of the largest block that is kept for its next use; of the threshold that glibc rises to by itself."""


def cores() -> int:
    """Cores that this process may run on: fewer than the machine has where a scheduler says so."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def compiling_threads() -> int:
    """Programs compiled at once, beside the layers that are computed."""
    return max(1, cores() // 2)


def reading_threads() -> int:
    """Layers read at once, beside those that are computed."""
    return max(1, cores() // 4)


def quiet_blas() -> AbstractContextManager:
    """While it lasts, LAPACK runs on one thread.

    The threads of OpenBLAS, which JAX calls on a CPU, spin for a while after each call, and take a core from the
    products that come next: on two cores, SVCCA's sketch of a wide layer took 1.6 times as long.
    """
    import scipy.linalg  # noqa: F401  (only what is loaded can be limited)
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=1, user_api="blas")


_lock = threading.Lock()
_holders = 0


@contextlib.contextmanager
def kept_memory(budget: int | None = None) -> Iterator[None]:
    """While it lasts, blocks that are freed stay with the process, up to an eighth of a budget of bytes each.

    glibc returns blocks above 32 MiB at once, and the kernel clears each page anew when the next layer comes: that took
    a seventh of a study's time. Blocks of other threads than the first are kept up to 64 MiB at most. At the end, what
    is free goes back, and the thresholds stay at what glibc rises to by itself. Where the user has set glibc's ways
    with memory (`MALLOC_TRIM_THRESHOLD_` and its like), or with another C library, nothing is done.
    """
    libc = _glibc()
    if libc is None or _set_by_user():
        yield
        return
    global _holders
    largest = max(USUAL, min(LARGEST, (budget or 8 * LARGEST) // 8))
    with _lock:
        _holders += 1
        if _holders == 1:
            _set_thresholds(libc, largest)
    try:
        yield
    finally:
        with _lock:
            _holders -= 1
            if not _holders:
                _set_thresholds(libc, USUAL)
                libc.malloc_trim(0)


def _glibc() -> Any:
    """The C library where it is glibc, whose ways with memory can be set; else None."""
    try:
        libc = ctypes.CDLL(None)
    except (OSError, TypeError):
        return None
    known = all(hasattr(libc, name) for name in ("gnu_get_libc_version", "mallopt", "malloc_trim"))
    return libc if known else None


def _set_by_user() -> bool:
    return "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", "") or any(
        name.startswith("MALLOC_") and name.endswith("_") for name in os.environ
    )


def _set_thresholds(libc: Any, largest: int) -> None:
    if not libc.mallopt(MMAP, largest):  # older versions of glibc refuse more than 32 MiB
        libc.mallopt(MMAP, largest := USUAL)
    libc.mallopt(TRIM, 2 * largest)


def compile_quickly(lowered: Any, platform: str) -> Any:
    """Compile a program of which there will be many, one a width: on a CPU without the emitters of fused loops.

    Those take half of the compiler's time, and what they make of products and reductions is no faster.
    """
    if platform == "cpu":
        try:
            return lowered.compile(compiler_options={"xla_cpu_use_fusion_emitters": False})
        except jax.errors.JaxRuntimeError as error:
            if "xla_cpu_use_fusion_emitters" not in str(error):
                raise
    return lowered.compile()
